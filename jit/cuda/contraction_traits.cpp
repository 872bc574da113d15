#include <encore/jit/cuda/contraction_traits.h>
#include <encore/jit/cuda/contraction_wgmma.h>

#include <algorithm>

namespace encore::jit::cuda {
namespace {

int64_t last_stride(const Kernel& kernel, const Access& access, Role role) {
  for (size_t axis = kernel.axes.size(); axis-- > 0;)
    if (kernel.axes[axis].role == role && kernel.size(kernel.axes[axis].extent) != 1) {
      const SizeId stride = access.strides[axis];
      return stride != none && kernel.sizes[stride].fixed ? kernel.sizes[stride].value : 0;
    }
  return 0;
}

uint32_t tile_bytes(const Kernel& kernel, const ContractionPlan& plan, bool a) {
  const uint32_t lines = a ? plan.rows : plan.columns;
  const uint32_t element = uint32_t(size_of(element_dtype(kernel, plan)));
  if (plan.multiplier == Multiplier::fma)
    return plan.depths * (lines + std::min(4u, 16 / element)) * element;
  return runs_along_depth(kernel, a) ? lines * (plan.depths * element + 16)
                                     : plan.depths * (lines + 8) * element;
}

/// Whether all points of a role lie along its last axis, side by side in memory.
bool is_dense(const Kernel& kernel, const Access& access, Role role) {
  for (size_t axis = 0; axis + 1 < kernel.axes.size(); ++axis)
    if (kernel.axes[axis].role == role && kernel.axes[axis + 1].role == role &&
        kernel.size(kernel.axes[axis].extent) != 1)
      return false;
  return last_stride(kernel, access, role) == 1;
}

}  // namespace

const Access* plain_load(const Kernel& kernel, bool a) {
  const ValueId id = a ? kernel.contraction->a : kernel.contraction->b;
  const Instruction& load = kernel.instructions[id];
  if (load.op != Opcode::load) return nullptr;
  const Access& access = kernel.accesses[load.aux];
  return access.offset == none && access.predicate == none ? &access : nullptr;
}

DType stored_dtype(const Kernel& kernel, bool a) {
  const Instruction& value = kernel.instructions[a ? kernel.contraction->a : kernel.contraction->b];
  if (value.op != Opcode::load) return kernel.contraction->dtype;
  return kernel.arguments[kernel.accesses[value.aux].argument].dtype;
}

DType element_dtype(const Kernel& kernel, const ContractionPlan& plan) {
  if (plan.multiplier == Multiplier::bf16) return DType::bf16;
  if (plan.multiplier == Multiplier::f16) return DType::f16;
  return kernel.contraction->dtype;
}

bool is_copied(const Kernel& kernel, const ContractionPlan& plan, bool a) {
  const Access* access = plain_load(kernel, a);
  const DType element = element_dtype(kernel, plan);
  if (!access || stored_dtype(kernel, a) != element) return false;
  const bool along_depth = runs_along_depth(kernel, a);
  if (plan.multiplier == Multiplier::fma && (along_depth || size_of(element) < 4)) return false;
  return is_dense(kernel, *access, along_depth ? Role::contracted : a ? Role::row : Role::inner);
}

bool runs_along_depth(const Kernel& kernel, bool a) {
  const Contraction& contraction = *kernel.contraction;
  const uint32_t begin = a ? contraction.a_begin : contraction.b_begin;
  const uint32_t end = a ? contraction.a_end : contraction.b_end;
  int votes = 0;
  for (uint32_t i = begin; i < end; ++i) {
    if (kernel.instructions[i].op != Opcode::load) continue;
    const Access& access = kernel.accesses[kernel.instructions[i].aux];
    votes += last_stride(kernel, access, Role::contracted) == 1;
    votes -= last_stride(kernel, access, a ? Role::row : Role::inner) == 1;
  }
  return votes > 0;
}

uint32_t product_pitch(const ContractionPlan& plan) { return plan.columns + 8u; }

uint32_t shared_bytes(const Kernel& kernel, const ContractionPlan& plan) {
  if (plan.boxed) return boxed_shared_bytes(kernel, plan);
  const uint32_t value = uint32_t(size_of(kernel.contraction->dtype));
  const uint32_t tiles = tile_bytes(kernel, plan, true) + tile_bytes(kernel, plan, false);
  const uint32_t totals = kernel.accumulators.empty() ? 0 : plan.threads() * 8;
  return std::max({plan.stages * tiles, plan.rows * product_pitch(plan) * value, totals});
}

bool adds_rows_in_order(const Kernel& kernel, const Target& target) {
  return target.strict && std::any_of(kernel.accumulators.begin(), kernel.accumulators.end(),
                                      [](const auto& a) { return is_floating(a.dtype); });
}

}  // namespace encore::jit::cuda
