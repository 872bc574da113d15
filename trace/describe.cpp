#include <encore/core/json_text.h>
#include <encore/trace/describe.h>
#include <encore/trace/describe_kernel.h>
#include <encore/trace/known_trace.h>
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

namespace encore::trace {
namespace {

constexpr uint32_t nobody = ~0u;

/// File names by number, in order of first mention.
class Files {
 public:
  uint32_t number(const char* file) {
    auto [place, is_new] = numbers_.try_emplace(file, uint32_t(numbers_.size()));
    if (is_new) names_.push_back(file);
    return place->second;
  }
  const std::vector<std::string>& names() const { return names_; }

 private:
  std::map<std::string, uint32_t> numbers_;
  std::vector<std::string> names_;
};

std::vector<int> axes(uint32_t mask) {
  std::vector<int> all;
  for (int axis = 0; mask >> axis; ++axis)
    if (mask >> axis & 1) all.push_back(axis);
  return all;
}

class Describer {
 public:
  Describer(const Described& trace, const JsonText::Sink& sink)
      : t_(trace), lives_(t_.lowered.buffers.size()), json_(sink) {
    for (size_t k = 0; k < t_.lowered.kernels.size(); ++k)
      for (uint32_t buffer : t_.lowered.kernels[k].buffers) {
        lives_[buffer].first = std::min(lives_[buffer].first, t_.order.launch_of[k]);
        lives_[buffer].last = t_.order.launch_of[k];
      }
    for (size_t k = 0; k < t_.lowered.kernels.size(); ++k)
      if (const uint32_t scratch = t_.lowered.kernels[k].scratch; scratch != nobody)
        lives_[scratch] = {t_.order.launch_of[k], t_.order.launch_of[k]};
  }

  void run() {
    json_.begin_object();
    json_.field("format", 1);
    json_.field("key", t_.capture.key.hex());
    json_.field("device", encore::name_of(t_.graph.device));
    json_.key("sync");
    json_.object([&] {
      json_.field("kind", name_of(t_.capture.kind));
      place(t_.where);
    });
    json_.array("graphs", [&] {
      graph(t_.captured, "captured", &t_.became);
      graph(t_.graph, "simplified");
    });
    json_.array("clusters", [&] { clusters(); });
    json_.array("kernels", [&] { kernels(); });
    json_.array("buffers", [&] { buffers(); });
    json_.key("memory");
    json_.object([&] {
      json_.field("arena_bytes", t_.memory.arena_bytes);
      json_.field("total_bytes", t_.memory.total_bytes);
      json_.field("missed", t_.memory.missed);
    });
    json_.key("statistics");
    json_.object([&] { statistics(); });
    json_.field("files", files_.names());
    json_.end_object();
    json_.finish();
  }

 private:
  struct Life {
    uint32_t first = nobody, last = 0;
  };

  void place(const Location& where) {
    if (where.line == 0) return;
    json_.field("file", files_.number(where.file));
    json_.field("line", where.line);
  }

  void statistics() {
    json_.field("nodes_captured", t_.captured.nodes.size());
    json_.field("nodes", t_.graph.nodes.size());
    json_.field("clusters", t_.fusion.clusters.size());
    json_.field("kernels", t_.lowered.kernels.size());
    const auto& launches = t_.order.launch_of;
    json_.field("launches", launches.empty() ? 0 : launches.back() + 1);
  }

  void graph(const Graph& graph, std::string_view pass, const std::vector<NodeId>* became = {}) {
    json_.object([&] {
      json_.field("pass", pass);
      json_.array("nodes", [&] {
        for (NodeId id = 0; id < graph.nodes.size(); ++id)
          node(graph, id, became ? (*became)[id] : nobody);
      });
      json_.field("outputs", graph.outputs);
    });
  }

  void node(const Graph& graph, NodeId id, NodeId became) {
    const GraphNode& node = graph.nodes[id];
    json_.object([&] {
      json_.field("id", id);
      json_.field("op", encore::name_of(node.op));
      json_.field("dtype", encore::name_of(node.dtype));
      json_.field("shape", node.shape);
      json_.field("inputs", node.inputs);
      if (!node.attributes.empty()) json_.field("attributes", node.attributes);
      if (node.op == OpId::leaf || node.op == OpId::scalar) json_.field("slot", node.slot);
      if (node.op == OpId::leaf && graph.donated[node.slot]) json_.field("donated", true);
      if (node.op == OpId::literal) json_.field("value", literal_text(node.bits, node.dtype));
      place(node.location);
      if (node.scope && *node.scope) json_.field("scope", node.scope);
      if (became != nobody) json_.field("became", became);
    });
  }

  void clusters() {
    size_t id = 0;
    for (const Cluster& cluster : t_.fusion.clusters)
      json_.object([&] {
        json_.field("id", id++);
        json_.field("members", cluster.members);
        json_.field("extents", cluster.extents);
        if (cluster.inner) json_.field("row_reduction_axes", axes(cluster.inner));
        if (cluster.rows) json_.field("column_reduction_axes", axes(cluster.rows));
        if (cluster.contraction != nobody) json_.field("contraction", cluster.contraction);
        if (cluster.scatters) json_.field("scatters", true);
      });
  }

