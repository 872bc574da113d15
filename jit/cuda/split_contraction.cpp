#include <encore/jit/cuda/contraction_traits.h>
#include <encore/jit/cuda/split_contraction.h>

#include <algorithm>

namespace encore::jit::cuda {
namespace {

/// Addresses, and distances between rows, are multiples of this where the library is asked.
constexpr int64_t alignment = 16;

/// The axis of a role that has one.
uint32_t only_axis(const Kernel& kernel, Role role) {
  uint32_t only = none;
  for (uint32_t axis = 0; axis < kernel.axes.size(); ++axis) {
    if (kernel.axes[axis].role != role) continue;
    if (only != none) return none;
    only = axis;
  }
  return only;
}

bool is_fixed_to(const Kernel& kernel, SizeId size, int64_t value) {
  if (size == none) return value == 0;
  return kernel.sizes[size].fixed && kernel.sizes[size].value == value;
}

bool is_memory(const Instruction& instruction) {
  return instruction.op == Opcode::load || instruction.op == Opcode::store ||
         instruction.op == Opcode::store_add;
}

bool is_half(DType dtype) { return dtype == DType::f16 || dtype == DType::bf16; }

/// What is left of a kernel that begins with a matrix in the place of one of its values.
class Epilogue {
 public:
  Epilogue(const Kernel& kernel, ValueId replaced, Access matrix, DType dtype) : kernel_(kernel) {
    kernel_.name += " behind cublaslt";
    kernel_.variant = 0;
    kernel_.contraction.reset();
    matrix.argument = uint32_t(kernel_.arguments.size());
    kernel_.arguments.push_back({dtype, Use::read});
    kernel_.accesses.push_back(std::move(matrix));
    kernel_.instructions[replaced] = {
        .op = Opcode::load, .dtype = DType::f32, .aux = uint32_t(kernel_.accesses.size()) - 1};
  }

  Kernel take() {
    find_used();
    drop_instructions();
    drop_accesses();
    drop_depth();
    return std::move(kernel_);
  }

 private:
  void use(ValueId value) {
    if (value != none) used_[value] = true;
  }
  void use_access(uint32_t access) {
    if (access == none) return;
    use(kernel_.accesses[access].offset);
    use(kernel_.accesses[access].predicate);
  }

  void find_used() {
    used_.assign(kernel_.instructions.size(), false);
    for (const Accumulator& accumulator : kernel_.accumulators) {
      use(accumulator.value), use(accumulator.predicate);
      use_access(accumulator.access);
    }
    for (size_t i = kernel_.instructions.size(); i-- > 0;) {
      const Instruction& instruction = kernel_.instructions[i];
      if (instruction.op == Opcode::store || instruction.op == Opcode::store_add) used_[i] = true;
      if (!used_[i]) continue;
      for (ValueId operand : instruction.operands) use(operand);
      if (is_memory(instruction)) use_access(instruction.aux);
    }
  }

  void drop_instructions() {
    std::vector<uint32_t> places(used_.size() + 1);
    for (size_t i = 0; i < used_.size(); ++i) places[i + 1] = places[i] + used_[i];
    auto move = [&](uint32_t& id) {
      if (id != none) id = places[id];
    };
    std::vector<Instruction> kept;
    for (size_t i = 0; i < used_.size(); ++i)
      if (used_[i]) kept.push_back(kernel_.instructions[i]);
    kernel_.instructions = std::move(kept);
    for (Instruction& instruction : kernel_.instructions)
      for (ValueId& operand : instruction.operands) move(operand);
    for (Access& access : kernel_.accesses) move(access.offset), move(access.predicate);
    for (Accumulator& accumulator : kernel_.accumulators)
      move(accumulator.value), move(accumulator.predicate);
    for (Stage& stage : kernel_.stages) move(stage.begin), move(stage.end);
    std::erase_if(kernel_.stages, [](const Stage& stage) {
      return stage.kind != StageKind::sweep && stage.begin == stage.end &&
             stage.first_accumulator == stage.last_accumulator;
    });
  }

