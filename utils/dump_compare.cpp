#include <encore/utils/dump_align.h>
#include <encore/utils/dump_compare.h>
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

namespace encore {
namespace {

struct Side {
  const Bundle& bundle;
  Json document;  // null: a compilation that failed early
};

Side read_side(const Bundle& bundle) {
  Json document = Json::parse(bundle.text("trace.json"), nullptr, false);
  return {bundle, document.is_object() ? std::move(document) : Json()};
}

const Json& nodes_of(const Json& document) {
  static const Json none = Json::array();
  for (const Json& graph : document.at("graphs"))
    if (graph.at("pass") == "simplified") return graph.at("nodes");
  return none;
}

// --- nodes --------------------------------------------------------------------------------------

std::string type_of(const Json& node) {
  return node.at("dtype").get<std::string>() + node.at("shape").dump();
}

std::string details_of(const Json& node, std::initializer_list<const char*> names) {
  std::string text;
  for (const char* name : names)
    if (node.contains(name)) text += fmt::format(" {} {}", name, node[name].dump());
  return text;
}

/// All but its slot and what it reads: numbers of slots and nodes shift.
std::string shape_of(const Json& node) {
  return node.at("op").get<std::string>() + " " + type_of(node) +
         details_of(node, {"attributes", "value", "donated"});
}

std::string node_text(const Json& document, const Json& node) {
  std::string text =
      fmt::format("%{} {} {}{}", node.at("id").get<int64_t>(), node.at("op").get<std::string>(),
                  type_of(node), details_of(node, {"attributes", "value", "slot", "donated"}));
  for (const Json& input : node.at("inputs")) text += fmt::format(" %{}", input.get<int64_t>());
  if (node.contains("line")) {
    const std::string file = document.at("files").at(node["file"].get<size_t>());
    text += fmt::format("   # {}:{}", file.substr(file.rfind('/') + 1), node["line"].get<int>());
  }
  return text;
}

class NodeComparison {
 public:
  NodeComparison(const Json& a, const Json& b)
      : a_(a), b_(b), from_(nodes_of(a)), to_(nodes_of(b)), partner_(from_.size(), no_place) {}

  Json run() {
    std::vector<uint32_t> gone, come;
    for (const AlignStep& step : align(shapes(from_), shapes(to_))) {
      if (step.a != no_place && step.b != no_place) {
        pair_up(gone, come);
        match(step.a, step.b);
      } else if (step.b == no_place) {
        gone.push_back(step.a);
      } else {
        come.push_back(step.b);
      }
    }
    pair_up(gone, come);
    return {{"removed", removed_}, {"added", added_}, {"changed", changed_}};
  }

 private:
  static std::vector<std::string> shapes(const Json& nodes) {
    std::vector<std::string> all;
    for (const Json& node : nodes) all.push_back(shape_of(node));
    return all;
  }

  /// Of a stretch that went and one that came: the same op in the same order is one that changed.
  void pair_up(std::vector<uint32_t>& gone, std::vector<uint32_t>& come) {
    size_t next = 0;
    for (uint32_t from : gone) {
      size_t same = next;
      while (same < come.size() && to_[come[same]]["op"] != from_[from]["op"]) ++same;
      if (same == come.size()) {
        removed_.push_back({{"id", from}, {"text", node_text(a_, from_[from])}});
        continue;
      }
      for (; next < same; ++next) add(come[next]);
      match(from, come[next++]);
    }
    for (; next < come.size(); ++next) add(come[next]);
    gone.clear();
    come.clear();
  }

  void add(uint32_t to) { added_.push_back({{"id", to}, {"text", node_text(b_, to_[to])}}); }

  void match(uint32_t from, uint32_t to) {
    const Json &x = from_[from], &y = to_[to];
    partner_[from] = to;
    Json what = Json::array();
    for (const char* name : {"dtype", "shape", "attributes", "value", "donated"})
      if (x.value(name, Json()) != y.value(name, Json())) what.push_back(name);
    if (!same_inputs(x.at("inputs"), y.at("inputs"))) what.push_back("inputs");
    if (what.empty()) return;
    changed_.push_back({{"a", from},
                        {"b", to},
                        {"what", what},
                        {"text_a", node_text(a_, x)},
                        {"text_b", node_text(b_, y)}});
  }

  bool same_inputs(const Json& x, const Json& y) const {
    return std::equal(x.begin(), x.end(), y.begin(), y.end(), [&](const Json& i, const Json& j) {
      return partner_.at(i.get<size_t>()) == j.get<uint32_t>();
    });
  }

