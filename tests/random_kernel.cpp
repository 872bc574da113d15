#include "random_kernel.h"

#include <encore/jit/reference/evaluate.h>

#include <algorithm>
#include <functional>
#include <random>
#include <tuple>

#include "random_data.h"

namespace encore::jit {
namespace {

using Sizes = std::vector<int64_t>;
using SizeRule = std::function<int64_t(const Sizes&)>;

/// One dimension of an argument's memory, walked by an axis of the kernel (or by none: a table's).
struct Dimension {
  uint32_t axis = none;
  int64_t extent = 0;  // of a table; else the axis's
  int64_t step = 1;
  bool reversed = false;
};

bool is_comparison(Opcode op) {
  return op == Opcode::eq || op == Opcode::ne || op == Opcode::lt || op == Opcode::le;
}

class Generator {
 public:
  Generator(uint64_t seed, const RandomKernelOptions& options) : random_(seed), options_(options) {
    kernel_.name = "random_" + std::to_string(seed);
    for (int i = 0; i < dtype_count; ++i)
      if (options.dtypes.empty()) options_.dtypes.push_back(DType(i));
    size_t focus = 1 + random_.below(3);
    while (focus_.size() < focus) focus_.push_back(random_.pick(options_.dtypes));
  }

  RandomKernel generate() {
    bool contraction = options_.contractions && random_.chance(20);
    make_axes(contraction);
    make_setup();
    if (contraction)
      make_contraction();
    else
      make_stages();
    return {kernel_, make_segments()};
  }

 private:
  // ---- Sizes -----------------------------------------------------------------------------------

  /// A size that depends on `sources`: it can be fixed only if they all are.
  SizeId derived_size(std::vector<SizeId> sources, SizeRule rule) {
    int64_t value = rule(values_of_sizes());
    bool free = std::any_of(sources.begin(), sources.end(),
                            [&](SizeId id) { return !kernel_.sizes[id].fixed; });
    bool fixed = value == 0 || value == 1 || (!free && random_.chance(60));
    kernel_.sizes.push_back({value, fixed});
    rules_.push_back(std::move(rule));
    return SizeId(kernel_.sizes.size() - 1);
  }

  /// A size of its own; where it is not fixed, other segments get another value.
  SizeId free_size(int64_t value) {
    bool fixed = value < 2 || random_.chance(50);
    kernel_.sizes.push_back({value, fixed});
    rules_.push_back(nullptr);
    return SizeId(kernel_.sizes.size() - 1);
  }

  Sizes values_of_sizes() const {
    Sizes values;
    for (const Size& size : kernel_.sizes) values.push_back(size.value);
    return values;
  }

  void make_axes(bool contraction) {
    int64_t left = options_.max_points;
    auto add = [&](Role role, size_t count, std::vector<int64_t> extents) {
      for (size_t i = 0; i < count; ++i) {
        int64_t extent = random_.chance(1) ? 0 : random_.pick(extents);
        extent = std::min(extent, std::max<int64_t>(left, 1));
        left /= std::max<int64_t>(extent, 1);
        kernel_.axes.push_back({role, free_size(extent)});
      }
    };
    add(Role::outer, random_.below(3), {1, 2, 3, 4});
    add(Role::row, random_.below(3), {1, 2, 3, 5, 8, 13});
    size_t inner = random_.below(4);
    if (inner > 1) add(Role::inner, inner - 1, {1, 2, 3, 4});
    if (inner > 0) add(Role::inner, 1, {1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 33, 40, 64, 67, 130});
    if (contraction) add(Role::contracted, random_.below(3), {1, 2, 3, 5, 9, 17});
  }

  // ---- Memory ----------------------------------------------------------------------------------

  int64_t extent_in(const Dimension& dimension, const Sizes& sizes) const {
    int64_t extent =
        dimension.axis == none ? dimension.extent : sizes[kernel_.axes[dimension.axis].extent];
    return std::max<int64_t>(extent, 1) * dimension.step;
  }

  /// Elements from one index of dimensions[at] to the next, unsigned.
  int64_t stride_in(const std::vector<Dimension>& dimensions, size_t at, const Sizes& sizes) const {
    int64_t stride = dimensions[at].step;
    for (size_t i = at + 1; i < dimensions.size(); ++i) stride *= extent_in(dimensions[i], sizes);
    return stride;
  }