  void drop_accesses() {
    std::vector<Access> kept;
    std::vector<uint32_t> places(kernel_.accesses.size(), none);
    auto keep = [&](uint32_t& access) {
      if (places[access] == none) {
        places[access] = uint32_t(kept.size());
        kept.push_back(kernel_.accesses[access]);
      }
      access = places[access];
    };
    for (Instruction& instruction : kernel_.instructions)
      if (is_memory(instruction)) keep(instruction.aux);
    for (Accumulator& accumulator : kernel_.accumulators)
      if (accumulator.access != none) keep(accumulator.access);
    kernel_.accesses = std::move(kept);
  }

  void drop_depth() {
    std::erase_if(kernel_.axes, [](const Axis& axis) { return axis.role == Role::contracted; });
    for (Access& access : kernel_.accesses) access.strides.resize(kernel_.axes.size());
  }

  Kernel kernel_;
  std::vector<bool> used_;
};

/// Decides how a kernel is split, from its text.
class Splitter {
 public:
  explicit Splitter(const Kernel& kernel)
      : kernel_(kernel),
        row_(only_axis(kernel, Role::row)),
        column_(only_axis(kernel, Role::inner)) {}

  std::optional<SplitContraction> run() {
    if (!is_plain()) return {};
    choose_dtype();
    ValueId value = product();
    if (value == none) return {};
    value = take_bias(value);
    find_result(value);
    if (!is_all(value)) make_epilogue(value);
    return std::move(split_);
  }

 private:
  bool is_plain() {
    const Contraction& contraction = *kernel_.contraction;
    const Access *a = plain_load(kernel_, true), *b = plain_load(kernel_, false);
    if (!a || !b || contraction.dtype != DType::f32) return false;
    if (contraction.a_end - contraction.a_begin != 1 ||
        contraction.b_end - contraction.b_begin != 1)
      return false;
    if (row_ == none || column_ == none || only_axis(kernel_, Role::contracted) == none)
      return false;
    split_.a = a->argument, split_.b = b->argument;
    const DType dtype = stored_dtype(kernel_, true);
    if (dtype != stored_dtype(kernel_, false) || (dtype != DType::f32 && !is_half(dtype)))
      return false;
    return std::none_of(
        kernel_.instructions.begin(), kernel_.instructions.end(),
        [](const Instruction& instruction) { return instruction.op == Opcode::store_add; });
  }

  void choose_dtype() {
    const DType dtype = stored_dtype(kernel_, true);
    split_.matrix = dtype;
    for (const Argument& argument : kernel_.arguments)
      if (argument.use != Use::read && is_floating(argument.dtype) && argument.dtype != dtype)
        split_.matrix = DType::f32;
  }

  ValueId product() const {
    for (ValueId id = kernel_.contraction->b_end; id < kernel_.instructions.size(); ++id)
      if (kernel_.instructions[id].op == Opcode::product) return id;
    return none;
  }

  /// The only instruction that needs the value.
  ValueId only_user(ValueId value) const {
    ValueId user = none;
    for (const Accumulator& accumulator : kernel_.accumulators)
      if (accumulator.value == value || accumulator.predicate == value) return none;
    for (ValueId id = 0; id < kernel_.instructions.size(); ++id)
      for (ValueId operand : kernel_.instructions[id].operands) {
        if (operand != value) continue;
        if (user != none) return none;
        user = id;
      }
    return user;
  }

  bool is_bias(const Instruction& load) const {
    if (load.op != Opcode::load) return false;
    const Access& access = kernel_.accesses[load.aux];
    const Argument& argument = kernel_.arguments[access.argument];
    if (argument.use != Use::read || argument.dtype != split_.matrix) return false;
    if (access.base != none || access.offset != none || access.predicate != none) return false;
    for (uint32_t axis = 0; axis < kernel_.axes.size(); ++axis)
      if (!is_fixed_to(kernel_, access.strides[axis], axis == column_)) return false;
    return true;
  }

  ValueId take_bias(ValueId product) {
    const ValueId user = only_user(product);
    if (user == none || kernel_.instructions[user].op != Opcode::add) return product;
    const Instruction& sum = kernel_.instructions[user];
    const ValueId other = sum.operands[sum.operands[0] == product];
    if (!is_bias(kernel_.instructions[other])) return product;
    split_.bias = kernel_.accesses[kernel_.instructions[other].aux].argument;
    return user;
  }

