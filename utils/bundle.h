// A bundle: all that the compilation of one trace left behind, as text files in one folder.
//
//   DIR/0001-1a2b3c4d/            number in order of compilation, first digits of the trace's key
//     key.txt                     the whole key and the sync that asked
//     passes/01-simplify.txt …    the graph after each pass
//     kernels/k0.txt, k0.ll, k0.s the kernel's text and its generated code
//     memory-plan.txt, aliases.txt, program.txt
//     trace.json                  the same and how it hangs together: docs/dump-format.md
//     miss.txt                    why it was compiled, and why each kernel: a line, advice, JSON
//     notes.txt                   misses, fusion refusals and compile times heard meanwhile
//     stats.txt                   written last: without it the compilation failed
//   DIR/syncs.txt                 how often each line asked for a sync (utils/sync_log.h)
//
// The writer is a listener of events (see core/events.h); the reader is what `encore-dump` shows.
#pragma once
#include <encore/core/events.h>
#include <encore/utils/bundle_document.h>
#include <encore/utils/sync_log.h>

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace encore {

/// Writes bundles under `root`. Calls must not overlap; events of several threads may interleave.
class BundleWriter {
 public:
  /// Bundles already there are kept; numbers go on after theirs.
  explicit BundleWriter(std::filesystem::path root);
  /// Throws std::exception when a file cannot be written.
  void take(const Event& event);
  /// Writes what is kept back: the counts of syncs. Any thread.
  void flush() { syncs_.flush(); }

 private:
  struct Open {
    std::filesystem::path folder;
    int passes = 0;
    BundleDocument document = {};
  };
  void begin(const Event& event);
  static void write_miss(const std::filesystem::path& folder, const Event& event);
  void take_pass(Open& open, const Event& event);

  std::filesystem::path root_;
  SyncLog syncs_;
  int last_number_ = 0;
  std::map<std::thread::id, Open> open_;  // the trace that each thread is compiling
  std::map<std::thread::id, BundleDocument::Miss> misses_;  // heard before the compilation began
};

struct Bundle {
  int number = 0;
  std::filesystem::path folder;

  std::string name() const { return folder.filename().string(); }
  bool finished() const { return std::filesystem::exists(folder / "stats.txt"); }
  /// A file's text; empty when there is none.
  std::string text(const std::string& file) const;
  /// Files of a subfolder ("passes", "kernels"), sorted by the number that begins the name.
  std::vector<std::string> files(const std::string& subfolder) const;
  /// Names of kernels in order of launch. With `which` only the one of this name or launch number,
  /// or the only one that begins so; throws Error where there is none.
  std::vector<std::string> kernels(const std::string& which = {}) const;
};

/// The bundles under `root` in the order in which they were written.
std::vector<Bundle> read_bundles(const std::filesystem::path& root);

/// The same for those who want to see some: throws Error where there are none.
std::vector<Bundle> require_bundles(const std::filesystem::path& root);

/// The one bundle that `which` names: its number or the start of its key. Throws Error otherwise.
Bundle find_bundle(const std::filesystem::path& root, const std::string& which);

/// A listing made of lines `%3 = add f32 %1 %2` as a Graphviz digraph; with a listing of clusters,
/// lines `cluster 0 over [4]: %3 add`, each in a box of its own.
std::string to_dot(std::string_view listing, std::string_view clusters = {});

}  // namespace encore
