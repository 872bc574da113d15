// Which nodes get no memory and no cluster of their own.
#pragma once
#include <encore/trace/graph.h>

namespace encore::trace {

/// Inlined are movements that no output asks for, and, where fusing is on, cheap elementwise
/// expressions of given nodes whose loads are no larger than their result (so that recomputing them
/// in every user costs no more than loading them), or of one value of their shape that a
/// contraction needs in memory: relu's mask takes none of its own. Chains of inlined nodes are
/// bounded, and so is how many stored values a node reads through them.
std::vector<bool> choose_inlined(const Graph& graph, bool fusing);

/// Instructions that the op of a node lowers to.
uint32_t instruction_count(const GraphNode& node);

}  // namespace encore::trace
