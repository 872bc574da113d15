#include <encore/trace/choose_inlined.h>

#include <algorithm>
#include <map>
#include <mutex>

namespace encore::trace {
namespace {

constexpr int longest_chain = 24;
constexpr uint32_t cheap_instructions = 6;

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

struct Cost {
  bool inlined = false;
  int chain = 0;
  uint32_t instructions = 0;
  int64_t load_bytes = 0;
};

bool is_view(OpId op) { return family_of(op) == OpFamily::movement; }

}  // namespace

uint32_t instruction_count(const GraphNode& node) {
  if (node.family() != OpFamily::elementwise) return node.op == OpId::random_bits ? 90 : 2;
  DType operand = node.dtype == DType::boolean ? DType::f32 : node.dtype;
  return count_elementwise(node.op, operand) + 1;
}

std::vector<bool> choose_inlined(const Graph& graph, bool fusing) {
  std::vector<Cost> costs(graph.nodes.size());
  std::vector<bool> wanted(graph.nodes.size()), inlined(graph.nodes.size());
  for (NodeId output : graph.outputs) wanted[output] = true;
  for (NodeId id = 0; id < graph.nodes.size(); ++id) {
    const GraphNode& node = graph.nodes[id];
    Cost& cost = costs[id];
    bool from_given = true;
    cost.chain = 1;
    for (NodeId input : node.inputs) {
      const Cost& part = costs[input];
      bool given = graph.nodes[input].inputs.empty();
      from_given &= given || (part.inlined && part.instructions != ~0u);
      cost.chain = std::max(cost.chain, part.inlined ? part.chain + 1 : 1);
      cost.instructions += given || !from_given ? 0 : part.instructions;
      cost.load_bytes +=
          graph.nodes[input].op == OpId::leaf ? graph.nodes[input].bytes() : part.load_bytes;
    }
    if (!from_given) cost.instructions = ~0u;  // only movements above make it inlined
    if (node.inputs.empty() || wanted[id] || cost.chain > longest_chain) {
      cost.instructions = node.inputs.empty() ? 0 : ~0u;
      cost.load_bytes = 0;
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
    if (!cost.inlined) cost.instructions = ~0u;
    if (cost.instructions == ~0u) cost.load_bytes = 0;  // nobody asks; chains would add up endlessly
  }
  return inlined;
}

}  // namespace encore::trace
