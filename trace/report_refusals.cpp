#include <encore/core/events.h>
#include <encore/trace/miss_reason.h>
#include <encore/trace/report_refusals.h>
#include <encore/trace/statistics.h>
#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace encore::trace {
namespace {

constexpr FusionRefusalInfo rows[] = {
#define FUSION_REFUSAL(name, meaning, advice) {#name, meaning, advice},
#include <encore/trace/fusion_refusal.def>
#undef FUSION_REFUSAL
};

std::string op_of(const GraphNode& node) {
  if (!node.scope || !*node.scope) return std::string(name_of(node.op));
  return fmt::format("{} (in {})", name_of(node.op), node.scope);
}

std::string text_of(const Graph& graph, const Refusal& refusal) {
  const GraphNode &node = graph.nodes[refusal.node], &other = graph.nodes[refusal.other];
  const FusionRefusalInfo& row = info(refusal.reason);
  nlohmann::ordered_json json = {
      {"reason", row.name},     {"node", refusal.node},          {"op", name_of(node.op)},
      {"other", refusal.other}, {"other_op", name_of(other.op)}, {"why", row.meaning},
      {"advice", row.advice}};
  auto place = [&](const char* name, Location where) {
    if (where.line) json[name] = fmt::format("{}:{}", where.file, where.line);
  };
  place("where", node.location);
  place("other_where", other.location);
  return fmt::format("{} with {} at {}: {}\n{}", op_of(node), op_of(other),
                     short_place(other.location), row.meaning, json.dump());
}

}  // namespace

const FusionRefusalInfo& info(FusionRefusal reason) { return rows[int(reason)]; }

void report_refusals(const Graph& graph, const Fusion& fusion) {
  bool wanted = events::wanted(EventKind::fusion_refusal);
  for (const Refusal& refusal : fusion.refusals) {
    ++counters().fusion_refusals[int(refusal.reason)];
    if (!wanted) continue;
    const GraphNode& node = graph.nodes[refusal.node];
    events::report({EventKind::fusion_refusal, info(refusal.reason).name, text_of(graph, refusal),
                    refusal.node, node.location});
  }
}

}  // namespace encore::trace
