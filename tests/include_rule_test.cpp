// Does every #include of the tree follow the table of folders, and does the umbrella stay light?
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <vector>

namespace {

namespace fs = std::filesystem;
using Names = std::set<std::string>;

// Folder -> what it may include: a folder, or one file of a folder. Its own files always.
const std::map<std::string, Names> allowed = {
    {"core", {}},
    {"cache", {"core"}},
    {"lazy", {"core"}},
    {"jit", {"core", "lazy/dtype.h", "lazy/instruction.h", "lazy/buffer.h"}},
    {"trace", {"core", "cache", "lazy", "jit"}},
    {"autograd", {"core", "lazy"}},
    {"nn", {"core", "lazy", "autograd"}},
    {"optim", {"core", "lazy", "autograd"}},
    {"utils", {"core", "cache", "lazy", "jit", "trace", "autograd", "nn", "optim"}},
    {"encore.h", {"core", "cache", "lazy", "trace", "autograd", "nn", "optim", "utils"}},
    {"examples",
     {"encore.h", "core", "cache", "lazy", "trace", "autograd", "nn", "optim", "utils"}},
    {"bench", {"encore.h", "core", "cache", "lazy", "trace", "autograd", "nn", "optim", "utils"}},
    {"tests",
     {"encore.h", "core", "cache", "lazy", "jit", "trace", "autograd", "nn", "optim", "utils"}},
};
const Names public_folders = {"core", "cache", "lazy",  "trace",   "autograd",
                              "nn",   "optim", "utils", "encore.h"};
const std::regex foreign(
    "(llvm|llvm-c|asmjit|tbb|oneapi)/.*|(cuda|nvrtc|cublas|cudnn|nccl|zstd).*");
const int deepest_chain = 8;
const size_t most_lines = 600;

struct File {
  std::vector<std::string> own;     // "lazy/tensor.h": what <encore/…> names
  std::vector<std::string> others;  // all other includes, quoted ones with their quotes
  size_t lines = 0;
};
using Tree = std::map<std::string, File>;

std::string folder_of(const std::string& path) { return path.substr(0, path.find('/')); }
bool is_header(const std::string& path) {
  return path.ends_with(".h") || path.ends_with(".inc") || path.ends_with(".def");
}

File parse(const fs::path& path) {
  static const std::regex include(R"(^\s*#\s*include\s*([<"])([^>"]+)[>"].*)");
  File file;
  std::ifstream stream(path);
  std::smatch match;
  for (std::string line; std::getline(stream, line); ++file.lines) {
    if (!std::regex_match(line, match, include)) continue;
    const std::string name = match[2];
    if (match[1] == "\"") {  // a file beside this one
      file.own.push_back(
          (fs::relative(path, ENCORE_SOURCE_DIR).parent_path() / name).lexically_normal().string());
    } else if (name.starts_with("encore/")) {
      file.own.push_back(name.substr(7));
    } else {
      file.others.push_back(name);
    }
  }
  return file;
}

const Tree& tree() {
  static const Tree& all = *[] {
    auto* files = new Tree;
    const fs::path root = ENCORE_SOURCE_DIR;
    for (const auto& [folder, unused] : allowed) {
      if (fs::is_regular_file(root / folder)) files->emplace(folder, parse(root / folder));
      if (!fs::is_directory(root / folder)) continue;
      for (const auto& entry : fs::recursive_directory_iterator(root / folder)) {
        const std::string path = fs::relative(entry.path(), root).string();
        if (is_header(path) || path.ends_with(".cpp")) files->emplace(path, parse(entry.path()));
      }
    }
    return files;
  }();
  return all;
}

bool may_include(const std::string& from, const std::string& to) {
  const std::string folder = folder_of(from);
  const Names& names = allowed.at(folder);
  return folder_of(to) == folder || names.contains(folder_of(to)) || names.contains(to);
}

// The longest chain of own headers below `path`; a cycle through `open` throws.
int depth_below(const std::string& path, std::map<std::string, int>& known, Names& open) {
  if (auto found = known.find(path); found != known.end()) return found->second;
  if (!tree().contains(path)) return 0;  // EveryArrowIsInTheTable names it
  if (!open.insert(path).second) throw std::runtime_error("include cycle through " + path);
  int deepest = 0;
  for (const std::string& next : tree().at(path).own) {
    deepest = std::max(deepest, 1 + depth_below(next, known, open));
  }
  open.erase(path);
  return known[path] = deepest;
}

void collect_foreign(const std::string& path, Names& seen, Names& found) {
  if (!tree().contains(path) || !seen.insert(path).second) return;
  const File& file = tree().at(path);
  for (const std::string& name : file.others) {
    if (std::regex_match(name, foreign)) found.insert(path + " includes " + name);
  }
  for (const std::string& next : file.own) collect_foreign(next, seen, found);
}

