#include <encore/trace/explain_aliases.h>
#include <encore/trace/known_trace.h>
#include <encore/trace/miss_reason.h>
#include <fmt/format.h>

#include <algorithm>

namespace encore::trace {
namespace {

constexpr uint32_t nobody = ~0u;

class Explainer {
 public:
  Explainer(const Graph& graph, const LoweredTrace& lowered, const LaunchOrder& order,
            const MemoryPlan& plan, const Capture& capture)
      : graph_(graph), lowered_(lowered), plan_(plan), capture_(capture) {
    first_.assign(lowered.buffers.size(), nobody);
    last_.assign(lowered.buffers.size(), 0);
    for (size_t k = 0; k < lowered.kernels.size(); ++k)
      for (uint32_t buffer : lowered.kernels[k].buffers) {
        first_[buffer] = std::min(first_[buffer], order.launch_of[k]);
        last_[buffer] = order.launch_of[k];
      }
    buffer_of_leaf_.assign(capture.leaves.size(), nobody);
    heir_.assign(capture.leaves.size(), nobody);
    for (uint32_t buffer = 0; buffer < lowered.buffers.size(); ++buffer) {
      const PlanBuffer& b = lowered.buffers[buffer];
      if (b.leaf != nobody)
        buffer_of_leaf_[b.leaf] = buffer;
      else if (b.is_output && plan.homes[buffer].leaf != nobody)
        heir_[plan.homes[buffer].leaf] = buffer;
    }
  }

  std::string run() const {
    std::string text;
    for (uint32_t slot = 0; slot < capture_.leaves.size(); ++slot)
      text += fmt::format("leaf {:<4} {}: {}\n", slot, spoken(*capture_.leaves[slot]), leaf(slot));
    for (uint32_t buffer = 0; buffer < lowered_.buffers.size(); ++buffer)
      if (lowered_.buffers[buffer].is_output && lowered_.buffers[buffer].leaf == nobody)
        text += fmt::format("output {:<2} {}: {}\n", buffer, spoken(buffer), output(buffer));
    return text;
  }

 private:
  static std::string spoken(const Node& node) {
    return fmt::format("{}{} of {} ({} bytes)", name_of(node.dtype), node.shape.text(),
                       short_place(node.location),
                       node.shape.numel() * int64_t(size_of(node.dtype)));
  }
  std::string spoken(uint32_t buffer) const {
    const GraphNode& node = graph_.nodes[lowered_.buffers[buffer].node];
    return fmt::format("{}{} of {} at {} ({} bytes)", name_of(node.dtype), node.shape.text(),
                       name_of(node.op), short_place(node.location),
                       lowered_.buffers[buffer].bytes);
  }

  std::string leaf(uint32_t slot) const {
    Kept kept = why_kept(capture_.leaves[slot], capture_.donated[slot] != 0, capture_.kind);
    if (kept != Kept::donated) return fmt::format("kept, as {}", name_of(kept));
    if (heir_[slot] != nobody) return fmt::format("output {} takes it over", heir_[slot]);
    uint32_t buffer = buffer_of_leaf_[slot];
    if (buffer == nobody || first_[buffer] == nobody) return "missed: no kernel reads it";
    int64_t bytes = lowered_.buffers[buffer].bytes;
    bool has_output = std::ranges::any_of(lowered_.buffers, [&](const PlanBuffer& other) {
      return other.is_output && other.leaf == nobody && other.bytes == bytes;
    });
    if (!has_output) return fmt::format("missed: no output has {} bytes", bytes);
    return fmt::format(
        "missed: outputs of its size stand elsewhere, or are written before launch "
        "{} has read it",
        last_[buffer]);
  }

  std::string output(uint32_t buffer) const {
    const MemoryPlan::Home& home = plan_.homes[buffer];
    if (home.leaf != nobody) return fmt::format("stands in leaf {}", home.leaf);
    uint32_t kept = nobody, taken = 0, read_later = nobody;
    for (uint32_t slot = 0; slot < capture_.leaves.size(); ++slot) {
      uint32_t other = buffer_of_leaf_[slot];
      if (other == nobody || lowered_.buffers[other].bytes != lowered_.buffers[buffer].bytes)
        continue;
      if (!capture_.donated[slot])
        kept = slot;
      else if (heir_[slot] != nobody)
        ++taken;
      else
        read_later = slot;
    }
    if (read_later != nobody)
      return fmt::format("missed: written by launch {}, and leaf {} is read until launch {}",
                         first_[buffer], read_later, last_[buffer_of_leaf_[read_later]]);
    if (kept != nobody) return fmt::format("new memory: leaf {} of its size is kept", kept);
    if (taken) return "new memory: other outputs took the leaves of its size";
    return "new memory: no leaf has its size";
  }

  const Graph& graph_;
  const LoweredTrace& lowered_;
  const MemoryPlan& plan_;
  const Capture& capture_;
  std::vector<uint32_t> first_, last_;    // launches, by buffer
  std::vector<uint32_t> buffer_of_leaf_;  // by slot
  std::vector<uint32_t> heir_;            // by slot: the output's buffer
};

}  // namespace

std::string explain_aliases(const Graph& graph, const LoweredTrace& lowered,
                            const LaunchOrder& order, const MemoryPlan& plan,
                            const Capture& capture) {
  return Explainer(graph, lowered, order, plan, capture).run();
}

}  // namespace encore::trace