  /// One for each launch; a joined launch has several segments.
  void kernels() {
    const auto& launch_of = t_.order.launch_of;
    for (size_t k = 0, end; k < launch_of.size(); k = end) {
      for (end = k; end < launch_of.size() && launch_of[end] == launch_of[k];) ++end;
      const jit::Kernel& kernel = t_.lowered.kernels[k].kernel;
      Work work;
      json_.object([&] {
        json_.field("launch", launch_of[k]);
        json_.field("name", listed_name(launch_of[k], kernel));
        json_.field("key", jit::key_of(kernel).hex());
        json_.field("instructions", kernel.instructions.size());
        json_.array("segments", [&] {
          for (size_t i = k; i < end; ++i) work += segment(t_.lowered.kernels[i]);
        });
        json_.field("bytes", work.bytes);
        json_.field("flops", work.flops);
        json_.key("files");  // whoever writes the listings says where
        json_.object([] {});
      });
    }
  }

  struct Work {
    int64_t bytes = 0, flops = 0;
    void operator+=(const Work& other) { bytes += other.bytes, flops += other.flops; }
  };

  Work segment(const PlannedKernel& planned) {
    const jit::Kernel& kernel = planned.kernel;
    std::vector<int64_t> held;
    for (uint32_t buffer : planned.buffers) held.push_back(t_.lowered.buffers[buffer].bytes);
    const std::vector<int64_t> moved = fewest_bytes(kernel, held);
    Work work{0, contraction_flops(kernel)};
    for (int64_t bytes : moved) work.bytes += bytes;
    const bool finishes = planned.finishes != nobody;
    std::vector<NodeId> nodes = nodes_of(planned), inlined;
    if (!finishes) inlined = inlined_into(nodes);
    json_.object([&] {
      json_.field("cluster", planned.cluster);
      json_.field("nodes", nodes);
      json_.field("inlined", inlined);
      if (finishes) json_.field("finishes", true);
      json_.field("lines", lines(nodes, inlined));
      json_.array("arguments", [&] { arguments(planned, moved); });
      json_.field("bytes", work.bytes);
      json_.field("flops", work.flops);
    });
    return work;
  }

  void arguments(const PlannedKernel& planned, const std::vector<int64_t>& moved) {
    constexpr std::string_view uses[] = {"read", "write", "update"};
    for (size_t i = 0; i < planned.buffers.size(); ++i)
      json_.object([&] {
        json_.field("buffer", planned.buffers[i]);
        json_.field("use", uses[int(planned.kernel.arguments[i].use)]);
        json_.field("bytes", moved[i]);
      });
  }

  std::vector<NodeId> nodes_of(const PlannedKernel& planned) const {
    if (planned.finishes != nobody) return {planned.finishes};
    return t_.fusion.clusters[planned.cluster].members;
  }

  /// What is computed on the way into the members, without being a member itself.
  std::vector<NodeId> inlined_into(const std::vector<NodeId>& members) const {
    std::set<NodeId> found;
    std::vector<NodeId> open = members;
    while (!open.empty()) {
      NodeId id = open.back();
      open.pop_back();
      for (NodeId input : t_.graph.nodes[id].inputs) {
        bool is_inlined =
            t_.fusion.cluster_of[input] == no_cluster && !t_.graph.nodes[input].inputs.empty();
        if (is_inlined && found.insert(input).second) open.push_back(input);
      }
    }
    return {found.begin(), found.end()};
  }

  std::vector<std::array<uint32_t, 2>> lines(const std::vector<NodeId>& nodes,
                                             const std::vector<NodeId>& inlined) {
    std::vector<std::array<uint32_t, 2>> all;
    for (const auto* list : {&nodes, &inlined})
      for (NodeId id : *list) {
        const Location& where = t_.graph.nodes[id].location;
        if (where.line) all.push_back({files_.number(where.file), where.line});
      }
    std::sort(all.begin(), all.end());
    all.erase(std::unique(all.begin(), all.end()), all.end());
    return all;
  }

  void buffers() {
    for (uint32_t number = 0; number < t_.lowered.buffers.size(); ++number)
      json_.object([&] {
        const PlanBuffer& buffer = t_.lowered.buffers[number];
        const MemoryPlan::Home& home = t_.memory.homes[number];
        json_.field("id", number);
        json_.field("bytes", buffer.bytes);
        json_.field("node", buffer.node);
        json_.field("role", buffer.leaf != nobody ? "leaf"
                            : buffer.is_partial   ? "partial"
                            : buffer.is_scratch   ? "scratch"
                            : buffer.is_output    ? "output"
                                                  : "intermediate");
        json_.field("home", home.leaf != nobody     ? "leaf"
                            : home.output != nobody ? "output"
                                                    : "arena");
        if (home.leaf != nobody) json_.field("leaf", home.leaf);
        if (home.leaf == nobody && home.output != nobody) json_.field("inside", home.output);
        json_.field("offset", home.offset);
        if (lives_[number].first == nobody) return;
        json_.field("first", lives_[number].first);
        json_.field("last", lives_[number].last);
      });
  }

  const Described& t_;
  std::vector<Life> lives_;  // by buffer
  Files files_;
  JsonText json_;
};

}  // namespace

std::string listed_name(uint32_t launch, const jit::Kernel& kernel) {
  return fmt::format("{}-{}", launch, kernel.name);
}

void describe(const Described& trace, const JsonText::Sink& sink) { Describer(trace, sink).run(); }

}  // namespace encore::trace
