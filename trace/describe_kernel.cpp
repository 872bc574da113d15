#include <encore/trace/describe_kernel.h>

#include <algorithm>

namespace encore::trace {
namespace {

using jit::Access;
using jit::Kernel;

/// Elements that an access reaches: the extents of all axes that it walks along.
int64_t reached(const Kernel& kernel, const Access& access) {
  int64_t count = 1;
  for (size_t axis = 0; axis < kernel.axes.size(); ++axis) {
    bool walks = access.offset != jit::none ||
                 (axis < access.strides.size() && kernel.size(access.strides[axis]) != 0);
    if (walks) count *= kernel.size(kernel.axes[axis].extent);
  }
  if (access.chunk_stride != jit::none) {
    std::vector<int64_t> sizes;
    for (const jit::Size& size : kernel.sizes) sizes.push_back(size.value);
    count *= jit::chunk_count(kernel, sizes.data());
  }
  return count;
}

std::vector<uint32_t> used_accesses(const Kernel& kernel) {
  std::vector<uint32_t> used;
  for (const jit::Instruction& one : kernel.instructions)
    if (one.op == Opcode::load || one.op == Opcode::store || one.op == Opcode::store_add)
      used.push_back(one.aux);
  for (const jit::Accumulator& one : kernel.accumulators)
    if (one.column) used.push_back(one.access);
  return used;
}

}  // namespace

std::vector<int64_t> fewest_bytes(const Kernel& kernel, const std::vector<int64_t>& buffer_bytes) {
  std::vector<int64_t> bytes(kernel.arguments.size());
  for (uint32_t number : used_accesses(kernel)) {
    const Access& access = kernel.accesses[number];
    const jit::Argument& argument = kernel.arguments[access.argument];
    int64_t once = std::min(reached(kernel, access) * int64_t(size_of(argument.dtype)),
                            buffer_bytes[access.argument]);
    int64_t times = argument.use == jit::Use::update ? 2 : 1;
    bytes[access.argument] = std::max(bytes[access.argument], once * times);
  }
  return bytes;
}

int64_t contraction_flops(const Kernel& kernel) {
  if (!kernel.contraction) return 0;
  int64_t products = 1;
  for (const jit::Axis& axis : kernel.axes) products *= kernel.size(axis.extent);
  return 2 * products;
}

}  // namespace encore::trace
