#include "random_kernel.h"

#include <encore/jit/reference/evaluate.h>

#include <algorithm>
#include <numeric>
#include <tuple>

#include "random_data.h"
#include "random_layout.h"

namespace encore::jit {
namespace {

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
    return {kernel_, make_segments(), layout_.owners()};
  }

 private:
  // ---- Memory ----------------------------------------------------------------------------------

  void make_axes(bool contraction) {
    std::vector<std::pair<Role, int64_t>> axes;
    auto add = [&](Role role, size_t count, std::vector<int64_t> extents) {
      for (size_t i = 0; i < count; ++i)
        axes.push_back({role, random_.chance(1) ? 0 : random_.pick(extents)});
    };
    add(Role::outer, random_.below(3), {1, 2, 3, 4});
    add(Role::row, random_.below(3), {1, 2, 3, 5, 8, 13, 29});
    size_t inner = random_.below(4);
    if (inner > 1) add(Role::inner, inner - 1, {1, 2, 3, 4});
    if (inner > 0) add(Role::inner, 1, {1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 33, 40, 64, 67, 130});
    if (contraction) add(Role::contracted, random_.below(3), {1, 2, 3, 5, 9, 17, 65, 600});
    // Cut in random order, so that now this axis is long, now that one.
    std::vector<size_t> order(axes.size());
    std::iota(order.begin(), order.end(), 0);
    random_.shuffle(order);
    int64_t left = options_.max_points * (contraction ? 5 : 1);
    for (size_t i : order) {
      axes[i].second = std::min(axes[i].second, std::max<int64_t>(left, 1));
      left /= std::max<int64_t>(axes[i].second, 1);
    }
    for (auto [role, extent] : axes) kernel_.axes.push_back({role, layout_.free_size(extent)});
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
      access = layout_.make_access(storage_of(dtype), Use::read, dimensions);
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
    uint32_t access = layout_.make_access(storage_of(dtype), Use::read, dimensions, skipped);
    kernel_.accesses[access].predicate = predicate;
    return emit(Opcode::load, dtype, {}, access);
  }

  /// An argument with a slowest dimension that the integer value `selector` picks from.
  uint32_t make_table(DType dtype, Use use, std::vector<Dimension> dimensions, ValueId selector) {
    int64_t entries = 1 + int64_t(random_.below(7));
    dimensions.insert(dimensions.begin(), Dimension{none, entries});
    uint32_t access = layout_.make_access(dtype, use, dimensions);
    SizeId stride = layout_.stride_size(dimensions);
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
    if (options_.in_place && has_room_for_argument() && random_.chance(30))
      in_place = load_in_place();
    random_instructions();
    if (options_.kept_rows && random_.chance(40)) use_kept_row();
    make_stores(must_store);
    if (in_place != none) {
      DType dtype = compute_dtype(kernel_.arguments[kernel_.accesses[in_place].argument].dtype);
      emit(Opcode::store, dtype, {value(dtype)}, in_place);
    }
    close(stage);
    visible_ = outside;
  }

  /// Loads what this sweep will store to through the access that is returned: one argument, or two
  /// that are the same memory, as where an input is donated to an output.
  uint32_t load_in_place() {
    DType stored = storage_of(random_dtype());
    bool two = random_.chance(60);
    uint32_t store =
        layout_.make_access(stored, two ? Use::write : Use::update, random_dimensions(true));
    DType loaded = stored;
    if (two && random_.chance(40)) loaded = random_.pick(options_.dtypes);
    bool fits = size_of(loaded) == size_of(stored) && loaded != DType::boolean;
    if (!fits) loaded = stored;
    uint32_t load = two ? layout_.make_alias(store, loaded, Use::read) : store;
    emit(Opcode::load, compute_dtype(loaded), {}, load);
    return store;
  }

  /// What one sweep stores a later one loads, at the same point, and may store anew.
  void use_kept_row() {
    if (kept_row_ == none) {
      if (!has_room_for_argument()) return;
      ValueId kept = visible_.empty() ? value(random_dtype()) : recent_value();
      DType dtype = dtype_of_value(kept);
      kept_row_ = layout_.make_access(storage_of(dtype), Use::update, random_dimensions(true));
      emit(Opcode::store, dtype, {kept}, kept_row_);
      return;
    }
    if (random_.chance(50)) {
      Access again = kernel_.accesses[kept_row_];
      kept_row_ = uint32_t(kernel_.accesses.size());
      kernel_.accesses.push_back(again);
    }
    DType dtype = compute_dtype(kernel_.arguments[kernel_.accesses[kept_row_].argument].dtype);
    emit(Opcode::load, dtype, {}, kept_row_);
    random_instructions();
    if (random_.chance(60)) emit(Opcode::store, dtype, {value(dtype)}, kept_row_);
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
      access = layout_.make_access(storage_of(dtype), Use::write, random_dimensions(true));
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
      return layout_.make_access(storage_of(dtype), Use::update, dimensions);
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
      kernel_.rows_per_chunk = layout_.free_size(rows[random_.below(5)]);
    }
    enter(true, false, sweep, false);
    std::vector<Dimension> dimensions = random_dimensions(true);
    enter(true, true, sweep, false);
    return layout_.make_chunked_access(storage_of(dtype), dimensions);
  }

  // ---- Data ------------------------------------------------------------------------------------

  std::vector<LaunchData> make_segments() {
    bool several = options_.segments && random_.chance(30);
    std::vector<LaunchData> segments(several ? 2 + random_.below(2) : 1);
    for (LaunchData& segment : segments) {
      segment.sizes = &segment == &segments[0] ? layout_.values() : layout_.other_values();
      for (DType dtype : kernel_.scalars) segment.scalars.push_back(random_bits(random_, dtype));
      for (size_t i = 0; i < kernel_.arguments.size(); ++i)
        segment.arguments.push_back(
            random_memory(random_, kernel_.arguments[i].dtype, layout_.elements(i, segment.sizes)));
    }
    return segments;
  }

  Random random_;
  RandomKernelOptions options_;
  std::vector<DType> focus_;
  Kernel kernel_;
  RandomLayout layout_{kernel_, random_};
  std::vector<ValueId> visible_;
  std::vector<uint32_t> unread_;  // row accumulators that no `reduced` has read
  uint32_t kept_row_ = none;      // its latest access
  bool roles_[4] = {};
};

}  // namespace

RandomKernel make_random_kernel(uint64_t seed, const RandomKernelOptions& options) {
  return Generator(seed, options).generate();
}

}  // namespace encore::jit
