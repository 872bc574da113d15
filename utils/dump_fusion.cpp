// encore-dump fusion: why values pass from one kernel to another through memory.
#include <encore/utils/bundle.h>
#include <encore/utils/dump_verbs.h>
#include <fmt/format.h>

#include <map>
#include <memory>
#include <nlohmann/json.hpp>

namespace encore {
namespace {

using Json = nlohmann::ordered_json;

struct Arguments {
  std::string folder, trace;
  bool json = false;
};

Json refusals_of(const Bundle& bundle) {
  Json trace = Json::parse(bundle.text("trace.json"), nullptr, false);
  return trace.is_object() && trace.contains("refusals") ? trace["refusals"] : Json::array();
}

std::string value(const Json& refusal, const char* field) {
  return refusal.value(field, std::string("unknown"));
}

std::string short_place(const std::string& place) { return place.substr(place.rfind('/') + 1); }

/// Nodes of one line that were refused for one reason are one row.
void print(const Bundle& bundle) {
  std::map<std::string, std::map<std::string, int>> by_reason;
  std::map<std::string, std::string> said;
  for (const Json& refusal : refusals_of(bundle)) {
    const std::string reason = value(refusal, "reason");
    ++by_reason[reason][fmt::format(
        "{} at {}, with {} at {}", value(refusal, "op"), short_place(value(refusal, "where")),
        value(refusal, "other_op"), short_place(value(refusal, "other_where")))];
    said[reason] = fmt::format("{}; advice: {}", value(refusal, "why"), value(refusal, "advice"));
  }
  fmt::print("{}\n", bundle.name());
  for (const auto& [reason, rows] : by_reason) {
    int count = 0;
    for (const auto& [row, times] : rows) count += times;
    fmt::print("  {} x{}: {}\n", reason, count, said[reason]);
    for (const auto& [row, times] : rows)
      fmt::print("    {}{}\n", row, times > 1 ? fmt::format(" (x{})", times) : "");
  }
}

void print_json(const std::vector<Bundle>& bundles) {
  Json all = Json::array();
  for (const Bundle& bundle : bundles)
    all.push_back(
        {{"number", bundle.number}, {"name", bundle.name()}, {"refusals", refusals_of(bundle)}});
  fmt::print("{}\n", all.dump(1));
}

}  // namespace

void add_fusion_verb(CLI::App& app, int&) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* verb = app.add_subcommand("fusion", "why ops do not share a kernel");
  verb->add_option("DIR", arguments->folder)->required();
  verb->add_option("TRACE", arguments->trace, "only this one");
  verb->add_flag("--json", arguments->json, "the same as JSON");
  verb->callback([arguments] {
    std::vector<Bundle> bundles = require_bundles(arguments->folder);
    if (!arguments->trace.empty()) bundles = {find_bundle(arguments->folder, arguments->trace)};
    if (arguments->json) return print_json(bundles);
    for (const Bundle& bundle : bundles) print(bundle);
  });
}

}  // namespace encore
