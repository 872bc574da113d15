#include <encore/core/error.h>
#include <encore/utils/bundle.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <optional>
#include <regex>
#include <sstream>

namespace encore {
namespace {

namespace fs = std::filesystem;

// What a listing is called in a pass event, and the ending of its file.
constexpr std::pair<std::string_view, std::string_view> endings[] = {
    {"kernel", ".txt"}, {"llvm", ".ll"}, {"assembly", ".s"},
    {"cuda", ".cu"},    {"ptx", ".ptx"}, {"sass", ".sass"}};

std::string ending_of(std::string_view listing) {
  for (const auto& [name, ending] : endings) {
    if (name == listing) return std::string(ending);
  }
  return "." + std::string(listing);
}

/// "4-matmul_add" -> 4: kernels are listed under their launch.
uint32_t launch_of(const std::string& name) {
  return uint32_t(std::strtoul(name.c_str(), nullptr, 10));
}

std::string file_name(std::string_view name) {
  std::string safe(name.substr(0, 120));
  for (char& c : safe) {
    if (!std::isalnum(static_cast<unsigned char>(c)) && c != '-' && c != '_') c = '_';
  }
  return safe;
}

void write(const fs::path& path, std::string_view text, std::ios::openmode mode = std::ios::trunc) {
  fs::create_directories(path.parent_path());
  std::ofstream stream(path, std::ios::out | mode);
  stream << text;
  if (!text.empty() && text.back() != '\n') stream << '\n';
  stream.close();
  if (!stream) throw std::runtime_error("cannot write " + path.string());
}

std::string place(const Location& where) {
  return where.line == 0 ? "unknown" : fmt::format("{}:{}", where.file, where.line);
}

/// Events that explain themselves say it in a line, then add what tools read.
std::string first_line(std::string_view text) {
  return std::string(text.substr(0, text.find('\n')));
}

std::string note(const Event& event) {
  switch (event.kind) {
    case EventKind::miss:
      return fmt::format("miss: {} at {} {}", event.name, place(event.where),
                         first_line(event.text));
    case EventKind::fusion_refusal:
      return fmt::format("not fused: {} at {} {}", event.name, place(event.where),
                         first_line(event.text));
    case EventKind::compile:
      return event.value == 0
                 ? fmt::format("compiled {}", event.name)
                 : fmt::format("compiled {} in {:.3f} ms", event.name, double(event.value) * 1e-6);
    default:
      return {};
  }
}

// "0012-1a2b3c4d" -> 12; other names -> nothing.
std::optional<int> number_of(const std::string& name) {
  int number = 0;
  const size_t dash = name.find('-');
  if (dash == std::string::npos) return {};
  const auto [end, error] = std::from_chars(name.data(), name.data() + dash, number);
  if (error != std::errc() || end != name.data() + dash) return {};
  return number;
}

}  // namespace

BundleWriter::BundleWriter(fs::path root) : root_(std::move(root)), syncs_(root_ / "syncs.txt") {
  for (const Bundle& bundle : read_bundles(root_)) {
    last_number_ = std::max(last_number_, bundle.number);
  }
}

void BundleWriter::write_miss(const fs::path& folder, const Event& event) {
  write(folder / "miss.txt",
        fmt::format("{} at {}\n{}", event.name, place(event.where), event.text), std::ios::app);
  write(folder / "notes.txt", note(event), std::ios::app);
}

void BundleWriter::begin(const Event& event) {
  fs::create_directories(root_);
  const std::string prefix = file_name(event.text.substr(0, 8));
  fs::path folder;
  do {  // another process may write here too
    folder = root_ / fmt::format("{:04}-{}", ++last_number_, prefix);
  } while (!fs::create_directory(folder));
  write(folder / "key.txt", fmt::format("{}\nsync at {}", event.text, place(event.where)));
  Open& open = open_[std::this_thread::get_id()] = {folder};
  if (auto miss = misses_.extract(std::this_thread::get_id())) {
    const auto& [reason, text, file, line] = miss.mapped();
    write_miss(folder, {EventKind::miss, reason, text, 0, {file.c_str(), line}});
    open.document.add(std::move(miss.mapped()));
  }
}

void BundleWriter::take(const Event& event) {
  if (event.kind == EventKind::sync) return syncs_.add(event);
  if (event.kind == EventKind::pass && event.name == "begin") return begin(event);
  const auto open = open_.find(std::this_thread::get_id());
  if (open == open_.end()) {
    if (event.kind == EventKind::miss)
      misses_.insert_or_assign(std::this_thread::get_id(), BundleDocument::Miss(event));
    return;
  }
  open->second.document.take(event);
  if (event.kind == EventKind::miss) return write_miss(open->second.folder, event);
  if (event.kind == EventKind::pass) {
    take_pass(open->second, event);
    if (event.name == "end") open_.erase(open);
  } else if (const std::string line = note(event); !line.empty()) {
    write(open->second.folder / "notes.txt", line, std::ios::app);
  }
}

void BundleWriter::take_pass(Open& open, const Event& event) {
  const size_t colon = event.name.find(':');
  if (colon != std::string_view::npos) {
    const std::string name = file_name(event.name.substr(colon + 1));
    const std::string_view listing = event.name.substr(0, colon);
    const std::string file = "kernels/" + name + ending_of(listing);
    write(open.folder / file, event.text);
    open.document.add_listing(launch_of(name), std::string(listing), file);
  } else if (event.name == "trace-part" || event.name == "trace") {
    open.document.write(open.folder / "trace.json", event.text, event.name == "trace");
  } else if (event.name == "end") {
    open.document.finish(open.folder / "trace.json");
    write(open.folder / "stats.txt", event.text);
  } else if (event.name == "memory-plan" || event.name == "aliases" || event.name == "program") {
    write(open.folder / fmt::format("{}.txt", event.name), event.text);
  } else {
    const std::string name = fmt::format("{:02}-{}.txt", ++open.passes, file_name(event.name));
    write(open.folder / "passes" / name, event.text);
  }
}

std::string Bundle::text(const std::string& file) const {
  std::ifstream stream(folder / file);
  std::ostringstream all;
  all << stream.rdbuf();
  return all.str();
}

std::vector<std::string> Bundle::files(const std::string& subfolder) const {
  std::vector<std::string> names;
  if (!fs::is_directory(folder / subfolder)) return names;
  for (const auto& entry : fs::directory_iterator(folder / subfolder)) {
    names.push_back(subfolder + "/" + entry.path().filename().string());
  }
  const size_t begin = subfolder.size() + 1;
  std::sort(names.begin(), names.end(), [&](const std::string& a, const std::string& b) {
    return std::pair(launch_of(a.substr(begin)), a) < std::pair(launch_of(b.substr(begin)), b);
  });
  return names;
}

std::vector<std::string> Bundle::kernels(const std::string& which) const {
  std::vector<std::string> all, alike;
  for (const std::string& file : files("kernels")) {
    const fs::path path = file;
    const std::string stem = path.stem().string();
    if (path.extension() != ".txt") continue;
    if (stem == which || stem.substr(0, stem.find('-')) == which) return {stem};
    if (stem.starts_with(which)) alike.push_back(stem);
    all.push_back(stem);
  }
  if (which.empty() || alike.size() == 1) return alike;
  throw Error(fmt::format("{} kernels of {} are called '{}'", alike.size(), name(), which), {},
              fmt::format("name one of:\n  {}", fmt::join(alike.empty() ? all : alike, "\n  ")));
}

std::vector<Bundle> read_bundles(const fs::path& root) {
  std::vector<Bundle> bundles;
  if (!fs::is_directory(root)) return bundles;
  for (const auto& entry : fs::directory_iterator(root)) {
    const auto number = number_of(entry.path().filename().string());
    if (number && entry.is_directory()) bundles.push_back({*number, entry.path()});
  }
  std::sort(bundles.begin(), bundles.end(), [](const Bundle& a, const Bundle& b) {
    return std::pair(a.number, a.folder) < std::pair(b.number, b.folder);
  });
  return bundles;
}

std::vector<Bundle> require_bundles(const fs::path& root) {
  std::vector<Bundle> bundles = read_bundles(root);
  if (bundles.empty())
    throw Error("there are no traces in " + root.string(), {},
                "run a program with ENCORE_DUMP=" + root.string());
  return bundles;
}

Bundle find_bundle(const fs::path& root, const std::string& which) {
  std::vector<Bundle> found, by_key;
  std::string names;
  for (const Bundle& bundle : require_bundles(root)) {
    const std::string name = bundle.name(), key = name.substr(name.find('-') + 1);
    names += "\n  " + name;
    if (which == std::to_string(bundle.number) || which == name) found.push_back(bundle);
    if (key.starts_with(which)) by_key.push_back(bundle);
  }
  if (found.empty()) found = std::move(by_key);
  if (found.size() == 1) return found[0];
  throw Error(fmt::format("{} traces of {} are called '{}'", found.size(), root.string(), which),
              {}, "name one of:" + names);
}

std::string to_dot(std::string_view listing, std::string_view clusters) {
  static const std::regex definition(R"(\s*(%\w+) = (.*))"), use(R"(%\w+)"),
      cluster(R"((cluster (\d+) over .*?): (.*))");
  std::string dot = "digraph trace {\n  node [shape=box, fontname=monospace];\n";
  std::istringstream lines{std::string(listing)};
  std::smatch match;
  for (std::string line; std::getline(lines, line);) {
    if (!std::regex_match(line, match, definition)) continue;
    const std::string name = match[1], body = match[2];
    std::string label = std::regex_replace(body, std::regex(R"(%\w+\s*)"), "");
    label = std::regex_replace(label, std::regex(R"(["\\])"), "\\$&");
    dot += fmt::format("  \"{0}\" [label=\"{0} {1}\"];\n", name, label);
    for (std::sregex_iterator it(body.begin(), body.end(), use), end; it != end; ++it) {
      dot += fmt::format("  \"{}\" -> \"{}\";\n", it->str(), name);
    }
  }
  std::istringstream boxes{std::string(clusters)};
  for (std::string line; std::getline(boxes, line);) {
    if (!std::regex_match(line, match, cluster)) continue;
    const std::string title = match[1], number = match[2], members = match[3];
    dot += fmt::format("  subgraph cluster_{} {{\n    label=\"{}\";\n   ", number, title);
    for (std::sregex_iterator it(members.begin(), members.end(), use), end; it != end; ++it)
      dot += fmt::format(" \"{}\";", it->str());
    dot += "\n  }\n";
  }
  return dot + "}\n";
}

}  // namespace encore