  std::vector<SizeId> sources_of(const std::vector<Dimension>& dimensions) const {
    std::vector<SizeId> sources;
    for (const Dimension& dimension : dimensions)
      if (dimension.axis != none) sources.push_back(kernel_.axes[dimension.axis].extent);
    return sources;
  }

  /// An argument of its own with these dimensions, slowest first, and an access that walks it.
  /// With `skipped`, the first that many indices of dimensions[0] lie before the argument.
  uint32_t make_access(DType dtype, Use use, const std::vector<Dimension>& dimensions,
                       int64_t skipped = 0) {
    Access access;
    access.argument = uint32_t(kernel_.arguments.size());
    access.strides.assign(kernel_.axes.size(), none);
    kernel_.arguments.push_back({dtype, use});
    bool reversed = std::any_of(dimensions.begin(), dimensions.end(),
                                [](const Dimension& d) { return d.reversed; });
    // A base that depends on extents must never become 0 or 1.
    int64_t pad = skipped    ? 0
                  : reversed ? 2 + int64_t(random_.below(3))
                             : int64_t(random_.below(4));
    auto total = [=, this](const Sizes& sizes) {
      int64_t elements = pad;
      elements += dimensions.empty() ? 1
                                     : extent_in(dimensions[0], sizes) *
                                           stride_in(dimensions, 0, sizes) / dimensions[0].step;
      return elements;
    };
    argument_elements_.push_back(total);
    for (size_t i = 0; i < dimensions.size(); ++i) {
      if (dimensions[i].axis == none) continue;
      int sign = dimensions[i].reversed ? -1 : 1;
      std::vector<Dimension> later(dimensions.begin() + long(i) + 1, dimensions.end());
      access.strides[dimensions[i].axis] = derived_size(
          sources_of(later),
          [=, this](const Sizes& sizes) { return sign * stride_in(dimensions, i, sizes); });
    }
    auto base = [=, this](const Sizes& sizes) {
      int64_t sum = pad - (skipped ? skipped * stride_in(dimensions, 0, sizes) : 0);
      for (size_t i = 0; i < dimensions.size(); ++i)
        if (dimensions[i].reversed)
          sum += stride_in(dimensions, i, sizes) *
                 (extent_in(dimensions[i], sizes) / dimensions[i].step - 1);
      return sum;
    };
    if (skipped || reversed)
      access.base = derived_size(sources_of(dimensions), base);
    else if (pad > 0)
      access.base = derived_size({}, base);
    kernel_.accesses.push_back(access);
    return uint32_t(kernel_.accesses.size() - 1);
  }

  /// The axes that are known in the current place, in random order; `all` of them or some.
  std::vector<Dimension> random_dimensions(bool all) {
    std::vector<Dimension> dimensions;
    bool tidy = random_.chance(60);  // as most programs have it: dense, ascending
    for (uint32_t axis = 0; axis < kernel_.axes.size(); ++axis) {
      if (!roles_[int(kernel_.axes[axis].role)] || (!all && random_.chance(25))) continue;
      dimensions.push_back({axis});
      if (tidy) continue;
      dimensions.back().step = random_.chance(80) ? 1 : 2;
      dimensions.back().reversed = random_.chance(20);
    }
    if (!tidy) random_.shuffle(dimensions);
    return dimensions;
  }

  DType storage_of(DType dtype) {
    std::vector<DType> choices;
    for (DType storage : options_.dtypes)
      if (compute_dtype(storage) == dtype) choices.push_back(storage);
    return choices.empty() ? dtype : random_.pick(choices);
  }

  bool has_room_for_argument() const { return kernel_.arguments.size() < 24; }

  // ---- Values ----------------------------------------------------------------------------------

  ValueId emit(Opcode op, DType dtype, std::initializer_list<ValueId> operands = {},
               uint32_t aux = 0, uint64_t bits = 0) {
    Instruction instruction{op, dtype, {none, none, none}, aux, bits};
    std::copy(operands.begin(), operands.end(), instruction.operands);
    ValueId id = ValueId(kernel_.instructions.size());
    kernel_.instructions.push_back(instruction);
    if (op != Opcode::store && op != Opcode::store_add) visible_.push_back(id);
    return id;
  }