  const Json &a_, &b_, &from_, &to_;
  std::vector<uint32_t> partner_;  // by node of a: its node of b
  Json removed_ = Json::array(), added_ = Json::array(), changed_ = Json::array();
};

// --- kernels ------------------------------------------------------------------------------------

Json kernel_facts(const Json& kernel) {
  Json facts = Json::object();
  for (const char* name : {"name", "bytes", "flops", "instructions"}) facts[name] = kernel.at(name);
  return facts;
}

/// The name without the launch's number.
std::string body_name(const Json& kernel) {
  const std::string name = kernel.at("name");
  return name.substr(name.find('-') + 1);
}

/// Null where they differ in nothing.
Json compare_kernel(const Side& a, const Json& x, const Side& b, const Json& y) {
  Json changed = {{"a", x.at("name")}, {"b", y.at("name")}};
  const size_t bare = changed.size();
  for (const char* name : {"bytes", "flops", "instructions"})
    if (x.at(name) != y.at(name)) changed[name] = {x.at(name), y.at(name)};
  if (x.at("segments").size() != y.at("segments").size())
    changed["segments"] = {x.at("segments").size(), y.at("segments").size()};
  std::set<std::string> kinds;
  for (const Json* files : {&x.at("files"), &y.at("files")})
    for (const auto& [kind, file] : files->items()) kinds.insert(kind);
  for (const std::string& kind : kinds) {
    const auto text = [&](const Side& side, const Json& kernel) {
      return kernel["files"].contains(kind) ? side.bundle.text(kernel["files"][kind]) : "";
    };
    const std::vector<std::string> lines = line_changes(text(a, x), text(b, y));
    if (!lines.empty()) changed["code"][kind] = lines;
  }
  return changed.size() == bare ? Json() : changed;
}

Json compare_kernels(const Side& a, const Side& b) {
  const Json &from = a.document.at("kernels"), &to = b.document.at("kernels");
  const auto names = [](const Json& kernels) {
    std::vector<std::string> all;
    for (const Json& kernel : kernels) all.push_back(body_name(kernel));
    return all;
  };
  Json removed = Json::array(), added = Json::array(), changed = Json::array();
  for (const AlignStep& step : align(names(from), names(to))) {
    if (step.b == no_place) {
      removed.push_back(kernel_facts(from[step.a]));
    } else if (step.a == no_place) {
      added.push_back(kernel_facts(to[step.b]));
    } else if (Json one = compare_kernel(a, from[step.a], b, to[step.b]); !one.is_null()) {
      changed.push_back(std::move(one));
    }
  }
  return {{"removed", removed}, {"added", added}, {"changed", changed}};
}

// --- the rest -----------------------------------------------------------------------------------

Json compare_memory(const Json& a, const Json& b) {
  const auto facts = [](const Json& document) {
    std::map<std::string, int64_t> all;
    for (const char* name : {"arena_bytes", "total_bytes"})
      all[name] = document.at("memory").at(name).get<int64_t>();
    for (const Json& buffer : document.at("buffers")) {
      const std::string role = buffer.at("role");
      ++all[role + "_buffers"];
      all[role + "_bytes"] += buffer.at("bytes").get<int64_t>();
    }
    all["missed_aliases"] = int64_t(document.at("memory").at("missed").size());
    return all;
  };
  std::map<std::string, int64_t> x = facts(a), y = facts(b);
  Json changed = Json::object();
  for (const auto* side : {&x, &y})
    for (const auto& [name, value] : *side)
      if (x[name] != y[name]) changed[name] = {x[name], y[name]};
  return changed;
}

/// Files that both left, where there is no document to compare.
Json compare_texts(const Bundle& a, const Bundle& b) {
  std::set<std::string> files = {"key.txt", "memory-plan.txt", "program.txt", "stats.txt"};
  for (const Bundle* bundle : {&a, &b})
    for (const char* folder : {"passes", "kernels"})
      for (const std::string& file : bundle->files(folder)) files.insert(file);
  Json changed = Json::object();
  for (const std::string& file : files)
    if (auto lines = line_changes(a.text(file), b.text(file)); !lines.empty())
      changed[file] = lines;
  return changed;
}

Json header(const Side& a, const Side& b) {
  Json changed = Json::object();
  for (const char* name : {"key", "device"})
    if (a.document.at(name) != b.document.at(name))
      changed[name] = {a.document[name], b.document[name]};
  if (a.document.at("sync").at("kind") != b.document.at("sync").at("kind"))
    changed["sync"] = {a.document["sync"]["kind"], b.document["sync"]["kind"]};
  if (a.bundle.finished() != b.bundle.finished())
    changed["finished"] = {a.bundle.finished(), b.bundle.finished()};
  return changed;
}

bool is_empty(const Json& part) {
  return std::all_of(part.begin(), part.end(),
                     [](const Json& value) { return value.is_array() && value.empty(); });
}

}  // namespace

Json compare_bundles(const Bundle& a, const Bundle& b) {
  Json result = {{"format", 1}, {"a", a.name()}, {"b", b.name()}, {"same", true}};
  const Side x = read_side(a), y = read_side(b);
  if (x.document.is_null() || y.document.is_null()) {
    result["texts"] = compare_texts(a, b);
  } else {
    result["header"] = header(x, y);
    result["nodes"] = NodeComparison(x.document, y.document).run();
    result["kernels"] = compare_kernels(x, y);
    result["memory"] = compare_memory(x.document, y.document);
  }
  for (const char* part : {"texts", "header", "nodes", "kernels", "memory"})
    if (result.contains(part) && !is_empty(result[part])) result["same"] = false;
  return result;
}

}  // namespace encore
