#include <encore/trace/describe_kernel.h>
#include <encore/trace/label_launches.h>
#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <string_view>

namespace encore::trace {
namespace {

/// More places than these are counted, not named.
constexpr size_t most_places = 16;

/// Lines of text, each once, in the order in which they came.
class Lines {
 public:
  void add(std::string line) {
    if (std::find(lines_.begin(), lines_.end(), line) != lines_.end()) return;
    lines_.push_back(std::move(line));
  }
  std::string text() const {
    std::string text;
    for (size_t i = 0; i < std::min(lines_.size(), most_places); ++i) text += lines_[i] + "\n";
    if (lines_.size() > most_places)
      text += fmt::format("and {} more\n", lines_.size() - most_places);
    return text;
  }

 private:
  std::vector<std::string> lines_;
};

int64_t moved_by(const PlannedKernel& kernel, const LoweredTrace& trace) {
  std::vector<int64_t> held;
  for (uint32_t buffer : kernel.buffers) held.push_back(trace.buffers[buffer].bytes);
  std::vector<int64_t> moved = fewest_bytes(kernel.kernel, held);
  return std::accumulate(moved.begin(), moved.end(), int64_t(0));
}

std::vector<NodeId> computed_by(const PlannedKernel& kernel, const Fusion& fusion) {
  if (kernel.finishes != ~0u) return {kernel.finishes};
  return fusion.clusters[kernel.cluster].members;
}

}  // namespace

jit::Labels label_launches(const Graph& graph, const Fusion& fusion, const LoweredTrace& trace,
                           const std::vector<uint32_t>& launch_of) {
  jit::Labels labels;
  struct Places {
    Lines lines, scopes;
    int64_t flops = 0;
  };
  std::vector<Places> places;
  for (size_t k = 0; k < trace.kernels.size(); ++k) {
    const PlannedKernel& kernel = trace.kernels[k];
    if (launch_of[k] == labels.size()) {
      labels.push_back({kernel.kernel.name, {}, 0});
      places.emplace_back();
    }
    labels.back().bytes += moved_by(kernel, trace);
    places.back().flops += contraction_flops(kernel.kernel);
    std::vector<NodeId> nodes = computed_by(kernel, fusion);
    for (NodeId id : nodes) {
      const GraphNode& node = graph.nodes[id];
      if (node.location.line)
        places.back().lines.add(fmt::format("at {}:{}", node.location.file, node.location.line));
      if (node.scope) places.back().scopes.add(fmt::format("in {}", node.scope));
    }
  }
  for (size_t i = 0; i < labels.size(); ++i) {
    auto segments = std::count(launch_of.begin(), launch_of.end(), i);
    labels[i].about = fmt::format("segments {}\n", segments);
    if (places[i].flops) labels[i].about += fmt::format("flops {}\n", places[i].flops);
    labels[i].about += places[i].lines.text() + places[i].scopes.text();
  }
  return labels;
}

}  // namespace encore::trace