  /// An output whose points are those of the matrix, and which nothing else looks at.
  bool is_matrix_too(const Instruction& store) const {
    const Access& access = kernel_.accesses[store.aux];
    const Argument& argument = kernel_.arguments[access.argument];
    if (argument.use != Use::write || argument.dtype != split_.matrix) return false;
    if (access.base != none || access.offset != none || access.predicate != none ||
        access.chunk_stride != none)
      return false;
    for (uint32_t axis = 0; axis < kernel_.axes.size(); ++axis)
      if (kernel_.axes[axis].role != Role::contracted && axis != column_ &&
          access.strides[axis] == none)
        return false;
    if (!is_fixed_to(kernel_, access.strides[column_], 1)) return false;
    return std::count_if(kernel_.accesses.begin(), kernel_.accesses.end(),
                         [&](const Access& one) { return one.argument == access.argument; }) == 1;
  }

  void find_result(ValueId value) {
    for (const Instruction& instruction : kernel_.instructions) {
      if (instruction.op != Opcode::store || !is_matrix_too(instruction)) continue;
      if (split_.in_place() && instruction.operands[0] != value) continue;
      split_.result = instruction.aux;
    }
  }

  /// Whether nothing is left to do.
  bool is_all(ValueId value) const {
    const ValueId user = only_user(value);
    if (user == none || !kernel_.accumulators.empty() || !split_.in_place()) return false;
    const auto stores =
        std::count_if(kernel_.instructions.begin(), kernel_.instructions.end(),
                      [](const Instruction& one) { return one.op == Opcode::store; });
    return stores == 1 && kernel_.instructions[user].op == Opcode::store &&
           kernel_.instructions[user].aux == split_.result;
  }

  void make_epilogue(ValueId value) {
    Kernel kernel = kernel_;
    std::vector<int64_t> values;
    for (const Size& size : kernel.sizes) values.push_back(size.value);
    const bool fixed = std::all_of(kernel.sizes.begin(), kernel.sizes.end(),
                                   [](const Size& size) { return size.fixed; });
    const std::vector<int64_t> all = epilogue_sizes(kernel, values.data());
    Access matrix;
    if (split_.in_place()) {
      matrix = kernel.accesses[split_.result];
    } else {
      matrix.strides.assign(kernel.axes.size(), none);
      SizeId next = SizeId(kernel.sizes.size());
      matrix.strides[column_] = next++;
      matrix.strides[row_] = kernel.axes[column_].extent;
      for (uint32_t axis = 0; axis < kernel.axes.size(); ++axis)
        if (kernel.axes[axis].role == Role::outer) matrix.strides[axis] = next++;
    }
    for (size_t i = kernel.sizes.size(); i < all.size(); ++i)
      kernel.sizes.push_back({all[i], fixed || i == values.size()});
    split_.epilogue = Epilogue(kernel, value, std::move(matrix), split_.matrix).take();
  }

  const Kernel& kernel_;
  const uint32_t row_, column_;
  SplitContraction split_;
};

/// Reads strides of a launch.
class Strides {
 public:
  Strides(const Kernel& kernel, const int64_t* sizes) : kernel_(kernel), sizes_(sizes) {}

  int64_t extent(uint32_t axis) const { return sizes_[kernel_.axes[axis].extent]; }
  int64_t along(const Access& access, uint32_t axis) const {
    return access.strides[axis] == none ? 0 : sizes_[access.strides[axis]];
  }

  /// Between matrices of a batch; nothing where it differs.
  std::optional<int64_t> batch(const Access& access) const {
    int64_t stride = 0, wanted = 0;
    bool first = true;
    for (uint32_t axis = uint32_t(kernel_.axes.size()); axis-- > 0;) {
      if (kernel_.axes[axis].role != Role::outer || extent(axis) == 1) continue;
      const int64_t own = along(access, axis);
      if (first)
        stride = own;
      else if (own != wanted)
        return {};
      first = false;
      wanted = own * extent(axis);
    }
    return stride;
  }

