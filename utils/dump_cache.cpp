// encore-dump cache: what the disk cache holds, whether it is sound, and packs of it.
#include <encore/cache/disk_store.h>
#include <encore/cache/entry_file.h>
#include <encore/cache/pack.h>
#include <encore/cache/private_folder.h>
#include <encore/cache/scan.h>
#include <encore/cache/sweep.h>
#include <encore/core/error.h>
#include <encore/core/settings.h>
#include <encore/utils/dump_verbs.h>
#include <encore/utils/table.h>
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <ctime>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <tuple>

namespace encore {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
using Answer = cache::EntryFile::Answer;

constexpr size_t shown_digits = 12, shown_first_line = 16, shown_key = 64;
constexpr int64_t day = 24 * 3600;

struct Arguments {
  std::string folder = cache::default_cache_folder();
  std::string kind, entry, other, file;
  int64_t bytes = settings().cache_disk_bytes;
  int64_t days = -1;
  bool json = false, all = false;
};

/// A file of the cache that was read; without a problem it is a good entry.
struct Row {
  cache::StoredFile file;
  std::string problem, kind, key;
  int64_t payload = 0;
  int64_t unused = 0;  // seconds
};

class Cache {
 public:
  explicit Cache(const std::string& folder) {
    if (folder.empty()) throw Error("there is no home folder", {}, "name the cache by --dir");
    auto opened = cache::open_private_folder(calls_, fs::absolute(folder), false);
    if (!opened.problem.empty()) throw Error("the cache is not used: " + opened.problem, {});
    descriptor_ = std::move(opened.descriptor);  // none: nothing was ever kept
  }
  /// Entries by their names, and then what writers left.
  std::vector<Row> rows() {
    std::vector<Row> rows;
    if (!descriptor_) return rows;
    timespec now;
    ::clock_gettime(CLOCK_REALTIME, &now);
    for (cache::StoredFile& file : cache::scan(calls_, descriptor_)) {
      Row row{.unused = std::max<int64_t>(file.seconds_unused(now), 0)};
      if (file.digits.empty()) {
        row.problem = "a temporary file";
      } else {
        cache::EntryFile read = cache::read_entry_file(calls_, descriptor_, file.path);
        if (read.answer == Answer::absent) continue;
        row.problem = read.problem;
        if (read.entry) {
          row.kind = std::move(read.entry->kind);
          row.key = std::move(read.entry->key);
          row.payload = read.entry->payload.size();
        }
      }
      row.file = std::move(file);
      rows.push_back(std::move(row));
    }
    return rows;
  }
  bool remove(const cache::StoredFile& file) {
    return calls_.remove(descriptor_.get(), file.path.c_str(), file.folder) == 0;
  }
  cache::Sweep sweep(cache::SweepLimits limits) {
    return descriptor_ ? cache::sweep(calls_, descriptor_, limits) : cache::Sweep{.ran = true};
  }

 private:
  cache::FileCalls calls_;
  cache::Descriptor descriptor_;
};

bool is_temporary(const Row& row) { return row.file.digits.empty(); }
bool is_bad(const Row& row) { return !row.problem.empty() && !is_temporary(row); }

std::string age(int64_t seconds) {
  if (seconds < 120) return fmt::format("{} s", seconds);
  if (seconds < 2 * 3600) return fmt::format("{} min", seconds / 60);
  if (seconds < 2 * day) return fmt::format("{} h", seconds / 3600);
  return fmt::format("{} days", seconds / day);
}

// Bytes that do not print become dots.
std::string printable(std::string text, bool keep_lines) {
  for (char& byte : text)
    if (!std::isprint(static_cast<unsigned char>(byte)) && !(keep_lines && byte == '\n'))
      byte = byte == '\n' ? ' ' : '.';
  return text;
}

// The first line says who made it, mostly the same for all; what it is stands below.
std::string brief(std::string key) {
  const size_t first = std::min(key.find('\n'), key.size());
  if (first > shown_first_line) key.replace(shown_first_line, first - shown_first_line, "...");
  key = printable(std::move(key), false);
  key.erase(
      std::unique(key.begin(), key.end(), [](char a, char b) { return a == ' ' && b == ' '; }),
      key.end());
  return key.substr(0, shown_key);
}

Json to_json(const Row& row) {
  Json json = {{"entry", row.file.digits}};
  if (row.problem.empty()) {
    json.update({{"kind", row.kind}, {"key", row.key}, {"payload_bytes", row.payload}});
  } else {
    json["problem"] = row.problem;
  }
  json.update({{"file_bytes", row.file.size}, {"seconds_unused", row.unused}});
  return json;
}

void print(const Json& json) {
  fmt::print("{}\n", json.dump(1, ' ', false, Json::error_handler_t::replace));
}

void list(const Arguments& arguments) {
  std::vector<Row> rows = Cache(arguments.folder).rows();
  std::erase_if(rows, [&](const Row& row) {
    return is_temporary(row) || (!arguments.kind.empty() && row.kind != arguments.kind);
  });
  std::sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) {
    return std::tie(a.unused, a.file.digits) < std::tie(b.unused, b.file.digits);
  });
  if (arguments.json) {
    Json all = Json::array();
    for (const Row& row : rows) all.push_back(to_json(row));
    return print(all);
  }
  Table table({"entry", "kind", "bytes", "on disk", "unused for", "key"});
  for (const Row& row : rows)
    table.add_row({row.file.digits.substr(0, shown_digits), is_bad(row) ? "(bad)" : row.kind,
                   is_bad(row) ? "" : fmt::format("{}", row.payload),
                   fmt::format("{}", row.file.size), age(row.unused),
                   is_bad(row) ? row.problem : brief(row.key)});
  fmt::print("{}", table.text());
}

