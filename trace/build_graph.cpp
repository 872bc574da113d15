#include <encore/trace/capture.h>

#include <unordered_map>

namespace encore::trace {
namespace {

/// The number among `node`'s operands as a node of the graph.
GraphNode graph_number(const Node* node) {
  return {.op = node->number() == Number::literal ? OpId::literal : OpId::scalar,
          .dtype = node->number_dtype,
          .bits = node->bits,
          .location = node->location,
          .scope = node->scope};
}

/// Numbers what it is given in record order, sources where they are first used.
class GraphBuilder {
 public:
  explicit GraphBuilder(const Capture& capture) {
    for (uint32_t i = 0; i < capture.leaves.size(); ++i) slots_[capture.leaves[i]] = i;
    for (uint32_t i = 0; i < capture.scalars.size(); ++i) slots_[capture.scalars[i].node] = i;
    for (Node* node : capture.nodes) {
      node->trace_position = not_numbered;
      for (Node* input : node->input_span()) input->trace_position = not_numbered;
    }
    for (Node* node : capture.outputs) node->trace_position = not_numbered;
    for (size_t i = capture.nodes.size(); i-- > 0;) add(capture.nodes[i]);
    for (Node* node : capture.outputs) graph.outputs.push_back(number(node));
  }

  Graph graph;

 private:
  NodeId append(GraphNode node) {
    graph.nodes.push_back(std::move(node));
    return NodeId(graph.nodes.size()) - 1;
  }

  NodeId number(Node* node) {
    if (node->trace_position == not_numbered) add_source(node);
    return node->trace_position;
  }

  GraphNode copy(const Node* node, OpId op) {
    return {.op = op,
            .dtype = node->dtype,
            .shape = node->shape,
            .bits = node->bits,
            .location = node->location,
            .scope = node->scope};
  }

  void add_source(Node* node) {
    GraphNode to = copy(node, node->materialized() ? OpId::leaf : node->op);
    if (to.op == OpId::leaf || to.op == OpId::scalar) to.slot = slots_.at(node);
    if (to.op == OpId::iota) to.attributes = node->attributes;
    node->trace_position = append(std::move(to));
  }

  void add(Node* node) {
    if (is_identity(node)) {
      node->trace_position = number(node->inputs[0]);
      return;
    }
    GraphNode to = copy(node, node->op);
    to.attributes = node->attributes;
    for (uint32_t place = 0; place < node->operand_count(); ++place) {
      if (Node* input = node->operand(place)) {
        to.inputs.push_back(number(input));
        continue;
      }
      GraphNode operand = graph_number(node);
      if (operand.op == OpId::scalar) operand.slot = slots_.at(node);
      to.inputs.push_back(append(std::move(operand)));
    }
    node->trace_position = append(std::move(to));
  }

  std::unordered_map<const Node*, uint32_t> slots_;  // of leaves and scalars
};

}  // namespace

Graph build_graph(const Capture& capture) {
  Graph graph = GraphBuilder(capture).graph;
  graph.leaf_count = uint32_t(capture.leaves.size());
  graph.scalar_count = uint32_t(capture.scalars.size());
  graph.donated.assign(capture.donated.begin(), capture.donated.end());
  graph.device = capture.device;
  return graph;
}

}  // namespace encore::trace
