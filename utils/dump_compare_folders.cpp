#include <encore/utils/dump_compare.h>
#include <fmt/format.h>

#include <algorithm>
#include <optional>

namespace encore {
namespace {

struct Known {
  Bundle bundle;
  std::string key, place;  // both lines of key.txt
  bool paired = false;
};

std::vector<Known> read_known(const std::filesystem::path& folder) {
  std::vector<Known> all;
  for (Bundle& bundle : read_bundles(folder)) {
    const std::string text = bundle.text("key.txt");
    const size_t end = text.find('\n');
    all.push_back({std::move(bundle), text.substr(0, end),
                   end == std::string::npos ? "" : text.substr(end + 1)});
  }
  return all;
}

std::string numbers(const Json& pair) {
  return fmt::format("{} -> {}", pair[0].dump(), pair[1].dump());
}

void put_nodes(std::string& text, const Json& nodes) {
  for (const Json& node : nodes["removed"]) text += "- " + node["text"].get<std::string>() + "\n";
  for (const Json& node : nodes["added"]) text += "+ " + node["text"].get<std::string>() + "\n";
  for (const Json& node : nodes["changed"])
    text += fmt::format("- {}\n+ {}\n", node["text_a"].get<std::string>(),
                        node["text_b"].get<std::string>());
}

void put_kernels(std::string& text, const Json& kernels) {
  const auto facts = [](const Json& kernel) {
    return fmt::format("{}: {} bytes, {} flops, {} instructions", kernel["name"].get<std::string>(),
                       kernel["bytes"].get<int64_t>(), kernel["flops"].get<int64_t>(),
                       kernel["instructions"].get<int64_t>());
  };
  for (const Json& kernel : kernels["removed"]) text += "- kernel " + facts(kernel) + "\n";
  for (const Json& kernel : kernels["added"]) text += "+ kernel " + facts(kernel) + "\n";
  for (const Json& kernel : kernels["changed"]) {
    text += fmt::format("kernel {} -> {}\n", kernel["a"].get<std::string>(),
                        kernel["b"].get<std::string>());
    for (const char* name : {"bytes", "flops", "instructions", "segments"})
      if (kernel.contains(name)) text += fmt::format("  {}: {}\n", name, numbers(kernel[name]));
    if (!kernel.contains("code")) continue;
    for (const auto& [kind, lines] : kernel["code"].items()) {
      text += fmt::format("  {}: {} lines differ\n", kind, lines.size());
      if (kind != "kernel") continue;  // what follows from it is in the JSON
      for (const Json& line : lines) text += "    " + line.get<std::string>() + "\n";
    }
  }
}

std::string trace_text(const Json& trace) {
  std::string text = fmt::format("== {} and {}{}\n", trace["a"].get<std::string>(),
                                 trace["b"].get<std::string>(), trace["same"] ? ": the same" : "");
  if (trace.contains("texts")) {
    for (const auto& [file, lines] : trace["texts"].items()) {
      text += file + "\n";
      for (const Json& line : lines) text += line.get<std::string>() + "\n";
    }
    return text;
  }
  for (const auto& [name, pair] : trace["header"].items())
    text += fmt::format("{}: {}\n", name, numbers(pair));
  put_nodes(text, trace["nodes"]);
  put_kernels(text, trace["kernels"]);
  for (const auto& [name, pair] : trace["memory"].items())
    text += fmt::format("memory {}: {}\n", name, numbers(pair));
  return text;
}

}  // namespace

Json compare_folders(const std::filesystem::path& a, const std::filesystem::path& b) {
  std::vector<Known> from = read_known(a), to = read_known(b);
  Json result = {{"format", 1}, {"a", a.string()}, {"b", b.string()}, {"same", true}};
  result["only_a"] = result["only_b"] = result["traces"] = Json::array();
  std::vector<std::pair<size_t, size_t>> pairs;
  for (const auto member : {&Known::key, &Known::place})
    for (size_t i = 0; i < from.size(); ++i) {
      const auto partner = std::find_if(to.begin(), to.end(), [&](const Known& other) {
        return !other.paired && other.*member == from[i].*member;
      });
      if (from[i].paired || partner == to.end()) continue;
      from[i].paired = partner->paired = true;
      pairs.push_back({i, size_t(partner - to.begin())});
    }
  std::sort(pairs.begin(), pairs.end());
  for (const auto& [i, j] : pairs)
    result["traces"].push_back(compare_bundles(from[i].bundle, to[j].bundle));
  for (const Known& known : from)
    if (!known.paired) result["only_a"].push_back(known.bundle.name());
  for (const Known& known : to)
    if (!known.paired) result["only_b"].push_back(known.bundle.name());
  result["same"] = result["only_a"].empty() && result["only_b"].empty() &&
                   std::all_of(result["traces"].begin(), result["traces"].end(),
                               [](const Json& trace) { return trace["same"].get<bool>(); });
  return result;
}

std::string comparison_text(const Json& comparison) {
  if (!comparison.contains("traces")) return trace_text(comparison);
  std::string text;
  for (const Json& trace : comparison["traces"]) text += trace_text(trace);
  for (const char* side : {"a", "b"})
    for (const Json& name : comparison[std::string("only_") + side])
      text += fmt::format("only in {}: {}\n", comparison[side].get<std::string>(),
                          name.get<std::string>());
  return text;
}

}  // namespace encore