  DType dtype_of_value(ValueId id) const { return kernel_.instructions[id].dtype; }

  DType random_dtype() {
    return compute_dtype(random_.chance(80) ? random_.pick(focus_) : random_.pick(options_.dtypes));
  }

  ValueId constant(DType dtype, Scalar scalar) {
    return emit(Opcode::constant, dtype, {}, 0, scalar.bits_as(dtype));
  }

  /// A visible value of this dtype, or a new one.
  ValueId value(DType dtype) {
    std::vector<ValueId> choices;
    for (ValueId id : visible_)
      if (dtype_of_value(id) == dtype) choices.push_back(id);
    // The later of two picks: what a stage computes itself is mostly what it uses.
    if (!choices.empty() && random_.chance(85))
      return choices[std::max(random_.below(choices.size()), random_.below(choices.size()))];
    if (has_room_for_argument() && random_.chance(50)) return load(dtype);
    if (visible_.empty() || random_.chance(30))
      return emit(Opcode::constant, dtype, {}, 0, random_bits(random_, dtype));
    ValueId source = random_.pick(visible_);
    if (dtype_of_value(source) == dtype) return source;
    return emit(Opcode::cast, dtype, {source});
  }

  bool in_setup() const { return !roles_[int(Role::outer)]; }

  ValueId load(DType dtype) {
    std::vector<Dimension> dimensions = random_dimensions(false);
    uint32_t access = none;
    ValueId predicate = none;
    if (options_.indirect && random_.chance(20)) {
      access = make_table(storage_of(dtype), Use::read, dimensions, value(DType::i64));
    } else if (options_.predicates && !dimensions.empty() && random_.chance(15)) {
      return load_beyond_edge(dtype, dimensions);
    } else {
      access = make_access(storage_of(dtype), Use::read, dimensions);
    }
    if (options_.predicates && random_.chance(15)) predicate = value(DType::boolean);
    kernel_.accesses[access].predicate = predicate;
    return emit(Opcode::load, dtype, {}, access);
  }

  /// As padding does it: the first few indices of an axis have no memory.
  ValueId load_beyond_edge(DType dtype, std::vector<Dimension> dimensions) {
    for (Dimension& dimension : dimensions) dimension.reversed = false;
    int64_t skipped = 1 + int64_t(random_.below(3));
    ValueId position = emit(Opcode::index, DType::i64, {}, dimensions[0].axis);
    ValueId predicate = emit(Opcode::le, DType::boolean, {constant(DType::i64, skipped), position});
    uint32_t access = make_access(storage_of(dtype), Use::read, dimensions, skipped);
    kernel_.accesses[access].predicate = predicate;
    return emit(Opcode::load, dtype, {}, access);
  }

  /// An argument with a slowest dimension that the integer value `selector` picks from.
  uint32_t make_table(DType dtype, Use use, std::vector<Dimension> dimensions, ValueId selector) {
    int64_t entries = 1 + int64_t(random_.below(7));
    dimensions.insert(dimensions.begin(), Dimension{none, entries});
    uint32_t access = make_access(dtype, use, dimensions);
    SizeId stride = derived_size(sources_of(dimensions), [=, this](const Sizes& sizes) {
      return stride_in(dimensions, 0, sizes);
    });
    ValueId entry = emit(Opcode::rem, DType::i64, {selector, constant(DType::i64, entries)});
    entry = emit(Opcode::abs, DType::i64, {entry});
    ValueId step = emit(Opcode::size, DType::i64, {}, stride);
    kernel_.accesses[access].offset = emit(Opcode::mul, DType::i64, {entry, step});
    return access;
  }

