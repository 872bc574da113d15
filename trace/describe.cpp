#include <encore/trace/describe.h>
#include <encore/trace/describe_kernel.h>
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

namespace encore::trace {
namespace {

using Json = nlohmann::ordered_json;

constexpr uint32_t nobody = ~0u;

/// File names by number, in order of first mention.
class Files {
 public:
  void place(Json& into, const Location& where) {
    if (where.line == 0) return;
    into["file"] = number(where.file);
    into["line"] = where.line;
  }
  uint32_t number(const char* file) {
    auto [place, is_new] = numbers_.try_emplace(file, uint32_t(numbers_.size()));
    if (is_new) names_.push_back(file);
    return place->second;
  }
  Json names() const { return names_; }

 private:
  std::map<std::string, uint32_t> numbers_;
  std::vector<std::string> names_;
};

class Describer {
 public:
  explicit Describer(const Described& trace) : t_(trace), lives_(t_.lowered.buffers.size()) {
    for (size_t k = 0; k < t_.lowered.kernels.size(); ++k)
      for (uint32_t buffer : t_.lowered.kernels[k].buffers) {
        lives_[buffer].first = std::min(lives_[buffer].first, t_.order.launch_of[k]);
        lives_[buffer].last = t_.order.launch_of[k];
      }
  }

  std::string run() {
    Json all = {{"format", 1}, {"key", t_.capture.key.hex()}};
    all["device"] = encore::name_of(t_.graph.device);
    all["files"] = Json::array();
    all["sync"] = {{"kind", name_of(t_.capture.kind)}};
    files_.place(all["sync"], t_.where);
    all["graphs"] = {graph(t_.captured, "captured", &t_.became), graph(t_.graph, "simplified")};
    all["clusters"] = clusters();
    all["kernels"] = kernels();
    all["buffers"] = buffers();
    all["memory"] = {{"arena_bytes", t_.memory.arena_bytes},
                     {"total_bytes", t_.memory.total_bytes},
                     {"missed", t_.memory.missed}};
    all["statistics"] = {{"nodes_captured", t_.captured.nodes.size()},
                         {"nodes", t_.graph.nodes.size()},
                         {"clusters", t_.fusion.clusters.size()},
                         {"kernels", t_.lowered.kernels.size()},
                         {"launches", all["kernels"].size()}};
    all["files"] = files_.names();
    return all.dump(-1, ' ', false, Json::error_handler_t::replace);
  }

 private:
  struct Life {
    uint32_t first = nobody, last = 0;
  };

  static std::string_view name_of(SyncKind kind) {
    constexpr std::string_view names[] = {"read", "step", "cut"};
    return names[int(kind)];
  }

  Json graph(const Graph& graph, std::string_view pass, const std::vector<NodeId>* became = {}) {
    Json nodes = Json::array();
    for (NodeId id = 0; id < graph.nodes.size(); ++id) {
      nodes.push_back(node(graph, id));
      if (became && (*became)[id] != nobody) nodes.back()["became"] = (*became)[id];
    }
    return {{"pass", pass}, {"nodes", std::move(nodes)}, {"outputs", graph.outputs}};
  }

  Json node(const Graph& graph, NodeId id) {
    const GraphNode& node = graph.nodes[id];
    Json json = {{"id", id},
                 {"op", encore::name_of(node.op)},
                 {"dtype", encore::name_of(node.dtype)},
                 {"shape", std::vector<int64_t>(node.shape.begin(), node.shape.end())},
                 {"inputs", node.inputs}};
    if (!node.attributes.empty()) json["attributes"] = node.attributes;
    if (node.op == OpId::leaf || node.op == OpId::scalar) json["slot"] = node.slot;
    if (node.op == OpId::leaf && graph.donated[node.slot]) json["donated"] = true;
    if (node.op == OpId::literal) json["value"] = literal_text(node.bits, node.dtype);
    files_.place(json, node.location);
    if (node.scope && *node.scope) json["scope"] = node.scope;
    return json;
  }

  Json clusters() const {
    Json all = Json::array();
    for (const Cluster& cluster : t_.fusion.clusters) {
      Json json = {{"id", all.size()}, {"members", cluster.members}, {"extents", cluster.extents}};
      if (cluster.inner) json["row_reduction_axes"] = axes(cluster.inner);
      if (cluster.rows) json["column_reduction_axes"] = axes(cluster.rows);
      if (cluster.contraction != nobody) json["contraction"] = cluster.contraction;
      if (cluster.scatters) json["scatters"] = true;
      all.push_back(std::move(json));
    }
    return all;
  }

