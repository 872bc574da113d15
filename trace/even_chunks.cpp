#include <encore/core/hash.h>
#include <encore/trace/choose_inlined.h>
#include <encore/trace/even_chunks.h>

#include <algorithm>
#include <unordered_map>
#include <utility>

namespace encore::trace {
namespace {

/// So many ops in a row that came before tell the length of a repetition.
constexpr size_t telling = 8;

/// Ops [begin, end) of a stretch repeat every `period` ops.
struct Run {
  size_t begin = 0, end = 0, period = 0;
  size_t repetitions() const { return period ? (end - begin) / period : 0; }
};

/// A stretch: consecutive elementwise ops of one shape.
class Stretch {
 public:
  Stretch(const Graph& graph, std::vector<NodeId> ops) : graph_(graph), ops_(std::move(ops)) {}

  /// Numbers chunks on from `latest`.
  void cut(const jit::Limits& limits, uint32_t budget, std::vector<uint32_t>& chunk_of,
           uint32_t& latest) const {
    if (instructions(0, ops_.size()) <= budget) return;
    const Run run = find_run();
    const size_t most = most_repetitions(run, limits, budget);
    if (most == 0 || run.repetitions() <= most || !hangs_together(run)) return;
    const size_t chunks = (run.repetitions() + most - 1) / most;
    const size_t each = (run.repetitions() + chunks - 1) / chunks * run.period;
    const size_t last = (run.repetitions() * run.period - 1) / each;
    for (size_t i = run.begin; i < run.end; ++i)
      chunk_of[ops_[i]] = latest + 1 + uint32_t(std::min((i - run.begin) / each, last));
    latest += uint32_t(last) + 1;
  }

 private:
  const GraphNode& op(size_t i) const { return graph_.nodes[ops_[i]]; }

  uint32_t instructions(size_t begin, size_t end) const {
    uint32_t count = 0;
    for (size_t i = begin; i < end; ++i) count += instruction_count(op(i));
    return count;
  }

  /// The longest run whose period shows in ops that came in the same order before.
  Run find_run() const {
    std::vector<uint64_t> tokens;
    for (NodeId id : ops_) tokens.push_back(token(graph_.nodes[id]));
    std::unordered_map<uint64_t, size_t> latest;
    Run run, best;
    for (size_t i = 0; i + telling <= tokens.size(); ++i) {
      uint64_t window = hash_words({&tokens[i], telling}).low;
      auto [found, fresh] = latest.try_emplace(window, i);
      const size_t period = fresh ? 0 : i - found->second;
      found->second = i;
      if (period == 0 || period != run.period) run = {i - period, 0, period};
      run.end = i + telling;
      if (period && run.end - run.begin > best.end - best.begin) best = run;
    }
    return best;
  }

  uint64_t token(const GraphNode& node) const {
    uint64_t words[] = {uint64_t(node.op), uint64_t(node.dtype), node.inputs.size()};
    return hash_words(words).low;
  }

  size_t most_repetitions(const Run& run, const jit::Limits& limits, uint32_t budget) const {
    if (run.repetitions() < 2) return 0;
    // The first repetition also reads what came before. What all of them read counts once.
    const size_t begin = run.begin + run.period, end = begin + run.period;
    size_t loads = 0, scalars = 0;
    for (size_t i = begin; i < end; ++i)
      for (size_t k = 0; k < op(i).inputs.size(); ++k) {
        NodeId input = op(i).inputs[k];
        if (input == op(i - run.period).inputs[k]) continue;
        loads += graph_.nodes[input].op == OpId::leaf;
        scalars += graph_.nodes[input].op == OpId::scalar;
      }
    size_t most = budget / instructions(begin, end);
    constexpr size_t kept_free = 16;  // for what all read or comes from before, and outputs
    most = std::min(most, 4 * (limits.arguments - kept_free) / (4 * loads + run.period));
    return scalars ? std::min<size_t>(most, limits.scalars / scalars) : most;
  }

  /// Whether at every op of the run something made before in it is read then or later.
  bool hangs_together(const Run& run) const {
    std::unordered_map<NodeId, size_t> place_of;
    std::vector<int64_t> crossing(run.end - run.begin + 1);  // differences
    for (size_t i = run.begin; i < run.end; ++i) {
      for (NodeId input : op(i).inputs) {
        auto made = place_of.find(input);
        if (made == place_of.end()) continue;
        ++crossing[made->second + 1];
        --crossing[i - run.begin + 1];
      }
      place_of[ops_[i]] = i - run.begin;
    }
    int64_t open = 0;
    for (size_t i = 1; i < run.end - run.begin; ++i)
      if ((open += crossing[i]) == 0) return false;
    return true;
  }

  const Graph& graph_;
  std::vector<NodeId> ops_;
};

}  // namespace

std::vector<uint32_t> even_chunks(const Graph& graph, const jit::Limits& limits, uint32_t budget) {
  std::vector<uint32_t> chunk_of(graph.nodes.size());
  std::vector<NodeId> ops;
  uint32_t latest = 0;
  auto close = [&] {
    Stretch(graph, std::exchange(ops, {})).cut(limits, budget, chunk_of, latest);
  };
  for (NodeId id = 0; id < graph.nodes.size(); ++id) {
    const GraphNode& node = graph.nodes[id];
    if (node.inputs.empty()) continue;
    bool goes_on = node.family() == OpFamily::elementwise &&
                   (ops.empty() || node.shape == graph.nodes[ops[0]].shape);
    if (!goes_on) close();
    if (node.family() == OpFamily::elementwise) ops.push_back(id);
  }
  close();
  return chunk_of;
}

}  // namespace encore::trace