void stats(const Arguments& arguments) {
  struct Sum {
    int64_t entries = 0, payload = 0, files = 0, disk = 0;
  };
  std::map<std::string, Sum> kinds;
  Sum total;
  for (const Row& row : Cache(arguments.folder).rows()) {
    const std::string kind = is_temporary(row) ? "(being written)"
                             : is_bad(row)     ? "(bad)"
                                               : row.kind;
    for (Sum* sum : {&kinds[kind], &total}) {
      ++sum->entries;
      sum->payload += row.payload;
      sum->files += row.file.size;
      sum->disk += row.file.disk_bytes;
    }
  }
  if (arguments.json) {
    Json json = {{"folder", arguments.folder}, {"budget_bytes", arguments.bytes}};
    for (const auto& [kind, sum] : kinds)
      json["kinds"][kind] = {{"entries", sum.entries},
                             {"payload_bytes", sum.payload},
                             {"file_bytes", sum.files},
                             {"disk_bytes", sum.disk}};
    return print(json);
  }
  Table table({"kind", "entries", "bytes", "compressed", "on disk"});
  auto add = [&](const std::string& kind, const Sum& sum) {
    table.add_row({kind, fmt::format("{}", sum.entries), fmt::format("{}", sum.payload),
                   fmt::format("{}", sum.files), fmt::format("{}", sum.disk)});
  };
  for (const auto& [kind, sum] : kinds) add(kind, sum);
  add("all", total);
  fmt::print("{}\n{}of at most {}\n", arguments.folder, table.text(), arguments.bytes);
}

int verify(const Arguments& arguments) {
  int64_t good = 0, bad = 0;
  for (const Row& row : Cache(arguments.folder).rows()) {
    if (is_temporary(row)) continue;
    ++(is_bad(row) ? bad : good);
    if (is_bad(row)) fmt::print("{}: {}\n", row.file.path, row.problem);
  }
  fmt::print("{} good, {} bad\n", good, bad);
  return bad != 0;
}

const Row& find(const std::vector<Row>& rows, const std::string& digits) {
  const Row* found = nullptr;
  for (const Row& row : rows) {
    if (is_temporary(row) || !row.file.digits.starts_with(digits)) continue;
    if (found) throw Error("more than one entry starts with '" + digits + "'", {});
    found = &row;
  }
  if (!found) throw Error("no entry starts with '" + digits + "'", {}, "list shows them");
  return *found;
}

std::string line_at(const std::string& text, size_t at) {
  const size_t from = at == 0 ? 0 : text.rfind('\n', at - 1) + 1;  // npos + 1 is 0
  return printable(text.substr(from, std::min(text.find('\n', at), text.size()) - from), false);
}

void print_difference(const std::string& a, const std::string& b) {
  const size_t at = std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin();
  if (a == b) return fmt::print("the keys are the same\n");
  fmt::print("the keys first differ in line {}:\n- {}\n+ {}\n",
             1 + std::count(a.begin(), a.begin() + at, '\n'), line_at(a, at), line_at(b, at));
}