  void random_instruction() {
    for (;;) {
      Opcode op = Opcode(int(Opcode::add) +
                         int(random_.below(1 + int(Opcode::quantize) - int(Opcode::add))));
      if (std::find(options_.without.begin(), options_.without.end(), op) != options_.without.end())
        continue;
      DType result = is_comparison(op) ? DType::boolean : random_dtype();
      DType operand = result;
      if (is_comparison(op) || op == Opcode::cast || op == Opcode::bitcast)
        operand = random_dtype();
      if (op == Opcode::select) operand = DType::boolean;
      uint32_t aux = 0;
      if (op == Opcode::quantize) aux = uint32_t(random_.chance(50) ? DType::f16 : DType::bf16);
      if (!evaluation_of(op, result, operand, aux)) continue;
      emit_pure(op, result, operand, aux);
      return;
    }
  }

  void emit_pure(Opcode op, DType result, DType operand, uint32_t aux) {
    ValueId a = value(operand);
    DType second = op == Opcode::select ? result : operand;
    bool shift = op == Opcode::shl || op == Opcode::shr;
    if (op == Opcode::bitcast && is_floating(operand)) a = without_nan(a);
    ValueId b = none, c = none;
    if (operand_count(op) > 1) b = op == Opcode::scale2 ? exponent(operand) : value(second);
    if (shift && random_.chance(60))
      b = emit(Opcode::bit_and, operand, {b, constant(operand, int64_t(8 * size_of(operand) - 1))});
    if (operand_count(op) > 2) c = value(second);
    emit(op, result, {a, b, c}, aux);
  }

  ValueId without_nan(ValueId a) {
    DType dtype = dtype_of_value(a);
    ValueId number = emit(Opcode::eq, DType::boolean, {a, a});
    return emit(Opcode::select, dtype, {number, a, constant(dtype, 1)});
  }

  /// An integral value in [-2200, 2200].
  ValueId exponent(DType dtype) {
    ValueId source = value(DType::i32);
    int64_t bound = random_.chance(50) ? 20 : 2201;
    ValueId small = emit(Opcode::rem, DType::i32, {source, constant(DType::i32, bound)});
    return emit(Opcode::cast, dtype, {small});
  }

  void random_instructions() {
    size_t count = 1 + random_.below(size_t(options_.instructions_per_stage));
    while (count-- > 0) random_instruction();
  }

  // ---- Stages ----------------------------------------------------------------------------------

  void enter(bool outer, bool row, bool inner, bool contracted) {
    roles_[int(Role::outer)] = outer;
    roles_[int(Role::row)] = row;
    roles_[int(Role::inner)] = inner;
    roles_[int(Role::contracted)] = contracted;
  }

  void make_setup() {
    size_t scalars = random_.below(3);
    for (size_t i = 0; i < scalars; ++i) kernel_.scalars.push_back(random_dtype());
    if (scalars == 0 && random_.chance(50)) return;
    enter(false, false, false, false);
    for (size_t i = 0; i < scalars; ++i) emit(Opcode::scalar, kernel_.scalars[i], {}, uint32_t(i));
    if (random_.chance(50)) random_instructions();
    kernel_.stages.push_back({StageKind::setup, 0, uint32_t(kernel_.instructions.size()), 0, 0});
  }

  void make_stages() {
    int stages = 1 + int(random_.below(size_t(options_.max_stages)));
    for (int i = 0; i < stages; ++i) {
      bool last = i + 1 == stages;
      if (random_.chance(last ? 70 : 50))
        make_sweep(last);
      else
        make_row_stage(last);
    }
  }

  void make_contraction() {
    static constexpr DType usual[] = {DType::f32, DType::f32, DType::f64, DType::i32};
    Contraction contraction;
    contraction.dtype = random_.chance(70) ? usual[random_.below(4)] : random_dtype();
    if (contraction.dtype == DType::boolean) contraction.dtype = DType::f32;
    auto outside = visible_;
    enter(true, true, false, true);
    std::tie(contraction.a, contraction.a_begin, contraction.a_end) =
        make_operand(contraction.dtype);
    visible_ = outside;
    enter(true, false, true, true);
    std::tie(contraction.b, contraction.b_begin, contraction.b_end) =
        make_operand(contraction.dtype);
    visible_ = outside;
    kernel_.contraction = contraction;
    if (random_.chance(40)) make_row_stage(false);
    make_sweep(true);
    if (random_.chance(30)) make_row_stage(true);
  }

