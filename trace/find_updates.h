// Which nodes are there only to overwrite donated leaves: an optimizer's arithmetic.
#pragma once
#include <encore/trace/graph.h>

namespace encore::trace {

/// By node: elementwise nodes that read a donated leaf, themselves or through inlined ones, and
/// those that nothing but such nodes use. Adding a product to a leaf is none: that is accumulating.
std::vector<bool> find_updates(const Graph& graph, const std::vector<bool>& inlined);

}  // namespace encore::trace