void explain(const Arguments& arguments) {
  const std::vector<Row> rows = Cache(arguments.folder).rows();
  const Row& row = find(rows, arguments.entry);
  fmt::print("{}\nunused for {}, {} bytes, {} on disk\n", row.file.path, age(row.unused),
             row.file.size, row.file.disk_bytes);
  if (is_bad(row)) return fmt::print("bad: {}\n", row.problem);
  fmt::print("good: a {} of {} bytes under a key of {} bytes\n", row.kind, row.payload,
             row.key.size());
  if (arguments.other.empty()) return fmt::print("{}\n", printable(row.key, true));
  const Row& other = find(rows, arguments.other);
  if (is_bad(other)) throw Error(other.file.path + " is bad: " + other.problem, {});
  if (row.kind != other.kind) fmt::print("the other is a {}\n", other.kind);
  print_difference(row.key, other.key);
}

// What cannot be used goes first, then what was long unused, then what is over the budget.
void prune(const Arguments& arguments) {
  Cache cache(arguments.folder);
  int64_t removed = 0;
  for (const Row& row : cache.rows()) {
    const bool old = arguments.days >= 0 && row.unused >= arguments.days * day;
    if (is_bad(row) || (!is_temporary(row) && (arguments.all || old)))
      removed += cache.remove(row.file);
  }
  const cache::Sweep swept =
      cache.sweep({.bytes = arguments.bytes, .files = cache::DiskOptions().budget_files});
  if (!swept.ran) throw Error("another process is sweeping", {}, "try again");
  fmt::print("{} files removed; {} are kept, {} bytes on disk\n", removed + swept.removed_files,
             swept.kept_files, swept.kept_bytes);
}

int report(const cache::PackReport& report, const char* verb) {
  fmt::print("{} entries {}, {} bytes; {} left out because they are bad\n", report.entries, verb,
             report.bytes, report.rejected);
  return report.rejected != 0;
}

int export_to(const Arguments& arguments) {
  // Kernels refer to code that they share.
  const auto wanted = [&](const cache::Entry& entry) {
    return entry.kind == arguments.kind || (arguments.kind == "kernel" && entry.kind == "code");
  };
  if (arguments.kind.empty())
    return report(cache::export_pack(arguments.folder, arguments.file), "exported");
  return report(cache::export_pack(arguments.folder, arguments.file, wanted), "exported");
}

int import_from(const Arguments& arguments) {
  cache::DiskStore store({.folder = arguments.folder, .budget_bytes = arguments.bytes});
  return report(cache::import_pack(store, arguments.file), "imported");
}

}  // namespace

void add_cache_verb(CLI::App& app, int& status) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* verb = app.add_subcommand("cache", "the disk cache: its entries, packs of them");
  verb->require_subcommand(1);
  auto add = [&](const char* name, const char* meaning, std::function<int()> work) {
    CLI::App* added = verb->add_subcommand(name, meaning);
    added->add_option("--dir", arguments->folder, "the cache's folder")->capture_default_str();
    added->callback([work, &status] { status = work(); });
    return added;
  };
  auto quietly = [arguments](void (*work)(const Arguments&)) {
    return [arguments, work] { return work(*arguments), 0; };
  };
  auto asking = [arguments](int (*work)(const Arguments&)) {
    return [arguments, work] { return work(*arguments); };
  };
  auto kind = [&](CLI::App* to) { to->add_option("--kind", arguments->kind, "only these"); };
  auto json = [&](CLI::App* to) { to->add_flag("--json", arguments->json); };
  auto bytes = [&](CLI::App* to) {
    to->add_option("--bytes", arguments->bytes, "the budget")->capture_default_str();
  };

  CLI::App* list_verb = add("list", "all entries, the last used first", quietly(list));
  kind(list_verb), json(list_verb);
  json(add("stats", "how much there is, by kind", quietly(stats)));
  add("verify", "reads every entry; exits with 1 if one is bad", asking(verify));
  CLI::App* explain_verb = add(
      "explain", "one entry: its whole key, or how it differs from another's", quietly(explain));
  explain_verb->add_option("ENTRY", arguments->entry, "how its name starts")->required();
  explain_verb->add_option("OTHER", arguments->other, "another, whose key is compared");
  CLI::App* prune_verb =
      add("prune", "removes what is bad, and what passes the budget", quietly(prune));
  bytes(prune_verb);
  prune_verb->add_option("--days", arguments->days, "and what was not used for so long");
  prune_verb->add_flag("--all", arguments->all, "and everything else");
  CLI::App* export_verb = add("export", "writes the entries into a pack", asking(export_to));
  export_verb->add_option("FILE", arguments->file)->required();
  kind(export_verb);
  CLI::App* import_verb = add("import", "adds a pack's entries", asking(import_from));
  import_verb->add_option("FILE", arguments->file)->required();
  bytes(import_verb);
}

}  // namespace encore