TEST(IncludeRule, TheTreeIsSeen) {
  EXPECT_GT(tree().size(), 40u);
  EXPECT_TRUE(tree().contains("lazy/tensor.h"));
  EXPECT_TRUE(tree().contains("encore.h"));
  EXPECT_FALSE(tree().at("lazy/tensor.h").own.empty());
}

TEST(IncludeRule, TheTableRefusesWhatItShould) {
  EXPECT_TRUE(may_include("jit/kernel.h", "lazy/dtype.h"));
  EXPECT_FALSE(may_include("jit/kernel.h", "lazy/tensor.h"));
  EXPECT_FALSE(may_include("core/hash.h", "cache/disk.h"));
  EXPECT_FALSE(may_include("lazy/tensor.h", "trace/runtime.h"));
  EXPECT_FALSE(may_include("examples/mlp.cpp", "jit/kernel.h"));
  EXPECT_TRUE(std::regex_match("llvm/IR/Module.h", foreign));
  EXPECT_TRUE(std::regex_match("cuda.h", foreign));
  EXPECT_FALSE(std::regex_match("vector", foreign));
}

TEST(IncludeRule, EveryArrowIsInTheTable) {
  for (const auto& [path, file] : tree()) {
    for (const std::string& to : file.own) {
      EXPECT_TRUE(tree().contains(to))
          << path << " includes <encore/" << to << ">, which is no file";
      EXPECT_TRUE(may_include(path, to)) << path << " may not include <encore/" << to << ">";
    }
  }
}

TEST(IncludeRule, NoTwoFoldersIncludeEachOther) {
  std::set<std::pair<std::string, std::string>> arrows;
  for (const auto& [path, file] : tree()) {
    for (const std::string& to : file.own) arrows.emplace(folder_of(path), folder_of(to));
  }
  for (const auto& [from, to] : arrows) {
    EXPECT_FALSE(from != to && arrows.contains({to, from})) << from << " <-> " << to;
  }
}

TEST(IncludeRule, NoPublicHeaderShowsAnotherLibrarysCompiler) {
  for (const auto& [path, file] : tree()) {
    if (!public_folders.contains(folder_of(path)) || !is_header(path)) continue;
    Names seen, found;
    collect_foreign(path, seen, found);
    for (const std::string& what : found) ADD_FAILURE() << path << ": " << what;
  }
}

TEST(IncludeRule, ChainsAreShortAndHaveNoCycle) {
  std::map<std::string, int> known;
  Names open;
  int deepest = 0;
  for (const auto& [path, file] : tree()) {
    const int depth = depth_below(path, known, open);
    if (!is_header(path)) continue;
    deepest = std::max(deepest, depth);
    EXPECT_LE(depth, deepest_chain) << path;
  }
  fmt::print("deepest chain of includes: {}\n", deepest);
}

void collect_own(const std::string& path, Names& seen) {
  if (!tree().contains(path) || !seen.insert(path).second) return;
  for (const std::string& next : tree().at(path).own) collect_own(next, seen);
}

TEST(IncludeRule, TheUmbrellaReachesWhatUsersWrite) {
  const Names inner = {"autograd/walk.h",  "utils/bundle.h",        "utils/bundle_document.h",
                       "utils/ceilings.h", "utils/kernel_ranges.h", "utils/kernel_work.h",
                       "utils/nvtx.h",     "utils/profile.h",       "utils/run_kernel_alone.h",
                       "utils/sync_log.h"};
  Names reached;
  collect_own("encore.h", reached);
  for (const auto& [path, file] : tree()) {
    const std::string folder = folder_of(path);
    const bool user =
        folder == "autograd" || folder == "nn" || folder == "optim" || folder == "utils";
    const bool tool = path.starts_with("utils/dump_");  // parts of encore-dump
    if (!user || tool || !path.ends_with(".h") || inner.contains(path)) continue;
    EXPECT_TRUE(reached.contains(path)) << "encore.h does not include " << path;
  }
}

TEST(IncludeRule, FilesAreShort) {
  for (const auto& [path, file] : tree()) EXPECT_LE(file.lines, most_lines) << path;
}

TEST(IncludeRule, TheUmbrellaCompilesAlone) {
  const std::string source = testing::TempDir() + "encore_umbrella.cpp";
  std::ofstream(source) << "#include <encore/encore.h>\n";
  const std::string command =
      fmt::format("'{}' -std=c++20 -Wall -Wextra -Werror -I'{}/include' -c '{}' -o /dev/null",
                  ENCORE_CXX_COMPILER, ENCORE_SOURCE_DIR, source);
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(std::system(command.c_str()), 0) << command;
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
  fmt::print("a translation unit with only <encore/encore.h> compiles in {:.2f} s\n",
             taken.count());
}

}  // namespace
