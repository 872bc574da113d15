#include <encore/cache/disk_store.h>
#include <encore/cache/entry.h>
#include <encore/cache/entry_file.h>
#include <encore/cache/layout.h>
#include <encore/cache/private_folder.h>
#include <encore/cache/sweep.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <ctime>

namespace encore::cache {
namespace {

namespace fs = std::filesystem;

// A file's time of last use is renewed once in so many seconds, so that hits stay cheap.
constexpr time_t touch_after = 3600;
// A process sweeps each time it has written this part of a limit.
constexpr int64_t sweeps_per_limit = 16;
constexpr int64_t block = 4096;

std::string reason() { return std::strerror(errno); }

DiskOptions completed(DiskOptions options) {
  std::error_code ignored;
  if (!options.folder.empty()) options.folder = fs::absolute(options.folder, ignored);
  if (!options.warn)
    options.warn = [](const std::string& what) { fmt::print(stderr, "encore: {}\n", what); };
  return options;
}

}  // namespace

DiskStore::DiskStore(DiskOptions options) : options_(completed(std::move(options))) {
  try {
    folder(false);
    for (const fs::path& path : options_.packs) {
      const Pack& pack = packs_.emplace_back(calls_, path);
      if (!pack.problem().empty())
        warn("pack " + path.string(), fmt::format("pack {}: {}", path.string(), pack.problem()));
    }
  } catch (const std::exception& error) {
    warn("open", error.what());
  }
}

void DiskStore::warn(std::string_view cause, const std::string& what) noexcept {
  try {
    {
      std::lock_guard lock(mutex_);
      if (!warned_.emplace(cause).second) return;
    }
    options_.warn("the disk cache: " + what);
  } catch (const std::exception&) {  // a warning is worth no failure
  }
}

// The folder stays open, so that what was judged is what is used. Null: there is none, or none yet.
DiskStore::Folder DiskStore::folder(bool create) {
  std::string problem;
  {
    std::lock_guard lock(mutex_);
    if (folder_ || refused_ || options_.folder.empty()) return folder_;
    PrivateFolder opened = open_private_folder(calls_, options_.folder, create);
    if (opened.descriptor)
      return folder_ = std::make_shared<const Descriptor>(std::move(opened.descriptor));
    if (opened.problem.empty()) return nullptr;
    refused_ = opened.refused;
    problem = std::move(opened.problem);
  }
  warn("folder", "it is not used: " + problem);
  return nullptr;
}

void DiskStore::forget_folder(const Folder& folder) {
  std::lock_guard lock(mutex_);
  if (folder_ == folder) folder_ = nullptr;
}

std::optional<std::vector<std::byte>> DiskStore::read(std::string_view kind,
                                                      std::string_view key) noexcept {
  std::optional<std::vector<std::byte>> found;
  try {
    found = find(kind, key);
  } catch (const std::exception& error) {
    warn("read", error.what());
  }
  std::lock_guard lock(mutex_);
  ++(found ? statistics_.hits : statistics_.misses);
  if (found) statistics_.bytes_read += found->size();
  return found;
}

void DiskStore::reject(const std::string& where, std::string_view problem) {
  {
    std::lock_guard lock(mutex_);
    ++statistics_.rejected;
  }
  warn(problem, fmt::format("{} is passed over: {}", where, problem));
}

std::optional<std::vector<std::byte>> DiskStore::find(std::string_view kind, std::string_view key) {
  const Hash128 name = entry_name(kind, key);
  for (const Pack& pack : packs_) {
    if (auto found = read_pack(pack, kind, key, name)) return found;
  }
  const Folder folder = this->folder(false);
  if (!folder) return std::nullopt;
  EntryFile read = read_entry_file(calls_, *folder, path_of(name));
  const std::string where = (options_.folder / path_of(name)).string();
  if (read.answer == EntryFile::Answer::unreadable)
    warn("read", fmt::format("{} cannot be read: {}", where, read.problem));
  if (read.answer == EntryFile::Answer::rejected) reject(where, read.problem);
  if (!read.entry || read.entry->kind != kind || read.entry->key != key) return std::nullopt;
  if (options_.writes && ::time(nullptr) - read.last_used > touch_after)
    calls_.touch(read.file.get());
  return std::move(read.entry->payload);
}

std::optional<std::vector<std::byte>> DiskStore::read_pack(const Pack& pack, std::string_view kind,
                                                           std::string_view key,
                                                           const Hash128& name) {
  if (!pack.contains(name)) return std::nullopt;
  DecodedEntry read = pack.read(calls_, name);
  if (!read.entry) reject("an entry of pack " + pack.path().string(), read.problem);
  if (!read.entry || read.entry->kind != kind || read.entry->key != key) return std::nullopt;
  std::lock_guard lock(mutex_);
  ++statistics_.pack_hits;
  return std::move(read.entry->payload);
}

bool DiskStore::write(std::string_view kind, std::string_view key,
                      std::span<const std::byte> payload) noexcept {
  if (!options_.writes) return false;
  bool written = false;
  try {
    written = publish(kind, key, payload);
  } catch (const std::exception& error) {
    warn("write", error.what());
  }
  std::lock_guard lock(mutex_);
  ++(written ? statistics_.writes : statistics_.failed_writes);
  if (written) statistics_.bytes_written += payload.size();
  return written;
}

bool DiskStore::publish(std::string_view kind, std::string_view key,
                        std::span<const std::byte> payload) {
  if (options_.folder.empty())
    warn("folder", "nothing is kept: there is no home folder; set ENCORE_CACHE_DIR");
  Folder folder = this->folder(true);
  if (!folder) return false;
  const std::vector<std::byte> bytes = encode_entry(kind, key, payload);
  if (bytes.empty()) {
    warn("large", fmt::format("an entry of {} bytes is too large to be kept", payload.size()));
    return false;
  }
  const std::string path = path_of(entry_name(kind, key));
  bool written = publish_entry_file(calls_, *folder, path, bytes);
  if (!written && errno == ENOENT) {  // somebody has removed the folder while it was open
    forget_folder(folder);
    folder = this->folder(true);
    written = folder && publish_entry_file(calls_, *folder, path, bytes);
  }
  if (written) {
    count_and_sweep(folder, bytes.size());
  } else if (folder) {
    warn("write", fmt::format("an entry cannot be kept: {}", reason()));
  }
  return written;
}

// The first write of a process sweeps as well, so that many short runs keep to the budget. What is
// due while another process sweeps stays due.
void DiskStore::count_and_sweep(const Folder& folder, int64_t bytes) {
  bool first, due;
  int64_t due_bytes, due_files;
  {
    std::lock_guard lock(mutex_);
    first = !std::exchange(has_written_, true);
    unswept_bytes_ += (bytes + block - 1) / block * block;
    ++unswept_files_;
    due = unswept_bytes_ >= options_.budget_bytes / sweeps_per_limit ||
          unswept_files_ >= options_.budget_files / sweeps_per_limit;
    due_bytes = due ? unswept_bytes_ : 0;
    due_files = due ? unswept_files_ : 0;
  }
  if (!due && !(first && is_unswept(calls_, *folder))) return;
  const Sweep done = sweep(calls_, *folder, {options_.budget_bytes, options_.budget_files});
  if (!done.ran) return;
  std::lock_guard lock(mutex_);
  unswept_bytes_ = std::max<int64_t>(0, unswept_bytes_ - due_bytes);
  unswept_files_ = std::max<int64_t>(0, unswept_files_ - due_files);
  ++statistics_.sweeps;
  statistics_.swept_files += done.removed_files;
}

DiskStatistics DiskStore::statistics() const {
  std::lock_guard lock(mutex_);
  return statistics_;
}

}  // namespace encore::cache
