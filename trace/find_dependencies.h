// Which launches of a program must wait for which, so that a device may run others side by side.
//
// A launch waits for an earlier one where they use the same memory and one of them writes it: the
// memory plan lets buffers follow each other in one place, so places count, not buffers.
#pragma once
#include <encore/trace/plan_memory.h>

#include <cstdint>
#include <vector>

namespace encore::trace {

/// `launch_of`: by kernel, ascending and gapless. What an awaited launch waits for itself is left
/// out where one look shows it.
jit::Dependencies find_dependencies(const LoweredTrace& trace,
                                    const std::vector<uint32_t>& launch_of, const MemoryPlan& plan);

}  // namespace encore::trace
