#include <encore/core/error.h>
#include <encore/jit/reference/execute.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace encore::jit {
namespace {

struct Term {
  uint32_t axis;
  int64_t stride;
};

/// An Access with the launch's numbers filled in.
struct Place {
  std::byte* memory;
  int64_t elements;  // -1: unknown
  DType dtype;
  int64_t base;
  std::vector<Term> terms;
  int64_t chunk_stride;
  ValueId offset;
  ValueId predicate;
};

/// An accumulator at work: lanes (row), one value per inner point or a single one (column), or the
/// best value so far (argmax, argmin).
struct Tally {
  Evaluation combine = nullptr;
  uint64_t identity = 0;
  std::vector<uint64_t> values;
  int64_t best_index = -1;  // argmax, argmin: -1 before the first point
  uint64_t result = 0;
};

/// The axes of one role, counted like an odometer.
struct Range {
  uint32_t first = 0, last = 0;
  int64_t points = 1;
};

Evaluation combination(Reduce reduce, DType dtype) {
  auto pure = [&](Opcode op) { return evaluation_of(op, dtype, dtype, 0); };
  switch (reduce) {
    case Reduce::sum:
      return pure(Opcode::add);
    case Reduce::prod:
      return pure(Opcode::mul);
    case Reduce::max:
      return pure(Opcode::max);
    case Reduce::min:
      return pure(Opcode::min);
    case Reduce::any:
      return pure(Opcode::bit_or);
    case Reduce::all:
      return pure(Opcode::bit_and);
    case Reduce::argmax:
    case Reduce::argmin:
      return nullptr;
  }
  return nullptr;
}

uint64_t read(const std::byte* at, DType dtype) {
  uint64_t bits = 0;
  std::memcpy(&bits, at, size_of(dtype));
  if (dtype != DType::f16 && dtype != DType::bf16) return bits;
  float wide = 0;
  if (dtype == DType::f16) {
    Half half;
    half.bits = uint16_t(bits);
    wide = float(half);
  } else {
    BFloat16 brain;
    brain.bits = uint16_t(bits);
    wide = float(brain);
  }
  bits = 0;
  std::memcpy(&bits, &wide, sizeof wide);
  return bits;
}

void write(std::byte* at, DType dtype, uint64_t bits) {
  if (dtype == DType::f16 || dtype == DType::bf16) {
    float wide;
    std::memcpy(&wide, &bits, sizeof wide);
    bits = dtype == DType::f16 ? Half(wide).bits : BFloat16(wide).bits;
  }
  std::memcpy(at, &bits, size_of(dtype));
}

class Run {
 public:
  Run(const Program& program, const Segment& segment, std::span<const size_t> argument_bytes)
      : kernel_(program.kernel()),
        steps_(program.steps()),
        segment_(segment),
        values_(kernel_.instructions.size() + 1),
        position_(kernel_.axes.size()),
        outer_(range_of(Role::outer)),
        row_(range_of(Role::row)),
        inner_(range_of(Role::inner)),
        contracted_(range_of(Role::contracted)) {
    for (const Access& access : kernel_.accesses) places_.push_back(place(access, argument_bytes));
    prepare_tallies();
  }

  void execute() {
    for (const Stage& stage : kernel_.stages)
      if (stage.kind == StageKind::setup) run_instructions(stage.begin, stage.end);
    int64_t rows_per_chunk =
        kernel_.rows_per_chunk == none ? row_.points : segment_.sizes[kernel_.rows_per_chunk];
    int64_t chunks = chunk_count(kernel_, segment_.sizes);
    for (int64_t outer = 0; outer < outer_.points; ++outer, advance(outer_)) {
      for (chunk_ = 0; chunk_ < chunks; ++chunk_) {
        reset_tallies(true, 0, uint32_t(tallies_.size()));
        int64_t begin = chunk_ * rows_per_chunk;
        int64_t end = std::min(begin + rows_per_chunk, row_.points);
        for (int64_t row = begin; row < end; ++row, advance(row_)) run_row();
        write_columns();
      }
    }
  }

 private:
  Range range_of(Role role) const {
    Range range;
    const auto& axes = kernel_.axes;
    while (range.first < axes.size() && axes[range.first].role < role) ++range.first;
    range.last = range.first;
    while (range.last < axes.size() && axes[range.last].role == role) ++range.last;
    range.points = extent_product(kernel_, role, segment_.sizes);
    return range;
  }

  /// To the next point of the range; after the last one comes the first again.
  void advance(const Range& range) {
    for (uint32_t axis = range.last; axis-- > range.first;) {
      if (++position_[axis] < segment_.sizes[kernel_.axes[axis].extent]) return;
      position_[axis] = 0;
    }
  }

