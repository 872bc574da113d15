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
  for (const Bundle& bundle : encore::read_bundles(folder)) {
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
  for (const std::string& file : bundle.files("kernels")) {
    const bool named = name.empty() || file.starts_with("kernels/" + name + ".");
    if (named && (ending == "all" || file.ends_with("." + ending))) print_file(bundle, file);
  }
}

// The bundle's document; of kernels only those, or the one that is named.
void print_json(const Bundle& bundle, bool only_kernels, const std::string& name) {
  auto all = nlohmann::ordered_json::parse(bundle.text("trace.json"), nullptr, false);
  if (!all.is_object()) throw encore::Error(bundle.name() + " holds no trace.json", {});
  if (only_kernels) {
    auto kernels = std::move(all["kernels"]);
    all = nlohmann::ordered_json::array();
    for (auto& kernel : kernels)
      if (name.empty() || kernel["name"] == name) all.push_back(std::move(kernel));
  }
  fmt::print("{}\n", all.dump(1, ' ', false, nlohmann::json::error_handler_t::replace));
}

// The pass whose name ends so; by default the last.
std::string pass_text(const Bundle& bundle, const std::string& pass) {
  const auto passes = bundle.files("passes");
  for (auto file = passes.rbegin(); file != passes.rend(); ++file) {
    if (pass.empty() || file->ends_with("-" + pass + ".txt")) return bundle.text(*file);
  }
  throw encore::Error("no pass '" + pass + "' in " + bundle.name(), {});
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
  kernels_verb->add_option("NAME", name, "only this kernel");
  kernels_verb->add_option("--as", ending, "txt (the kernel), ll, s, micro, cu, ptx, sass or all");
  kernels_verb->add_flag("--json", json, "nodes, lines, buffers and figures as JSON");
  CLI::App* dot_verb = command("dot", "the graph for Graphviz");
  dot_verb->add_option("--pass", pass, "after this pass instead of the last");
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
  if (*dot_verb) fmt::print("{}", encore::to_dot(pass_text(bundle, pass)));
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
