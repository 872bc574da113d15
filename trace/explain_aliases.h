// Which memory is used again and which is not: of every input whether an output took it over, of
// every output whether it stands in an input, and why not.
#pragma once
#include <encore/trace/capture.h>
#include <encore/trace/plan_memory.h>

#include <string>

namespace encore::trace {

/// One line a leaf, then one an output. `capture` is the latest, and the plan is its own.
std::string explain_aliases(const Graph& graph, const LoweredTrace& lowered,
                            const LaunchOrder& order, const MemoryPlan& plan,
                            const Capture& capture);

}  // namespace encore::trace
