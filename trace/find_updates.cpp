#include <encore/trace/find_updates.h>

namespace encore::trace {
namespace {

bool accumulates(const Graph& graph, const GraphNode& node) {
  if (node.op != OpId::add) return false;
  for (NodeId input : node.inputs)
    if (graph.nodes[input].family() == OpFamily::elementwise) return false;
  return true;
}

/// By node: whether it loads from a donated leaf.
std::vector<bool> find_readers(const Graph& graph, const std::vector<bool>& inlined) {
  std::vector<bool> reads(graph.nodes.size());
  for (NodeId id = 0; id < graph.nodes.size(); ++id)
    for (NodeId input : graph.nodes[id].inputs) {
      const GraphNode& from = graph.nodes[input];
      bool donated = from.op == OpId::leaf && graph.donated[from.slot];
      if (donated || (inlined[input] && reads[input])) reads[id] = true;
    }
  return reads;
}

}  // namespace

std::vector<bool> find_updates(const Graph& graph, const std::vector<bool>& inlined) {
  std::vector<bool> reads_donated = find_readers(graph, inlined), is_update(graph.nodes.size());
  std::vector<bool> has_users(graph.nodes.size()), has_others(graph.nodes.size());
  for (NodeId output : graph.outputs) has_others[output] = true;
  for (NodeId id = NodeId(graph.nodes.size()); id-- > 0;) {
    const GraphNode& node = graph.nodes[id];
    bool only_updates = has_users[id] && !has_others[id];
    if (node.family() == OpFamily::elementwise && !accumulates(graph, node))
      is_update[id] = reads_donated[id] || only_updates;
    bool passes = inlined[id] ? only_updates : is_update[id];
    for (NodeId input : node.inputs) {
      has_users[input] = true;
      if (!passes) has_others[input] = true;
    }
  }
  return is_update;
}

}  // namespace encore::trace
