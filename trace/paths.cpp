#include <encore/trace/paths.h>

namespace encore::trace {
namespace {

AxisMap nowhere() {
  AxisMap map;
  map.fill(-1);
  return map;
}

/// Right-aligned broadcasting of `inner` into `outer`, on top of `outer`'s own map.
AxisMap through_broadcast(const Shape& inner, const Shape& outer, const AxisMap& outer_map) {
  AxisMap map = nowhere();
  int shift = outer.rank() - inner.rank();
  for (int dim = 0; dim < inner.rank(); ++dim)
    if (inner[dim] != 1) map[dim] = outer_map[dim + shift];
  return map;
}

/// Whether two shapes differ only in extents of 1; then fills the map of `from`'s dims.
bool through_squeeze(const Shape& from, const Shape& to, const AxisMap& to_map, AxisMap& map) {
  map = nowhere();
  int place = 0;
  for (int dim = 0; dim < from.rank(); ++dim) {
    if (from[dim] == 1) continue;
    while (place < to.rank() && to[place] == 1) ++place;
    if (place == to.rank() || to[place] != from[dim]) return false;
    map[dim] = to_map[place++];
  }
  while (place < to.rank() && to[place] == 1) ++place;
  return place == to.rank();
}

class Walk {
 public:
  Walk(const Graph& graph, const std::vector<bool>& inlined, std::vector<Path>& paths)
      : graph_(graph), inlined_(inlined), paths_(paths) {}

  void node(NodeId id, bool aligned, const AxisMap& map) {
    if (inlined_[id])
      inputs(id, aligned, map);
    else
      paths_.push_back({id, aligned, map});
  }

  /// The inputs of `id`, whose own dims map by `map`.
  void inputs(NodeId id, bool aligned, const AxisMap& map) {
    const GraphNode& node_ = graph_.nodes[id];
    const Shape& shape = domain_of(graph_, id);
    switch (node_.op) {
      case OpId::permute: {
        AxisMap inner = nowhere();
        for (int dim = 0; dim < shape.rank(); ++dim) inner[node_.attributes[dim]] = map[dim];
        return node(node_.inputs[0], aligned, inner);
      }
      case OpId::reshape: {
        AxisMap inner;
        bool squeeze = through_squeeze(graph_.nodes[node_.inputs[0]].shape, shape, map, inner);
        return node(node_.inputs[0], aligned && squeeze, inner);
      }
      case OpId::slice:
      case OpId::pad:
      case OpId::concat:
      case OpId::matmul:
      case OpId::index_add:
      case OpId::scatter_add:
        for (NodeId input : node_.inputs) node(input, false, map);
        return;
      case OpId::take: {
        node(node_.inputs[0], false, map);
        AxisMap inner = nowhere();
        const Shape& index = graph_.nodes[node_.inputs[1]].shape;
        for (int dim = 0; dim < index.rank(); ++dim)
          if (index[dim] != 1) inner[dim] = map[dim + node_.attributes[0]];
        return node(node_.inputs[1], aligned, inner);
      }
      case OpId::take_along:
        node(node_.inputs[0], false, map);
        return node(node_.inputs[1], aligned, map);
      default:
        for (NodeId input : node_.inputs)
          node(input, aligned, through_broadcast(graph_.nodes[input].shape, shape, map));
    }
  }

 private:
  const Graph& graph_;
  const std::vector<bool>& inlined_;
  std::vector<Path>& paths_;
};

}  // namespace

const Shape& domain_of(const Graph& graph, NodeId id) {
  const GraphNode& node = graph.nodes[id];
  return node.family() == OpFamily::reduction ? graph.nodes[node.inputs[0]].shape : node.shape;
}

void collect_paths(const Graph& graph, NodeId id, const std::vector<bool>& inlined,
                   std::vector<Path>& paths) {
  AxisMap own = nowhere();
  const Shape& shape = domain_of(graph, id);
  for (int dim = 0; dim < shape.rank(); ++dim)
    if (shape[dim] != 1) own[dim] = int8_t(dim);
  Walk(graph, inlined, paths).inputs(id, true, own);
}

}  // namespace encore::trace
