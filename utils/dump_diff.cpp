// encore-dump diff: what two traces, or two folders of bundles, differ in.
#include <encore/core/error.h>
#include <encore/utils/dump_compare.h>
#include <encore/utils/dump_verbs.h>
#include <fmt/format.h>

#include <memory>

namespace encore {
namespace {

namespace fs = std::filesystem;

struct Arguments {
  std::string first, second, third;
  bool json = false;
};

bool is_bundle(const fs::path& folder) { return fs::exists(folder / "key.txt"); }

Json compare(const Arguments& arguments) {
  const fs::path a = arguments.first, b = arguments.second;
  if (!arguments.third.empty())
    return compare_bundles(find_bundle(a, arguments.second), find_bundle(a, arguments.third));
  for (const fs::path& folder : {a, b})
    if (!fs::is_directory(folder)) throw Error("no folder " + folder.string(), {});
  if (is_bundle(a) && is_bundle(b)) return compare_bundles({0, a}, {0, b});
  if (is_bundle(a) != is_bundle(b))
    throw Error("one is a trace and the other a folder of traces", {}, "name two of the same kind");
  return compare_folders(a, b);
}

}  // namespace

void add_diff_verb(CLI::App& app, int& status) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* verb = app.add_subcommand(
      "diff", "nodes, kernels, memory and code of two traces; exits with 1 where they differ");
  verb->add_option("A", arguments->first, "a folder of bundles, or one trace's folder")->required();
  verb->add_option("B", arguments->second, "another such; or a trace of A")->required();
  verb->add_option("OTHER", arguments->third, "another trace of A");
  verb->add_flag("--json", arguments->json, "all that differs, as JSON");
  verb->callback([arguments, &status] {
    const Json result = compare(*arguments);
    fmt::print("{}", arguments->json
                         ? result.dump(2, ' ', false, Json::error_handler_t::replace) + "\n"
                         : comparison_text(result));
    if (!result["same"].get<bool>()) status = 1;
  });
}

}  // namespace encore