  /// The operand as a matrix of lines by others, or the transpose of one.
  std::optional<CublasLtMatrix> matrix(const Access& access, uint32_t line, uint32_t other) const {
    CublasLtMatrix matrix;
    matrix.transposed = along(access, other) != 1 && extent(other) != 1;
    if (matrix.transposed) std::swap(line, other);
    if (along(access, other) != 1) return {};
    matrix.leading = extent(line) == 1 ? extent(other) : along(access, line);
    const std::optional<int64_t> stride = batch(access);
    if (matrix.leading < extent(other) || !stride) return {};
    matrix.batch_stride = *stride;
    return matrix;
  }

 private:
  const Kernel& kernel_;
  const int64_t* sizes_;
};

bool is_aligned(const CublasLtMatrix& matrix, int64_t base, DType dtype) {
  const int64_t elements = alignment / int64_t(size_of(dtype));
  return matrix.leading % elements == 0 && matrix.batch_stride % elements == 0 &&
         base % elements == 0;
}

int64_t base_of(const Access& access, const int64_t* sizes) {
  return access.base == none ? 0 : sizes[access.base];
}

}  // namespace

std::optional<SplitContraction> split_contraction(const Kernel& kernel) {
  return Splitter(kernel).run();
}

std::vector<int64_t> epilogue_sizes(const Kernel& kernel, const int64_t* sizes) {
  std::vector<int64_t> all(sizes, sizes + kernel.sizes.size());
  all.push_back(1);
  int64_t stride =
      extent_product(kernel, Role::row, sizes) * extent_product(kernel, Role::inner, sizes);
  const size_t first = all.size();
  for (size_t axis = kernel.axes.size(); axis-- > 0;) {
    if (kernel.axes[axis].role != Role::outer) continue;
    all.push_back(stride);
    stride *= sizes[kernel.axes[axis].extent];
  }
  std::reverse(all.begin() + ptrdiff_t(first), all.end());
  return all;
}

std::optional<CublasLtShape> library_shape(const Kernel& kernel, const SplitContraction& split,
                                           const int64_t* sizes) {
  const uint32_t row = only_axis(kernel, Role::row), column = only_axis(kernel, Role::inner);
  const uint32_t depth = only_axis(kernel, Role::contracted);
  const Access& a = *plain_load(kernel, true);
  const Access& b = *plain_load(kernel, false);
  const Strides strides(kernel, sizes);
  CublasLtShape shape;
  shape.batch = extent_product(kernel, Role::outer, sizes);
  shape.m = strides.extent(row), shape.n = strides.extent(column), shape.k = strides.extent(depth);
  shape.dtype = stored_dtype(kernel, true), shape.result = split.matrix;
  shape.rounds =
      shape.dtype == DType::f32 && kernel.contraction->precision != MatmulPrecision::highest;
  shape.bias = split.bias != none;
  if (shape.flops() == 0) return {};
  const auto of_a = strides.matrix(a, row, depth), of_b = strides.matrix(b, depth, column);
  if (!of_a || !of_b) return {};
  shape.a = *of_a, shape.b = *of_b;
  shape.c = {shape.n, shape.m * shape.n, false};
  if (split.in_place()) {
    const auto of_c = strides.matrix(kernel.accesses[split.result], row, column);
    if (!of_c || of_c->transposed) return {};
    shape.c = *of_c;
  }
  if (shape.batch == 1) shape.a.batch_stride = shape.b.batch_stride = shape.c.batch_stride = 0;
  if (!is_aligned(shape.a, base_of(a, sizes), shape.dtype) ||
      !is_aligned(shape.b, base_of(b, sizes), shape.dtype) || !is_aligned(shape.c, 0, shape.result))
    return {};
  return shape;
}

int64_t extent_of(const CublasLtMatrix& matrix, int64_t batch, int64_t rows, int64_t columns) {
  if (matrix.transposed) std::swap(rows, columns);
  return (batch - 1) * matrix.batch_stride + (rows - 1) * matrix.leading + columns;
}

}  // namespace encore::jit::cuda
