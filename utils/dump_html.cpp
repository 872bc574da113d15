// encore-dump html: the report of a folder of bundles, or of one trace.
#include <encore/core/error.h>
#include <encore/utils/dump_report.h>
#include <encore/utils/dump_verbs.h>
#include <fmt/format.h>

#include <fstream>
#include <memory>

namespace encore {
namespace {

struct Arguments {
  std::string folder, trace, out = "report.html";
  std::vector<std::string> sources;
  bool data_only = false;
};

void write_report(const Arguments& arguments) {
  ReportSource source{.folder = arguments.folder};
  source.source_folders.assign(arguments.sources.begin(), arguments.sources.end());
  if (arguments.trace.empty())
    source.bundles = require_bundles(arguments.folder);
  else
    source.bundles = {find_bundle(arguments.folder, arguments.trace)};
  std::vector<std::string> unread;
  const std::string text =
      arguments.data_only ? report_json(source, &unread) : report_html(source, &unread);
  if (arguments.out == "-") {
    fmt::print("{}", text);
    return;
  }
  std::ofstream stream(arguments.out, std::ios::binary);
  stream << text;
  stream.close();
  if (!stream) throw Error("cannot write " + arguments.out, {});
  fmt::print("{}: {} traces, {} KiB\n", arguments.out, source.bundles.size(), text.size() >> 10);
  for (const std::string& file : unread)
    fmt::print(stderr, "encore-dump: {} cannot be read; say --source FOLDER to see its lines\n",
               file);
}

}  // namespace

void add_html_verb(CLI::App& app, int&) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* verb = app.add_subcommand("html", "a report for the browser, in one file");
  verb->add_option("DIR", arguments->folder)->required();
  verb->add_option("TRACE", arguments->trace, "only this one");
  verb->add_option("-o,--out", arguments->out, "the file; -: standard output")
      ->capture_default_str();
  verb->add_option("--source", arguments->sources, "folders where source files are looked for");
  verb->add_flag("--data", arguments->data_only, "only the JSON that the report shows");
  verb->callback([arguments] { write_report(*arguments); });
}

}  // namespace encore
