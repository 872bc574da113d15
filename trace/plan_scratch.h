// Memory that launches want beside their arguments, such as a library's workspace: placed where the
// program has room at that time.
//
// Each launch gets what it is fastest with, and where possible not in the memory of the launches
// just before and after it, so that they can still run side by side; but no more than makes the
// program a 25th larger. A launch that would, gets what it needs at least.
#pragma once
#include <encore/trace/plan_memory.h>

#include <memory>
#include <span>

namespace encore::trace {

/// `code`: by launch. Adds buffers to `trace` and `order` and plans anew, unless no code wants any.
void plan_scratch(std::span<const std::shared_ptr<const jit::Executable>> code,
                  const std::vector<bool>& donated, LoweredTrace& trace, LaunchOrder& order,
                  MemoryPlan& plan);

}  // namespace encore::trace
