// Entries in one file, to be shipped with a program: one after the other, as in their own files.
//
// Whoever names a pack trusts it; it must only be a regular file that nobody but its owner may
// write. It is read by calls and not mapped, so that one that is cut off while in use is a miss.
#pragma once
#include <encore/cache/entry.h>
#include <encore/cache/file_calls.h>

#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

namespace encore::cache {

class DiskStore;

class Pack {
 public:
  /// Reads the headers of its entries, and passes over what is damaged.
  Pack(FileCalls& calls, const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  /// What the file as a whole lacks; empty: nothing. What could be read can be used.
  const std::string& problem() const { return problem_; }
  /// Names in the order of the file.
  std::span<const Hash128> names() const { return names_; }
  bool contains(const Hash128& name) const { return places_.contains(name); }
  /// Reads one that it contains.
  DecodedEntry read(FileCalls& calls, const Hash128& name) const;

 private:
  struct Place {
    int64_t offset;
    size_t size;
  };
  std::string open(FileCalls& calls);
  int64_t next_entry(FileCalls& calls, int64_t from) const;

  std::filesystem::path path_;
  std::string problem_;
  Descriptor file_;
  int64_t size_ = 0;
  std::vector<Hash128> names_;
  std::unordered_map<Hash128, Place, HashOfHash128> places_;
};

struct PackReport {
  int64_t entries = 0;
  int64_t rejected = 0;  // damaged, foreign, or not to be written
  int64_t bytes = 0;     // of the pack
};

/// Writes the good entries of a cache folder, those that `wanted` (all, if null) says, in an order
/// that depends on nothing but them. Throws Error where the folder or the file cannot be used.
PackReport export_pack(const std::filesystem::path& folder, const std::filesystem::path& file,
                       const std::function<bool(const Entry&)>& wanted = {});
/// Throws Error where the file cannot be used.
PackReport import_pack(DiskStore& store, const std::filesystem::path& file);

}  // namespace encore::cache