  Place place(const Access& access, std::span<const size_t> argument_bytes) const {
    auto size = [&](SizeId id) { return id == none ? 0 : segment_.sizes[id]; };
    Place place;
    place.memory = static_cast<std::byte*>(segment_.arguments[access.argument]);
    place.dtype = kernel_.arguments[access.argument].dtype;
    place.elements = -1;
    if (!argument_bytes.empty())
      place.elements = int64_t(argument_bytes[access.argument] / size_of(place.dtype));
    place.base = size(access.base);
    for (uint32_t axis = 0; axis < access.strides.size(); ++axis)
      if (int64_t stride = size(access.strides[axis])) place.terms.push_back({axis, stride});
    place.chunk_stride = size(access.chunk_stride);
    place.offset = access.offset;
    place.predicate = access.predicate;
    return place;
  }

  void prepare_tallies() {
    tallies_.resize(kernel_.accumulators.size());
    for (const Stage& stage : kernel_.stages) {
      for (uint32_t i = stage.first_accumulator; i < stage.last_accumulator; ++i) {
        const Accumulator& accumulator = kernel_.accumulators[i];
        Tally& tally = tallies_[i];
        DType dtype = kernel_.instructions[accumulator.value].dtype;
        tally.combine = combination(accumulator.reduce, dtype);
        tally.identity = identity_bits(accumulator.reduce, dtype);
        size_t row_values = tally.combine ? lane_count(dtype) : 1;
        size_t column_values = stage.kind == StageKind::sweep ? size_t(inner_.points) : 1;
        tally.values.resize(accumulator.column ? column_values : row_values);
      }
    }
  }

  void reset_tallies(bool column, uint32_t first, uint32_t last) {
    for (uint32_t i = first; i < last; ++i) {
      if (kernel_.accumulators[i].column != column) continue;
      std::fill(tallies_[i].values.begin(), tallies_[i].values.end(), tallies_[i].identity);
      tallies_[i].best_index = -1;
    }
  }

  void run_row() {
    for (const Stage& stage : kernel_.stages) {
      if (stage.kind == StageKind::row) {
        run_instructions(stage.begin, stage.end);
        feed(stage, 0);
      } else if (stage.kind == StageKind::sweep) {
        run_sweep(stage);
      }
    }
  }

  void run_sweep(const Stage& stage) {
    reset_tallies(false, stage.first_accumulator, stage.last_accumulator);
    for (int64_t point = 0; point < inner_.points; ++point, advance(inner_)) {
      if (kernel_.contraction) contract(*kernel_.contraction);
      run_instructions(stage.begin, stage.end);
      feed(stage, point);
    }
    for (uint32_t i = stage.first_accumulator; i < stage.last_accumulator; ++i)
      if (!kernel_.accumulators[i].column) finish_row(tallies_[i]);
  }

  void contract(const Contraction& contraction) {
    DType dtype = contraction.dtype;
    Evaluation fma = evaluation_of(Opcode::fma, dtype, dtype, 0);
    Evaluation mul = evaluation_of(Opcode::mul, dtype, dtype, 0);
    Evaluation add = evaluation_of(Opcode::add, dtype, dtype, 0);
    product_ = 0;
    for (int64_t k = 0; k < contracted_.points; ++k, advance(contracted_)) {
      run_instructions(contraction.a_begin, contraction.a_end);
      run_instructions(contraction.b_begin, contraction.b_end);
      uint64_t a = values_[contraction.a], b = values_[contraction.b];
      product_ = fma ? fma(a, b, product_) : add(product_, mul(a, b, 0), 0);
    }
  }

  void feed(const Stage& stage, int64_t point) {
    for (uint32_t i = stage.first_accumulator; i < stage.last_accumulator; ++i) {
      const Accumulator& accumulator = kernel_.accumulators[i];
      if (accumulator.predicate != none && !values_[accumulator.predicate]) continue;
      Tally& tally = tallies_[i];
      uint64_t value = values_[accumulator.value];
      if (!tally.combine) {
        feed_extreme(accumulator, tally, value, point);
        continue;
      }
      size_t last = inner_.last > inner_.first ? size_t(position_[inner_.last - 1]) : 0;
      size_t at = accumulator.column ? size_t(point) : last % tally.values.size();
      tally.values[at] = tally.combine(tally.values[at], value, 0);
    }
  }

  void feed_extreme(const Accumulator& accumulator, Tally& tally, uint64_t value, int64_t point) {
    DType dtype = kernel_.instructions[accumulator.value].dtype;
    Evaluation less = evaluation_of(Opcode::lt, DType::boolean, dtype, 0);
    Evaluation differs = evaluation_of(Opcode::ne, DType::boolean, dtype, 0);
    uint64_t best = tally.values[0];
    bool max = accumulator.reduce == Reduce::argmax;
    bool better = max ? less(best, value, 0) : less(value, best, 0);
    bool first_nan = differs(value, value, 0) && !differs(best, best, 0);
    if (tally.best_index >= 0 && !better && !first_nan) return;
    tally.values[0] = value;
    tally.best_index = point;
  }

