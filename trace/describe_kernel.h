// Figures of one kernel, for people.
#pragma once
#include <encore/jit/kernel.h>

#include <vector>

namespace encore::trace {

/// By argument: the fewest bytes that have to be moved, each element once (twice where it is
/// updated). Where an index is computed, every point counts once, up to the buffer's bytes.
std::vector<int64_t> fewest_bytes(const jit::Kernel& kernel,
                                  const std::vector<int64_t>& buffer_bytes);

/// Floating-point operations of the contraction, 2 for each product added; 0 where there is none.
int64_t contraction_flops(const jit::Kernel& kernel);

}  // namespace encore::trace
