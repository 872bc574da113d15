// Rewrites a graph into a smaller one with the same values, bit for bit.
//
// One pass in node order: equal nodes become one (value numbering; draws of random numbers are
// equal only when their seed and draw slots are the same), movements of movements compose,
// the transpose of a product is a product of transposes,
// operations with a neutral literal vanish (only where exact for NaN, ±0 and ±inf), and reductions
// over both trailing and other axes split into a trailing and an outer one, which the fuser can put
// into one kernel. Nodes that no output needs are dropped. Locations: the first of equal nodes
// wins.
#pragma once
#include <encore/trace/graph.h>

namespace encore::trace {

/// `became`, where given: by node of `graph`, the node that stands for it; ~0: none is needed.
Graph simplify(const Graph& graph, std::vector<NodeId>* became = nullptr);

}  // namespace encore::trace
