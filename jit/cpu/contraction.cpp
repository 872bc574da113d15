#include <encore/jit/cpu/contraction.h>
#include <encore/jit/cpu/contraction_blocks.h>
#include <encore/jit/cpu/parallel.h>
#include <encore/jit/cpu/traits.h>
#include <fmt/format.h>

#include <algorithm>

namespace encore::jit {
namespace {

// Products of fewer cycles stay on one thread: handing over a part takes some two thousand.
constexpr double least_cycles_to_split = 18000;

const Instruction* find_instruction(const Kernel& kernel, ValueId id) {
  return id < kernel.instructions.size() ? &kernel.instructions[id] : nullptr;
}

// The access of an operand that is one affine load of the contraction's dtype, otherwise null.
const Access* plain_load(const Kernel& kernel, ValueId value) {
  const Instruction* load = find_instruction(kernel, value);
  if (!load || load->op != Opcode::load || load->dtype != kernel.contraction->dtype) return nullptr;
  const Access& access = kernel.accesses[load->aux];
  const bool affine = access.offset == none && access.predicate == none;
  return affine && kernel.arguments[access.argument].dtype == load->dtype ? &access : nullptr;
}

// The access of an epilogue that only stores the product as it is, otherwise null.
const Access* plain_store(const Kernel& kernel) {
  if (!kernel.accumulators.empty()) return nullptr;
  const Access* found = nullptr;
  for (const Stage& stage : kernel.stages) {
    for (uint32_t i = stage.begin; i < stage.end; ++i) {
      const Instruction& instruction = kernel.instructions[i];
      if (stage.kind == StageKind::sweep && instruction.op == Opcode::product) continue;
      if (stage.kind != StageKind::sweep || instruction.op != Opcode::store || found)
        return nullptr;
      const Instruction* stored = find_instruction(kernel, instruction.operands[0]);
      const Access& access = kernel.accesses[instruction.aux];
      if (!stored || stored->op != Opcode::product || access.offset != none ||
          access.predicate != none ||
          kernel.arguments[access.argument].dtype != kernel.contraction->dtype)
        return nullptr;
      found = &access;
    }
  }
  return found;
}

int64_t count_column_accumulators(const Kernel& kernel) {
  return std::count_if(kernel.accumulators.begin(), kernel.accumulators.end(),
                       [](const Accumulator& a) { return a.column; });
}

Steps steps_of(const Kernel& kernel, const Access& access, Role role, const int64_t* sizes,
               int64_t element) {
  Steps steps;
  for (size_t i = 0; i < kernel.axes.size(); ++i) {
    if (kernel.axes[i].role != role) continue;
    const SizeId stride = i < access.strides.size() ? access.strides[i] : none;
    steps.append(sizes[kernel.axes[i].extent], stride == none ? 0 : sizes[stride] * element);
  }
  return steps;
}

std::byte* base_of(const Access& access, const Segment& segment, int64_t element) {
  auto* base = static_cast<std::byte*>(segment.arguments[access.argument]);
  return base + (access.base == none ? 0 : segment.sizes[access.base] * element);
}

void describe(Operand& operand, const Kernel& kernel, const Segment& segment, ValueId value,
              Role lines, const OperandEvaluator& evaluator) {
  operand.element = int64_t(size_of(kernel.contraction->dtype));
  operand.segment = &segment;
  const Access* access = plain_load(kernel, value);
  if (!access) {
    operand.evaluator = evaluator;
    return;
  }
  operand.base = base_of(*access, segment, operand.element);
  const int64_t* sizes = segment.sizes;
  operand.outer = steps_of(kernel, *access, Role::outer, sizes, operand.element);
  operand.lines = steps_of(kernel, *access, lines, sizes, operand.element);
  operand.depth = steps_of(kernel, *access, Role::contracted, sizes, operand.element);
}

void describe(Sink& sink, const Kernel& kernel, const ContractionCode& code,
              const Segment& segment) {
  const int64_t* sizes = segment.sizes;
  if (const Access* store = plain_store(kernel)) {
    const auto element = int64_t(size_of(kernel.contraction->dtype));
    sink.base = base_of(*store, segment, element);
    sink.outer = steps_of(kernel, *store, Role::outer, sizes, element);
    sink.rows = steps_of(kernel, *store, Role::row, sizes, element);
    sink.columns = steps_of(kernel, *store, Role::inner, sizes, element);
    return;
  }
  sink.finish = code.finish;
  sink.segment = &segment;
  sink.column_accumulators = count_column_accumulators(kernel);
  if (sink.column_accumulators) sink.rows_per_chunk = sizes[kernel.rows_per_chunk];
}

int most_axes_of_a_role(const Kernel& kernel) {
  int most = 0;
  for (const Axis& axis : kernel.axes)
    most = std::max(most, int(std::count_if(kernel.axes.begin(), kernel.axes.end(),
                                            [&](const Axis& a) { return a.role == axis.role; })));
  return most;
}

// One column: the rows take its place, so that vectors run along them.
void lay_column_flat(Product& product) {
  std::swap(product.a, product.b);
  std::swap(product.rows, product.columns);
  std::swap(product.sink.rows, product.sink.columns);
}

Product product_of(const Kernel& kernel, const ContractionCode& code, Isa isa,
                   const Segment& segment) {
  Product product;
  product.isa = isa;
  product.dtype = kernel.contraction->dtype;
  product.outers = extent_product(kernel, Role::outer, segment.sizes);
  product.rows = extent_product(kernel, Role::row, segment.sizes);
  product.columns = extent_product(kernel, Role::inner, segment.sizes);
  product.depth = extent_product(kernel, Role::contracted, segment.sizes);
  if (product.outers == 0) return product;
  const Contraction& contraction = *kernel.contraction;
  describe(product.a, kernel, segment, contraction.a, Role::row, code.a);
  describe(product.b, kernel, segment, contraction.b, Role::inner, code.b);
  describe(product.sink, kernel, code, segment);
  if (product.columns == 1 && product.rows > 1 && product.sink.base) lay_column_flat(product);
  return product;
}

Plan plan_of(const Product& product) {
  const bool splits = estimated_cycles(product) >= least_cycles_to_split;
  return plan_product(product, splits ? thread_count() : 1);
}

}  // namespace

ContractionNeeds contraction_needs(const Kernel& kernel) {
  ContractionNeeds needs;
  if (!kernel.contraction || most_axes_of_a_role(kernel) > Steps::max_axes) return needs;
  const Contraction& contraction = *kernel.contraction;
  if (contraction.dtype != DType::f32 && contraction.dtype != DType::f64) return needs;
  for (const Accumulator& a : kernel.accumulators)
    if (!a.column) return needs;
  for (const Instruction& instruction : kernel.instructions)
    if (instruction.op == Opcode::store_add) return needs;
  needs.blocked = true;
  needs.finisher = !plain_store(kernel);
  needs.a = !plain_load(kernel, contraction.a);
  needs.b = !plain_load(kernel, contraction.b);
  return needs;
}

std::string micro_kernel_of(const Kernel& kernel, Isa isa) {
  // Planning looks at sizes and at how operands come, and never through a pointer.
  alignas(64) static std::byte nowhere[64];
  std::vector<void*> arguments(kernel.arguments.size(), nowhere);
  std::vector<int64_t> sizes;
  for (const Size& size : kernel.sizes) sizes.push_back(size.value);
  const Segment segment{arguments.data(), sizes.data(), nullptr};
  const ContractionNeeds needs = contraction_needs(kernel);
  ContractionCode code;
  if (needs.finisher) code.finish = [](auto...) {};
  if (needs.a) code.a = {[](auto...) {}, operand_runs_along_depth(kernel, true)};
  if (needs.b) code.b = {[](auto...) {}, operand_runs_along_depth(kernel, false)};
  const Product product = product_of(kernel, code, isa, segment);
  if (product.outers == 0 || product.rows == 0 || product.columns == 0) return {};
  const MicroTile tile = main_tile(product, plan_of(product));
  return fmt::format("; {}: {} rows of {} vectors, without packing and edges\n{}", name_of(tile),
                     tile.rows, tile.vectors, assembly_of(tile));
}

void run_contraction(const Kernel& kernel, const ContractionCode& code, Isa isa,
                     const Segment& segment, LatestPlan& latest) {
  const Product product = product_of(kernel, code, isa, segment);
  if (product.outers == 0) return;
  if (product.rows == 0 || product.columns == 0) return finish_empty(product);
  const Plan plan = latest.find(kernel, segment.sizes, [&] { return plan_of(product); });
  auto run = [&](int64_t begin, int64_t end) {
    for (int64_t unit = begin; unit < end; ++unit) run_unit(product, plan, unit);
  };
  const int64_t units = unit_count(product, plan);
  plan.threads > 1 ? parallel_for(units, run) : run(0, units);
}

}  // namespace encore::jit