  void finish_row(Tally& tally) {
    if (!tally.combine) {
      tally.result = uint64_t(std::max<int64_t>(tally.best_index, 0));
      return;
    }
    for (size_t half = tally.values.size() / 2; half > 0; half /= 2)
      for (size_t lane = 0; lane < half; ++lane)
        tally.values[lane] = tally.combine(tally.values[lane], tally.values[lane + half], 0);
    tally.result = tally.values[0];
  }

  /// What the kernel's finish does: the totals of the chunk's column accumulators leave.
  void write_columns() {
    for (const Stage& stage : kernel_.stages) {
      int64_t points = stage.kind == StageKind::sweep ? inner_.points : 1;
      for (uint32_t i = stage.first_accumulator; i < stage.last_accumulator; ++i) {
        const Accumulator& accumulator = kernel_.accumulators[i];
        if (!accumulator.column) continue;
        const Place& place = places_[accumulator.access];
        for (int64_t point = 0; point < points; ++point) {
          write(address(place), place.dtype, tallies_[i].values[size_t(point)]);
          if (stage.kind == StageKind::sweep) advance(inner_);
        }
      }
    }
  }

  void run_instructions(uint32_t begin, uint32_t end) {
    for (uint32_t i = begin; i < end; ++i) {
      const Step& step = steps_[i];
      values_[i] = step.evaluation
                       ? step.evaluation(values_[step.operands[0]], values_[step.operands[1]],
                                         values_[step.operands[2]])
                       : run_impure(kernel_.instructions[i]);
    }
  }

  uint64_t run_impure(const Instruction& instruction) {
    switch (instruction.op) {
      case Opcode::constant:
        return instruction.bits;
      case Opcode::scalar:
        return segment_.scalars[instruction.aux];
      case Opcode::size:
        return uint64_t(segment_.sizes[instruction.aux]);
      case Opcode::index:
        return uint64_t(position_[instruction.aux]);
      case Opcode::reduced:
        return tallies_[instruction.aux].result;
      case Opcode::product:
        return product_;
      default:
        return run_access(instruction);
    }
  }

  uint64_t run_access(const Instruction& instruction) {
    const Place& place = places_[instruction.aux];
    if (place.predicate != none && !values_[place.predicate]) return 0;
    std::byte* at = address(place);
    if (instruction.op == Opcode::load) return read(at, place.dtype);
    uint64_t value = values_[instruction.operands[0]];
    if (instruction.op == Opcode::store_add) {
      DType dtype = compute_dtype(place.dtype);
      value = evaluation_of(Opcode::add, dtype, dtype, 0)(read(at, place.dtype), value, 0);
    }
    write(at, place.dtype, value);
    return 0;
  }

  std::byte* address(const Place& place) const {
    int64_t element = place.base + place.chunk_stride * chunk_;
    for (const Term& term : place.terms) element += term.stride * position_[term.axis];
    if (place.offset != none) element += int64_t(values_[place.offset]);
    if (place.elements >= 0 && (element < 0 || element >= place.elements))
      throw Error(fmt::format("kernel '{}': access {} goes to element {} of {}", kernel_.name,
                              &place - places_.data(), element, place.elements),
                  {});
    return place.memory + element * int64_t(size_of(place.dtype));
  }

  const Kernel& kernel_;
  std::span<const Step> steps_;
  const Segment& segment_;
  std::vector<uint64_t> values_;
  std::vector<int64_t> position_;
  Range outer_, row_, inner_, contracted_;
  std::vector<Place> places_;
  std::vector<Tally> tallies_;
  int64_t chunk_ = 0;
  uint64_t product_ = 0;
};

}  // namespace

Program::Program(const Kernel& kernel) : kernel_(kernel) {
  for (const Instruction& instruction : kernel.instructions) {
    ValueId first = instruction.operands[0];
    DType operand = first == none ? instruction.dtype : kernel.instructions[first].dtype;
    Step step{evaluation_of(instruction.op, instruction.dtype, operand, instruction.aux), {}};
    for (int i = 0; i < 3; ++i) {
      ValueId id = instruction.operands[i];
      step.operands[i] = id == none ? ValueId(kernel.instructions.size()) : id;
    }
    steps_.push_back(step);
  }
}

void Program::run(const Segment& segment, std::span<const size_t> argument_bytes) const {
  Run(*this, segment, argument_bytes).execute();
}

}  // namespace encore::jit
