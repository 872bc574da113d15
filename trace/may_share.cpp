#include <encore/trace/may_share.h>

namespace encore::trace {
namespace {

using jit::Access;
using jit::Kernel;
using jit::none;

bool same_map(const Kernel& kernel, const Access& a, const Access& b) {
  if (a.offset != none || b.offset != none || kernel.size(a.base) != kernel.size(b.base))
    return false;
  if (a.predicate != none || b.predicate != none || a.strides.size() != b.strides.size())
    return false;
  for (size_t axis = 0; axis < a.strides.size(); ++axis)
    if (kernel.size(a.strides[axis]) != kernel.size(b.strides[axis])) return false;
  return true;
}

/// Whether each point of the kernel has an element of its own: on no axis is one visited again.
bool visits_once(const Kernel& kernel, const Access& access) {
  for (size_t axis = 0; axis < kernel.axes.size(); ++axis) {
    bool repeats = axis >= access.strides.size() || kernel.size(access.strides[axis]) == 0;
    if (repeats && kernel.axes[axis].role != jit::Role::contracted &&
        kernel.size(kernel.axes[axis].extent) != 1)
      return false;
  }
  return true;
}

}  // namespace

bool may_share(const Kernel& kernel, uint32_t reads, uint32_t writes) {
  if (kernel.arguments[reads].dtype != kernel.arguments[writes].dtype) return false;
  const Access* target = nullptr;
  uint32_t store_at = 0;
  for (uint32_t i = 0; i < kernel.instructions.size(); ++i) {
    const jit::Instruction& instruction = kernel.instructions[i];
    if (instruction.op != Opcode::store || kernel.accesses[instruction.aux].argument != writes)
      continue;
    if (target) return false;
    target = &kernel.accesses[instruction.aux];
    store_at = i;
  }
  if (!target || !visits_once(kernel, *target)) return false;
  for (uint32_t i = 0; i < kernel.instructions.size(); ++i) {
    const jit::Instruction& instruction = kernel.instructions[i];
    if (instruction.op != Opcode::load || kernel.accesses[instruction.aux].argument != reads)
      continue;
    bool in_operand =
        kernel.contraction && i < kernel.contraction->b_end && i >= kernel.contraction->a_begin;
    if (in_operand || i > store_at || !same_map(kernel, kernel.accesses[instruction.aux], *target))
      return false;
  }
  return true;
}

}  // namespace encore::trace