  std::tuple<ValueId, uint32_t, uint32_t> make_operand(DType dtype) {
    uint32_t begin = uint32_t(kernel_.instructions.size());
    ValueId id = load(dtype);
    if (random_.chance(30)) {
      random_instructions();
      id = emit(is_floating(dtype) ? Opcode::mul : Opcode::add, dtype, {id, value(dtype)});
    }
    return {id, begin, uint32_t(kernel_.instructions.size())};
  }

  void make_row_stage(bool must_store) {
    enter(true, true, false, false);
    Stage stage{StageKind::row, uint32_t(kernel_.instructions.size())};
    for (uint32_t id : unread_) emit(Opcode::reduced, kernel_.accumulators[id].dtype, {}, id);
    unread_.clear();
    if (random_.chance(40)) index_value();
    random_instructions();
    make_stores(must_store);
    close(stage);
  }

  void make_sweep(bool must_store) {
    enter(true, true, true, false);
    auto outside = visible_;
    Stage stage{StageKind::sweep, uint32_t(kernel_.instructions.size())};
    if (kernel_.contraction) emit(Opcode::product, kernel_.contraction->dtype);
    if (random_.chance(40)) index_value();
    if (has_room_for_argument() && random_.chance(80)) load(random_dtype());
    uint32_t in_place = none;
    if (options_.in_place && has_room_for_argument() && random_.chance(20)) {
      DType dtype = random_dtype();
      in_place = make_access(storage_of(dtype), Use::update, random_dimensions(true));
      emit(Opcode::load, dtype, {}, in_place);
    }
    random_instructions();
    make_stores(must_store);
    if (in_place != none) {
      DType dtype = compute_dtype(kernel_.arguments[kernel_.accesses[in_place].argument].dtype);
      emit(Opcode::store, dtype, {value(dtype)}, in_place);
    }
    close(stage);
    visible_ = outside;
  }

  void index_value() {
    std::vector<uint32_t> axes;
    for (uint32_t axis = 0; axis < kernel_.axes.size(); ++axis)
      if (roles_[int(kernel_.axes[axis].role)]) axes.push_back(axis);
    if (!axes.empty()) emit(Opcode::index, DType::i64, {}, random_.pick(axes));
  }

  void make_stores(bool at_least_one) {
    size_t stores = random_.below(2) + at_least_one;
    for (size_t i = 0; i < stores; ++i) {
      if (visible_.empty()) value(random_dtype());
      ValueId stored = recent_value();
      DType dtype = dtype_of_value(stored);
      uint32_t access;
      if (options_.store_add && random_.chance(15)) {
        access = make_shared_target(dtype);
        emit(Opcode::store_add, dtype, {stored}, access);
        continue;
      }
      access = make_access(storage_of(dtype), Use::write, random_dimensions(true));
      if (options_.predicates && random_.chance(20))
        kernel_.accesses[access].predicate = value(DType::boolean);
      emit(Opcode::store, dtype, {stored}, access);
    }
  }

  /// Where store_add goes: rows may meet there, points of one row never do.
  uint32_t make_shared_target(DType dtype) {
    std::vector<Dimension> dimensions;
    for (const Dimension& dimension : random_dimensions(true))
      if (kernel_.axes[dimension.axis].role != Role::row) dimensions.push_back(dimension);
    std::vector<uint32_t> rows;
    for (uint32_t axis = 0; axis < kernel_.axes.size(); ++axis)
      if (kernel_.axes[axis].role == Role::row) rows.push_back(axis);
    if (rows.empty() || !options_.indirect)
      return make_access(storage_of(dtype), Use::update, dimensions);
    ValueId row = emit(Opcode::index, DType::i64, {}, random_.pick(rows));
    return make_table(storage_of(dtype), Use::update, dimensions, row);
  }

  /// One of the last few, so that little of a kernel is dead.
  ValueId recent_value() {
    size_t window = std::min<size_t>(visible_.size(), 4);
    return visible_[visible_.size() - 1 - random_.below(window)];
  }

  // ---- Accumulators ----------------------------------------------------------------------------

