// Whether a kernel's result may stand in the memory of one of its inputs.
#pragma once
#include <encore/jit/kernel.h>

namespace encore::trace {

/// Whether arguments `reads` and `writes` of a kernel may be the same memory: one store, which
/// visits each element once, and before it, outside contraction operands and accumulators' stores,
/// only loads by the same map.
bool may_share(const jit::Kernel& kernel, uint32_t reads, uint32_t writes);

}  // namespace encore::trace
