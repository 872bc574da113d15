// What a profile says of each launch: the user's lines and name scopes in it, the least bytes that
// it has to move.
#pragma once
#include <encore/trace/lower.h>

#include <vector>

namespace encore::trace {

/// One label a launch; `launch_of`: by kernel of `trace`, which was lowered from the others.
jit::Labels label_launches(const Graph& graph, const Fusion& fusion, const LoweredTrace& trace,
                           const std::vector<uint32_t>& launch_of);

}  // namespace encore::trace
