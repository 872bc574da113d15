// encore-dump: reads the bundles that ENCORE_DUMP=DIR left.
#include <encore/core/error.h>
#include <encore/utils/bundle.h>
#include <encore/utils/dump_verbs.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

namespace {

using encore::Bundle;

std::string line(std::string text, int number) {
  for (; number > 0; --number) text.erase(0, text.find('\n') + 1);
  return text.substr(0, text.find('\n'));
}

void list(const std::string& folder) {
  for (const Bundle& bundle : encore::require_bundles(folder)) {
    const auto files = bundle.files("kernels");
    const auto kernels = std::count_if(
        files.begin(), files.end(), [](const std::string& file) { return file.ends_with(".txt"); });
    fmt::print("{}  {} passes, {} kernels, {}{}\n", bundle.name(), bundle.files("passes").size(),
               kernels, line(bundle.text("key.txt"), 1), bundle.finished() ? "" : ", FAILED");
  }
}

void print_file(const Bundle& bundle, const std::string& file) {
  const std::string text = bundle.text(file);
  if (!text.empty()) fmt::print("== {}\n{}", file, text);
}

// The graph as captured and as it was after the last pass, then the plan.
void show(const Bundle& bundle, bool all_passes) {
  print_file(bundle, "key.txt");
  print_file(bundle, "notes.txt");
  const auto passes = bundle.files("passes");
  for (const std::string& file : passes) {
    if (all_passes || file == passes.front() || file == passes.back()) print_file(bundle, file);
  }
  for (const char* file : {"memory-plan.txt", "aliases.txt", "program.txt", "stats.txt"})
    print_file(bundle, file);
}

void kernels(const Bundle& bundle, const std::string& name, const std::string& ending) {
  bool printed = false;
  const auto files = bundle.files("kernels");
  for (const std::string& kernel : bundle.kernels(name)) {
    for (const std::string& file : files) {
      if (!file.starts_with("kernels/" + kernel + ".")) continue;
      if (ending != "all" && !file.ends_with("." + ending)) continue;
      print_file(bundle, file);
      printed = true;
    }
  }
  if (!printed) throw encore::Error(fmt::format("no .{} of these kernels was kept", ending), {});
}

// The bundle's document; of kernels only those, or the one that is named.
void print_json(const Bundle& bundle, bool only_kernels, const std::string& name) {
  auto all = nlohmann::ordered_json::parse(bundle.text("trace.json"), nullptr, false);
  if (!all.is_object()) throw encore::Error(bundle.name() + " holds no trace.json", {});
  if (only_kernels) {
    const auto names = bundle.kernels(name);
    auto kernels = std::move(all["kernels"]);
    all = nlohmann::ordered_json::array();
    for (auto& kernel : kernels)
      if (std::ranges::count(names, kernel["name"].get<std::string>()))
        all.push_back(std::move(kernel));
  }
  fmt::print("{}\n", all.dump(1, ' ', false, nlohmann::json::error_handler_t::replace));
}

// The graph after the pass whose name ends so. Fusion only groups the nodes of the graph before it.
std::string dot(const Bundle& bundle, const std::string& pass) {
  std::string clusters, names;
  const auto passes = bundle.files("passes");
  for (auto file = passes.rbegin(); file != passes.rend(); ++file) {
    const bool groups = file->ends_with("-fused.txt");
    names = file->substr(file->find('-') + 1, file->rfind('.') - file->find('-') - 1) + " " + names;
    if (groups && (pass.empty() || pass == "fused")) {
      clusters = bundle.text(*file);
    } else if (!groups &&
               (pass.empty() || !clusters.empty() || file->ends_with("-" + pass + ".txt"))) {
      return encore::to_dot(bundle.text(*file), clusters);
    }
  }
  throw encore::Error("no pass '" + pass + "' in " + bundle.name(), {}, "there are: " + names);
}

int run(int argc, char** argv) {
  CLI::App app{"Reads the bundles that a program run with ENCORE_DUMP=DIR left in DIR."};
  app.footer("A TRACE is a number or the start of a key.");
  std::string folder, trace, name, ending = "txt", pass;
  bool all_passes = false, json = false;
  app.add_option("DIR", folder, "lists the traces of this folder");

  auto command = [&](const char* verb, const char* meaning) {
    CLI::App* added = app.add_subcommand(verb, meaning);
    added->add_option("DIR", folder)->required();
    added->add_option("TRACE", trace)->required();
    return added;
  };
  CLI::App* show_verb = command("show", "graph before and after, memory plan, program, statistics");
  show_verb->add_flag("--all", all_passes, "the graph after every pass");
  show_verb->add_flag("--json", json, "the trace as JSON; docs/dump-format.md");
  CLI::App* kernels_verb = command("kernels", "the kernels of a trace");
  kernels_verb->add_option("NAME", name,
                           "only this kernel: its name, number, or how its name starts");
  kernels_verb->add_option("--as", ending, "txt (the kernel), ll, s, micro, cu, ptx, sass or all")
      ->check(CLI::IsMember({"txt", "ll", "s", "micro", "cu", "ptx", "sass", "all"}));
  kernels_verb->add_flag("--json", json, "nodes, lines, buffers and figures as JSON");
  CLI::App* dot_verb = command("dot", "the graph for Graphviz, its kernels as boxes");
  dot_verb->add_option("--pass", pass, "after this pass: captured, simplified or fused");
  int status = 0;
  encore::add_cache_verb(app, status);
  encore::add_diff_verb(app, status);
  encore::add_html_verb(app, status);
  encore::add_run_verb(app, status);
  encore::add_why_verb(app, status);
  encore::add_fusion_verb(app, status);
  encore::add_syncs_verb(app, status);
  app.require_subcommand(0, 1);
  CLI11_PARSE(app, argc, argv);

  if (app.get_subcommands().empty()) {
    if (folder.empty()) return fmt::print("{}", app.help()), 2;
    return list(folder), 0;
  }
  if (!*show_verb && !*kernels_verb && !*dot_verb) return status;
  const Bundle bundle = encore::find_bundle(folder, trace);
  if (json) return print_json(bundle, bool(*kernels_verb), name), 0;
  if (*show_verb) show(bundle, all_passes);
  if (*kernels_verb) kernels(bundle, name, ending);
  if (*dot_verb) fmt::print("{}", dot(bundle, pass));
  return status;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    fmt::print(stderr, "encore-dump: {}\n", error.what());
    return 1;
  }
}
