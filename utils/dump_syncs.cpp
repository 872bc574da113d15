// encore-dump syncs: which lines asked for values, and how often.
#include <encore/utils/bundle.h>
#include <encore/utils/dump_verbs.h>
#include <encore/utils/sync_log.h>
#include <encore/utils/table.h>
#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>

namespace encore {
namespace {

struct Arguments {
  std::string folder;
  bool json = false;
};

void print(const std::vector<SyncCount>& syncs) {
  Table table({"syncs", "kind", "nodes each", "line"});
  for (const SyncCount& one : syncs)
    table.add_row({std::to_string(one.count), one.kind,
                   fmt::format("{:.1f}", double(one.nodes) / double(one.count)), one.place});
  fmt::print("{}", table.text());
}

void print_json(const std::vector<SyncCount>& syncs) {
  auto all = nlohmann::ordered_json::array();
  for (const SyncCount& one : syncs)
    all.push_back(
        {{"kind", one.kind}, {"where", one.place}, {"count", one.count}, {"nodes", one.nodes}});
  fmt::print("{}\n", all.dump(1));
}

}  // namespace

void add_syncs_verb(CLI::App& app, int&) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* verb = app.add_subcommand("syncs", "which lines asked for a sync, and how often");
  verb->add_option("DIR", arguments->folder)->required();
  verb->add_flag("--json", arguments->json, "the same as JSON");
  verb->callback([arguments] {
    require_bundles(arguments->folder);
    const auto syncs = read_syncs(std::filesystem::path(arguments->folder) / "syncs.txt");
    arguments->json ? print_json(syncs) : print(syncs);
  });
}

}  // namespace encore
