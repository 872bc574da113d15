#include <encore/trace/collapse_axes.h>

#include <algorithm>

namespace encore::trace {
namespace {

using jit::Kernel;
using jit::none;
using jit::Role;

bool is_single_sweep(const Kernel& kernel) {
  if (!kernel.accumulators.empty() || kernel.contraction) return false;
  for (const jit::Stage& stage : kernel.stages)
    if (stage.kind == jit::StageKind::row) return false;
  return std::none_of(kernel.instructions.begin(), kernel.instructions.end(),
                      [](const jit::Instruction& i) { return i.op == Opcode::store_add; });
}

bool is_position_used(const Kernel& kernel, uint32_t axis) {
  return std::any_of(kernel.instructions.begin(), kernel.instructions.end(),
                     [&](const jit::Instruction& i) {
                       return i.op == Opcode::index && (i.aux == axis || i.aux == axis + 1);
                     });
}

bool walk_as_one(const Kernel& kernel, uint32_t axis) {
  int64_t extent = kernel.size(kernel.axes[axis + 1].extent);
  for (const jit::Access& access : kernel.accesses)
    if (kernel.size(access.strides[axis]) != kernel.size(access.strides[axis + 1]) * extent)
      return false;
  return true;
}

bool may_merge(const Kernel& kernel, uint32_t axis, bool strict) {
  Role role = kernel.axes[axis].role, next = kernel.axes[axis + 1].role;
  if (role == Role::contracted || next == Role::contracted) return false;
  if (kernel.contraction) return false;
  if (role != next && !(role == Role::outer && next == Role::inner && is_single_sweep(kernel)))
    return false;
  if (strict && role == Role::inner && !kernel.accumulators.empty()) return false;
  return !is_position_used(kernel, axis) && walk_as_one(kernel, axis);
}

void merge(Kernel& kernel, uint32_t axis) {
  int64_t extent =
      kernel.size(kernel.axes[axis].extent) * kernel.size(kernel.axes[axis + 1].extent);
  kernel.sizes.push_back({extent, true});
  kernel.axes[axis + 1].extent = jit::SizeId(kernel.sizes.size()) - 1;
  kernel.axes.erase(kernel.axes.begin() + axis);
  for (jit::Access& access : kernel.accesses) access.strides.erase(access.strides.begin() + axis);
  for (jit::Instruction& instruction : kernel.instructions)
    if (instruction.op == Opcode::index && instruction.aux > axis) --instruction.aux;
}

}  // namespace

void collapse_axes(Kernel& kernel, bool strict) {
  for (uint32_t axis = uint32_t(kernel.axes.size()); axis-- > 1;)
    if (may_merge(kernel, axis - 1, strict)) merge(kernel, axis - 1);
}

}  // namespace encore::trace
