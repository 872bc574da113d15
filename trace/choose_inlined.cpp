#include <encore/trace/choose_inlined.h>

#include <algorithm>
#include <map>
#include <mutex>

namespace encore::trace {
namespace {

constexpr int longest_chain = 24;
constexpr uint32_t cheap_instructions = 6;
/// Places that one node may read: what is joined out of many is stored, or kernels would not end.
constexpr uint32_t most_places = 48;

/// Counts what a row's lowering emits.
class Counter final : public Builder {
 public:
  Value emit(Opcode, DType dtype, std::initializer_list<Value>, uint32_t, uint64_t) override {
    return {count_++, dtype};
  }
  uint32_t count() const { return count_; }

 private:
  uint32_t count_ = 0;
};

uint32_t count_elementwise(OpId op, DType dtype) {
  static auto& mutex = *new std::mutex;
  static auto& known = *new std::map<std::pair<OpId, DType>, uint32_t>;
  std::lock_guard lock(mutex);
  auto [place, is_new] = known.try_emplace({op, dtype}, 0);
  if (is_new) {
    Counter counter;
    Value operand{0, compute_dtype(dtype)}, operands[3] = {operand, operand, operand};
    info(op).lower(counter, {operands, 3});
    place->second = counter.count();
  }
  return place->second;
}

constexpr NodeId no_node = ~0u;

struct Cost {
  bool inlined = false;
  int chain = 0;
  uint32_t places = 1;  // values that it is read from where it is inlined
  uint32_t instructions = 0;
  int64_t load_bytes = 0;
  NodeId kept = no_node;  // the one stored value that it is computed from
};

bool is_view(OpId op) { return family_of(op) == OpFamily::movement; }

/// Values that have memory in any case, as contractions read them (unless they are inlined).
std::vector<bool> find_kept(const Graph& graph) {
  std::vector<bool> kept(graph.nodes.size()), is_operand(graph.nodes.size());
  for (NodeId id = NodeId(graph.nodes.size()); id-- > 0;) {
    const GraphNode& node = graph.nodes[id];
    if (is_operand[id] && !is_view(node.op)) kept[id] = true;
    if (node.op == OpId::matmul || (is_operand[id] && is_view(node.op)))
      for (NodeId input : node.inputs) is_operand[input] = true;
  }
  return kept;
}

/// Whether `id` may be computed again from `source`, a value kept anyway: its loads are not
/// counted, as who needs a mask or a derivative mostly stands where the value itself is needed or
/// replaced.
bool may_read(const Graph& graph, NodeId id, NodeId source) {
  const GraphNode& node = graph.nodes[id];
  return node.family() == OpFamily::elementwise && node.shape == graph.nodes[source].shape;
}

/// Has what a node reads stored where it would otherwise come from too many places.
void bound_places(const GraphNode& node, std::vector<Cost>& costs, std::vector<bool>& inlined,
                  Cost& cost) {
  cost.places = 0;
  for (NodeId input : node.inputs) cost.places += costs[input].places;
  if (cost.places <= most_places) return;
  for (NodeId input : node.inputs) {
    Cost& part = costs[input];
    if (part.places == 1) continue;
    inlined[input] = false;
    part = {.chain = 1, .instructions = ~0u};
  }
  cost.places = uint32_t(node.inputs.size());
}

}  // namespace

uint32_t instruction_count(const GraphNode& node) {
  if (node.family() != OpFamily::elementwise) return node.op == OpId::random_bits ? 90 : 2;
  DType operand = node.dtype == DType::boolean ? DType::f32 : node.dtype;
  return count_elementwise(node.op, operand) + 1;
}

std::vector<bool> choose_inlined(const Graph& graph, bool fusing) {
  std::vector<Cost> costs(graph.nodes.size());
  std::vector<bool> wanted(graph.nodes.size()), inlined(graph.nodes.size());
  const std::vector<bool> kept = find_kept(graph);
  for (NodeId output : graph.outputs) wanted[output] = true;
  for (NodeId id = 0; id < graph.nodes.size(); ++id) {
    const GraphNode& node = graph.nodes[id];
    Cost& cost = costs[id];
    bound_places(node, costs, inlined, cost);
    bool from_given = true;
    cost.chain = 1;
    for (NodeId input : node.inputs) {
      const Cost& part = costs[input];
      NodeId source = kept[input] && !part.inlined ? input : part.kept;
      bool allowed = source == no_node || (may_read(graph, id, source) && !kept[id] &&
                                           (cost.kept == no_node || cost.kept == source));
      if (source != no_node) cost.kept = source;
      bool given = graph.nodes[input].inputs.empty() || source == input;
      from_given &= allowed && (given || (part.inlined && part.instructions != ~0u));
      cost.chain = std::max(cost.chain, part.inlined ? part.chain + 1 : 1);
      cost.instructions += given || !from_given ? 0 : part.instructions;
      cost.load_bytes +=
          graph.nodes[input].op == OpId::leaf ? graph.nodes[input].bytes() : part.load_bytes;
    }
    if (!from_given)
      cost.instructions = ~0u, cost.kept = no_node;  // only movements above make it inlined
    if (node.inputs.empty() || wanted[id] || cost.chain > longest_chain) {
      cost.instructions = node.inputs.empty() ? 0 : ~0u;
      cost.load_bytes = 0;
      cost.kept = no_node;
      cost.places = 1;
      continue;
    }
    if (is_view(node.op)) {
      cost.inlined = true;
      if (from_given) cost.load_bytes = std::min(cost.load_bytes, node.bytes());
    } else if (fusing && from_given && node.family() == OpFamily::elementwise) {
      cost.instructions += instruction_count(node);
      cost.inlined = cost.instructions <= cheap_instructions && cost.load_bytes <= node.bytes();
    }
    inlined[id] = cost.inlined;
    if (!cost.inlined) cost.instructions = ~0u, cost.kept = no_node, cost.places = 1;
    if (cost.instructions == ~0u)
      cost.load_bytes = 0;  // nobody asks; chains would add up endlessly
  }
  return inlined;
}

}  // namespace encore::trace
