// Keyed bytes in a folder, shared by all processes of one user; a run may always lose it.
//
// Each entry is a file of its own (cache/entry.h), named by a hash of kind and key and published by
// a rename, so a reader finds a whole entry or none. Nothing is synced to the disk: what a loss of
// power tears, the checksum tells. Whatever cannot be read is a miss, whatever cannot be written is
// not there: neither throws, and each cause is told once.
//
// The folder and its files must be this user's and writable by nobody else, because what is kept
// may be code. What was used least recently goes when the budget is passed (cache/sweep.h).
//
// Any number of threads and processes may use the same folder at once.
#pragma once
#include <encore/cache/file_calls.h>
#include <encore/cache/pack.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace encore::cache {

struct DiskOptions {
  std::filesystem::path folder;  // none: only packs are read
  bool writes = true;
  int64_t budget_bytes = int64_t(1) << 30;  // as the file system counts them
  int64_t budget_files = 1 << 16;
  /// Files that `export_pack` made, read before the folder.
  std::vector<std::filesystem::path> packs{};
  /// Takes warnings; by default they go to stderr.
  std::function<void(const std::string&)> warn{};
};

/// Where entries are kept when nothing else is said: $XDG_CACHE_HOME/encore, else ~/.cache/encore;
/// empty where there is no home. The setting `cache_dir` goes before both.
std::filesystem::path default_cache_folder();
/// What the settings `cache`, `cache_dir`, `cache_disk_bytes` and `cache_pack` say; nothing for
/// off.
std::optional<DiskOptions> disk_options_from_settings();

struct DiskStatistics {
  int64_t hits = 0;
  int64_t misses = 0;    // reads that found nothing, or nothing good
  int64_t rejected = 0;  // of them, those that found something damaged or foreign
  int64_t writes = 0;
  int64_t failed_writes = 0;
  int64_t bytes_read = 0;  // of payload
  int64_t bytes_written = 0;
  int64_t pack_hits = 0;  // of the hits
  int64_t sweeps = 0;
  int64_t swept_files = 0;
};

class DiskStore {
 public:
  /// Never throws: with a folder that cannot be used every read misses, and one warning says why.
  explicit DiskStore(DiskOptions options);

  /// `kind` is a short word; `key` may be long, and is compared in full.
  std::optional<std::vector<std::byte>> read(std::string_view kind, std::string_view key) noexcept;
  /// Replaces what stands under the key. False where that failed.
  bool write(std::string_view kind, std::string_view key,
             std::span<const std::byte> payload) noexcept;
  DiskStatistics statistics() const;
  const DiskOptions& options() const { return options_; }
  /// For tests: lets file calls fail.
  FileCalls& calls() { return calls_; }

 private:
  using Folder = std::shared_ptr<const Descriptor>;
  Folder folder(bool create);
  void forget_folder(const Folder& folder);
  std::optional<std::vector<std::byte>> find(std::string_view kind, std::string_view key);
  std::optional<std::vector<std::byte>> read_pack(const Pack& pack, std::string_view kind,
                                                  std::string_view key, const Hash128& name);
  bool publish(std::string_view kind, std::string_view key, std::span<const std::byte> payload);
  void count_and_sweep(const Folder& folder, int64_t bytes);
  void reject(const std::string& where, std::string_view problem);
  void warn(std::string_view cause, const std::string& what) noexcept;

  const DiskOptions options_;
  FileCalls calls_;
  std::vector<Pack> packs_;   // never change
  mutable std::mutex mutex_;  // guards what follows
  Folder folder_;
  bool refused_ = false;
  std::set<std::string, std::less<>> warned_;
  DiskStatistics statistics_;
  bool has_written_ = false;
  int64_t unswept_bytes_ = 0;  // written by this store since it last swept
  int64_t unswept_files_ = 0;
};

}  // namespace encore::cache
