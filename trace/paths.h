// How a node sees what it reads: through movements, back to the nodes that hold values.
#pragma once
#include <encore/trace/fuse.h>

namespace encore::trace {

/// One value that a node depends on. `aligned`: the source's dim d always has the index that the
/// reader has on its dim `dim_of[d]` (-1: index 0, an extent of 1).
struct Path {
  NodeId source;
  bool aligned;
  AxisMap dim_of;
};

/// The shape whose points a node computes: its own, or for a reduction its input's.
const Shape& domain_of(const Graph& graph, NodeId id);

/// The sources of `id` that are not in `inlined`; dims refer to `domain_of(id)`.
void collect_paths(const Graph& graph, NodeId id, const std::vector<bool>& inlined,
                   std::vector<Path>& paths);

}  // namespace encore::trace