  void close(Stage stage) {
    stage.first_accumulator = uint32_t(kernel_.accumulators.size());
    bool sweep = stage.kind == StageKind::sweep;
    size_t count = random_.below(3);
    for (size_t i = 0; i < count; ++i) {
      bool column = !sweep || !options_.row_accumulators || random_.chance(35);
      if (column && !options_.column_accumulators) continue;
      make_accumulator(column, sweep);
    }
    stage.last_accumulator = uint32_t(kernel_.accumulators.size());
    stage.end = uint32_t(kernel_.instructions.size());
    kernel_.stages.push_back(stage);
  }

  void make_accumulator(bool column, bool sweep) {
    Accumulator accumulator;
    accumulator.value = recent_value();
    DType dtype = dtype_of_value(accumulator.value);
    accumulator.reduce = Reduce(random_.below(4));
    if (dtype == DType::boolean)
      accumulator.reduce = random_.chance(50) ? Reduce::any : Reduce::all;
    if (!column && options_.arg_reductions && random_.chance(20))
      accumulator.reduce = random_.chance(50) ? Reduce::argmax : Reduce::argmin;
    bool index = accumulator.reduce == Reduce::argmax || accumulator.reduce == Reduce::argmin;
    accumulator.dtype = index ? DType::i64 : dtype;
    accumulator.column = column;
    if (options_.predicates && random_.chance(25)) accumulator.predicate = value(DType::boolean);
    uint32_t id = uint32_t(kernel_.accumulators.size());
    if (column)
      accumulator.access = make_column_access(dtype, sweep);
    else
      unread_.push_back(id);
    kernel_.accumulators.push_back(accumulator);
  }

  /// An array of [chunk, outer and inner axes in some order].
  uint32_t make_column_access(DType dtype, bool sweep) {
    if (kernel_.rows_per_chunk == none) {
      static constexpr int64_t rows[] = {1, 2, 3, 4, 8};
      kernel_.rows_per_chunk = free_size(rows[random_.below(5)]);
    }
    enter(true, false, sweep, false);
    std::vector<Dimension> dimensions = random_dimensions(true);
    enter(true, true, sweep, false);
    uint32_t access = make_access(storage_of(dtype), Use::write, dimensions);
    auto of_one_chunk = argument_elements_.back();
    kernel_.accesses[access].chunk_stride =
        derived_size(sources_of(dimensions), [=, this](const Sizes& sizes) {
          return dimensions.empty() ? 1
                                    : extent_in(dimensions[0], sizes) *
                                          stride_in(dimensions, 0, sizes) / dimensions[0].step;
        });
    argument_elements_.back() = [=, this](const Sizes& sizes) {
      return of_one_chunk(sizes) * chunk_count(kernel_, sizes.data());
    };
    return access;
  }

  // ---- Data ------------------------------------------------------------------------------------

  std::vector<LaunchData> make_segments() {
    std::vector<LaunchData> segments(options_.segments && random_.chance(30) ? 2 + random_.below(2)
                                                                             : 1);
    for (size_t i = 0; i < segments.size(); ++i) {
      Sizes& sizes = segments[i].sizes;
      sizes = values_of_sizes();
      for (size_t id = 0; i > 0 && id < sizes.size(); ++id) {
        if (rules_[id])
          sizes[id] = rules_[id](sizes);
        else if (!kernel_.sizes[id].fixed)
          sizes[id] = 2 + int64_t(random_.below(uint64_t(sizes[id])));
      }
      for (DType dtype : kernel_.scalars)
        segments[i].scalars.push_back(random_bits(random_, dtype));
      for (size_t argument = 0; argument < kernel_.arguments.size(); ++argument)
        segments[i].arguments.push_back(random_memory(random_, kernel_.arguments[argument].dtype,
                                                      argument_elements_[argument](sizes)));
    }
    return segments;
  }

  Random random_;
  RandomKernelOptions options_;
  std::vector<DType> focus_;
  Kernel kernel_;
  std::vector<SizeRule> rules_;              // by size; none: free
  std::vector<SizeRule> argument_elements_;  // by argument
  std::vector<ValueId> visible_;
  std::vector<uint32_t> unread_;  // row accumulators that no `reduced` has read
  bool roles_[4] = {};
};

}  // namespace

RandomKernel make_random_kernel(uint64_t seed, const RandomKernelOptions& options) {
  return Generator(seed, options).generate();
}

}  // namespace encore::jit
