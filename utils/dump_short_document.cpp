#include <encore/utils/dump_short_document.h>
#include <fmt/format.h>

#include <fstream>

namespace encore {
namespace {

using Json = nlohmann::ordered_json;

/// Lets the parser drop what is too much, so that it takes no memory.
class Filter {
 public:
  bool operator()(int depth, Json::parse_event_t event, Json& parsed) {
    constexpr int in_document = 1, in_graph = 3;
    if (event == Json::parse_event_t::key) {
      const std::string& name = parsed.get_ref<const std::string&>();
      if (depth == in_document) is_refusals_ = name == "refusals";
      if (depth == in_graph) is_nodes_ = name == "nodes", count_ = 0;
      if (depth == in_document) is_nodes_ = false, refusals_ = 0;
      return true;
    }
    if (event != Json::parse_event_t::object_start) return true;
    if (is_nodes_ && depth == in_graph + 1) return ++count_ <= ShortDocument::most_nodes;
    if (is_refusals_ && depth == in_document + 1)
      return ++refusals_ <= ShortDocument::most_refusals;
    return true;
  }

 private:
  bool is_nodes_ = false, is_refusals_ = false;
  size_t count_ = 0, refusals_ = 0;
};

void cut(Json& ids, size_t end) {
  Json kept = Json::array();
  for (const Json& id : ids) kept.push_back(std::min(id.get<size_t>(), end));
  kept.erase(std::unique(kept.begin(), kept.end()), kept.end());
  ids = std::move(kept);
}

void cut(Json& object, const char* field, size_t end) {
  if (object.contains(field)) object[field] = std::min(object[field].get<size_t>(), end);
}

/// What refers to the nodes of the simplified graph from `end` on refers to `end`.
void cut_references(Json& document, size_t end) {
  for (Json& cluster : document["clusters"]) {
    cut(cluster["members"], end);
    cut(cluster, "contraction", end);
  }
  for (Json& kernel : document["kernels"])
    for (Json& segment : kernel["segments"]) {
      cut(segment["nodes"], end);
      cut(segment["inlined"], end);
    }
  for (Json& buffer : document["buffers"]) cut(buffer, "node", end);
  for (Json& refusal : document["refusals"]) {
    cut(refusal, "node", end);
    cut(refusal, "other", end);
  }
  for (Json& node : document["graphs"][0]["nodes"]) cut(node, "became", end);
}

}  // namespace

Json ShortDocument::read(const std::filesystem::path& file) {
  std::ifstream stream(file);
  Json document = Json::parse(stream, Filter());
  const size_t all[] = {document["statistics"]["nodes_captured"], document["statistics"]["nodes"]};
  for (size_t i = 0; i < 2; ++i) {
    Json& graph = document["graphs"][i];
    const size_t kept = graph["nodes"].size();
    if (kept < most_nodes || kept >= all[i]) continue;
    if (i == 1) cut_references(document, kept);
    cut(graph["outputs"], kept);
    graph["nodes"].push_back(
        {{"id", kept},
         {"op", "left out"},
         {"dtype", ""},
         {"shape", Json::array()},
         {"inputs", Json::array()},
         {"scope", fmt::format("{} more nodes, see trace.json", all[i] - kept)}});
    document["left_out"][i ? "nodes" : "captured_nodes"] = all[i] - kept;
  }
  return document;
}

}  // namespace encore
