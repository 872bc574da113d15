// encore-dump why: why each trace was compiled, in order.
#include <encore/utils/bundle.h>
#include <encore/utils/dump_verbs.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>

namespace encore {
namespace {

using Json = nlohmann::ordered_json;

struct Arguments {
  std::string folder;
  bool json = false;
};

/// The lines of miss.txt that are JSON: the trace's, then those of its kernels.
std::vector<Json> misses_of(const Bundle& bundle) {
  std::vector<Json> misses;
  std::istringstream lines(bundle.text("miss.txt"));
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with('{'))
      if (Json json = Json::parse(line, nullptr, false); json.is_object())
        misses.push_back(std::move(json));
  return misses;
}

std::string text(const Json& miss, const char* field) {
  auto found = miss.find(field);
  return found != miss.end() && found->is_string() ? found->get<std::string>() : "unknown";
}

using Counts = std::map<std::string, int>;

std::string shown(const Counts& counts) {
  std::vector<std::string> parts;
  for (const auto& [reason, count] : counts) parts.push_back(fmt::format("{} {}", count, reason));
  return fmt::format("{}", fmt::join(parts, ", "));
}

void print(const Bundle& bundle, Counts& reasons) {
  Counts kernels;
  bool told = false;
  for (const Json& miss : misses_of(bundle)) {
    if (text(miss, "subject") == "kernel") {
      ++kernels[text(miss, "reason")];
      continue;
    }
    told = true;
    ++reasons[text(miss, "reason")];
    fmt::print("{}  {} at {}\n    {}\n    advice: {}\n", bundle.name(), text(miss, "reason"),
               text(miss, "where"), text(miss, "explanation"), text(miss, "advice"));
  }
  if (!told) fmt::print("{}  no reason was written\n", bundle.name());
  if (!kernels.empty()) fmt::print("    kernels compiled: {}\n", shown(kernels));
}

void print_json(const std::vector<Bundle>& bundles) {
  Json all = Json::array();
  for (const Bundle& bundle : bundles) {
    Json one = {{"number", bundle.number}, {"name", bundle.name()}, {"miss", nullptr}};
    one["kernels"] = Json::array();
    for (Json& miss : misses_of(bundle)) {
      if (text(miss, "subject") == "kernel")
        one["kernels"].push_back(std::move(miss));
      else
        one["miss"] = std::move(miss);
    }
    all.push_back(std::move(one));
  }
  fmt::print("{}\n", all.dump(1));
}

}  // namespace

void add_why_verb(CLI::App& app, int&) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* verb = app.add_subcommand("why", "why each trace was compiled");
  verb->add_option("DIR", arguments->folder)->required();
  verb->add_flag("--json", arguments->json, "the same as JSON");
  verb->callback([arguments] {
    const std::vector<Bundle> bundles = require_bundles(arguments->folder);
    if (arguments->json) return print_json(bundles);
    Counts reasons;
    for (const Bundle& bundle : bundles) print(bundle, reasons);
    fmt::print("{} traces: {}\n", bundles.size(), shown(reasons));
  });
}

}  // namespace encore