  static Json axes(uint32_t mask) {
    Json all = Json::array();
    for (int axis = 0; mask >> axis; ++axis)
      if (mask >> axis & 1) all.push_back(axis);
    return all;
  }

  /// One for each launch; a joined launch has several segments.
  Json kernels() {
    Json all = Json::array();
    for (size_t k = 0; k < t_.lowered.kernels.size(); ++k) {
      uint32_t launch = t_.order.launch_of[k];
      const jit::Kernel& kernel = t_.lowered.kernels[k].kernel;
      if (launch == all.size())
        all.push_back({{"launch", launch},
                       {"name", listed_name(launch, kernel)},
                       {"key", jit::key_of(kernel).hex()},
                       {"instructions", kernel.instructions.size()},
                       {"bytes", 0},
                       {"flops", 0},
                       {"segments", Json::array()}});
      Json& json = all.back();
      json["segments"].push_back(segment(t_.lowered.kernels[k]));
      for (const char* sum : {"bytes", "flops"})
        json[sum] = json[sum].get<int64_t>() + json["segments"].back()[sum].get<int64_t>();
    }
    return all;
  }

  Json segment(const PlannedKernel& planned) {
    const jit::Kernel& kernel = planned.kernel;
    std::vector<int64_t> held;
    for (uint32_t buffer : planned.buffers) held.push_back(t_.lowered.buffers[buffer].bytes);
    std::vector<int64_t> moved = fewest_bytes(kernel, held);
    Json arguments = Json::array();
    int64_t total = 0;
    for (size_t i = 0; i < planned.buffers.size(); ++i) {
      constexpr std::string_view uses[] = {"read", "write", "update"};
      arguments.push_back({{"buffer", planned.buffers[i]},
                           {"use", uses[int(kernel.arguments[i].use)]},
                           {"bytes", moved[i]}});
      total += moved[i];
    }
    bool finishes = planned.finishes != nobody;
    std::vector<NodeId> nodes = nodes_of(planned), inlined;
    if (!finishes) inlined = inlined_into(nodes);
    Json json = {{"cluster", planned.cluster}, {"nodes", nodes}, {"inlined", inlined}};
    if (finishes) json["finishes"] = true;
    json["lines"] = lines(nodes, inlined);
    json["arguments"] = std::move(arguments);
    json["bytes"] = total;
    json["flops"] = contraction_flops(kernel);
    return json;
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

  Json lines(const std::vector<NodeId>& nodes, const std::vector<NodeId>& inlined) {
    std::vector<std::pair<uint32_t, uint32_t>> all;
    for (const auto* list : {&nodes, &inlined})
      for (NodeId id : *list) {
        const Location& where = t_.graph.nodes[id].location;
        if (where.line) all.push_back({files_.number(where.file), where.line});
      }
    std::sort(all.begin(), all.end());
    all.erase(std::unique(all.begin(), all.end()), all.end());
    return all;
  }

  Json buffers() const {
    Json all = Json::array();
    for (uint32_t number = 0; number < t_.lowered.buffers.size(); ++number) {
      const PlanBuffer& buffer = t_.lowered.buffers[number];
      const MemoryPlan::Home& home = t_.memory.homes[number];
      Json json = {{"id", number}, {"bytes", buffer.bytes}, {"node", buffer.node}};
      json["role"] = buffer.leaf != nobody ? "leaf"
                     : buffer.is_partial   ? "partial"
                     : buffer.is_output    ? "output"
                                           : "intermediate";
      json["home"] = home.leaf != nobody ? "leaf" : home.output != nobody ? "output" : "arena";
      if (home.leaf != nobody) json["leaf"] = home.leaf;
      if (home.leaf == nobody && home.output != nobody) json["inside"] = home.output;
      json["offset"] = home.offset;
      if (lives_[number].first != nobody) {
        json["first"] = lives_[number].first;
        json["last"] = lives_[number].last;
      }
      all.push_back(std::move(json));
    }
    return all;
  }

  const Described& t_;
  std::vector<Life> lives_;  // by buffer
  Files files_;
};

}  // namespace

std::string listed_name(uint32_t launch, const jit::Kernel& kernel) {
  return fmt::format("{}-{}", launch, kernel.name);
}

std::string describe(const Described& trace) { return Describer(trace).run(); }

}  // namespace encore::trace
