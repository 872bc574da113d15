#include <encore/cache/disk_store.h>
#include <encore/cache/entry.h>
#include <encore/cache/layout.h>
#include <encore/cache/private_folder.h>
#include <fmt/format.h>
#include <sys/resource.h>

#include <cstdio>
#include <cstring>
#include <random>

namespace encore::cache {
namespace {

namespace fs = std::filesystem;

// A file's time of last use is renewed once in so many seconds, so that hits stay cheap.
constexpr time_t touch_after = 3600;
constexpr int attempts_at_a_name = 8;

std::string reason() { return std::strerror(errno); }

// What a file-size limit answers with is a signal that ends the program, so it is asked before.
bool passes_size_limit(size_t size) {
  struct rlimit limit;
  return ::getrlimit(RLIMIT_FSIZE, &limit) != 0 || size <= limit.rlim_cur;
}

uint64_t fresh_number() {
  static std::atomic<uint64_t> last{std::random_device{}()};
  return last.fetch_add(1, std::memory_order_relaxed);
}

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
  } catch (const std::exception& error) {
    warn("open", error.what());
  }
}

void DiskStore::warn(std::string_view cause, const std::string& what) noexcept {
  try {
    std::lock_guard lock(mutex_);
    if (warned_.emplace(cause).second) options_.warn("the disk cache: " + what);
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
    refused_ = true;
    problem = std::move(opened.problem);
  }
  warn("folder", "it is not used: " + problem);
  return nullptr;
}

// Somebody has removed it while it was open; the next write makes it anew.
void DiskStore::forget_folder(const Folder& folder) {
  std::lock_guard lock(mutex_);
  if (folder_ == folder) folder_ = nullptr;
}

std::optional<std::vector<std::byte>> DiskStore::read(std::string_view kind,
                                                      std::string_view key) noexcept {
  std::optional<std::vector<std::byte>> found;
  try {
    found = read_file(kind, key);
  } catch (const std::exception& error) {
    warn("read", error.what());
  }
  std::lock_guard lock(mutex_);
  ++(found ? statistics_.hits : statistics_.misses);
  if (found) statistics_.bytes_read += found->size();
  return found;
}

std::optional<std::vector<std::byte>> DiskStore::read_file(std::string_view kind,
                                                           std::string_view key) {
  const Folder folder = this->folder(false);
  if (!folder) return std::nullopt;
  const Hash128 name = entry_name(kind, key);
  const std::string path = path_of(name);
  auto fails = [&](std::string_view cause, std::string_view what) {
    warn(cause, fmt::format("{}/{} is passed over: {}", options_.folder.string(), path, what));
    return std::nullopt;
  };
  auto rejects = [&](std::string_view what) {
    {
      std::lock_guard lock(mutex_);
      ++statistics_.rejected;
    }
    return fails(what, what);
  };

  struct stat status;
  if (calls_.stat(folder->get(), shard_of(name).c_str(), status) != 0)
    return errno == ENOENT ? std::nullopt : fails("read", reason());
  if (!S_ISDIR(status.st_mode) || !is_private(status))
    return rejects("others can write its folder");
  // A pipe or a device must not keep us waiting.
  const Descriptor file =
      calls_.open(folder->get(), path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
  if (!file) {
    if (errno == ENOENT) return std::nullopt;
    return errno == ELOOP ? rejects("it is a link") : fails("read", reason());
  }
  if (calls_.stat(file.get(), status) != 0) return fails("read", reason());
  if (!S_ISREG(status.st_mode)) return rejects("it is no regular file");
  if (!is_private(status)) return rejects("others own it or can write it");
  if (size_t(status.st_size) > 2 * most_entry_bytes) return rejects("it is too large");
  std::vector<std::byte> bytes;
  if (!read_whole(calls_, file.get(), status.st_size, bytes)) return fails("read", reason());

  DecodedEntry decoded = decode_entry(bytes);
  if (!decoded.entry) return rejects(decoded.problem);
  if (entry_name(decoded.entry->kind, decoded.entry->key) != name)
    return rejects("it is filed under another entry's name");
  if (decoded.entry->kind != kind || decoded.entry->key != key) return std::nullopt;  // same hash
  if (options_.writes && ::time(nullptr) - status.st_mtime > touch_after) calls_.touch(file.get());
  return std::move(decoded.entry->payload);
}

void DiskStore::write(std::string_view kind, std::string_view key,
                      std::span<const std::byte> payload) noexcept {
  if (!options_.writes) return;
  bool written = false;
  try {
    written = write_file(kind, key, payload);
  } catch (const std::exception& error) {
    warn("write", error.what());
  }
  std::lock_guard lock(mutex_);
  ++(written ? statistics_.writes : statistics_.failed_writes);
  if (written) statistics_.bytes_written += payload.size();
}

bool DiskStore::write_file(std::string_view kind, std::string_view key,
                           std::span<const std::byte> payload) {
  const Folder folder = this->folder(true);
  if (!folder) return false;
  const Hash128 name = entry_name(kind, key);
  const std::string shard = shard_of(name);
  if (calls_.make_folder(folder->get(), shard.c_str()) != 0 && errno != EEXIST) {
    if (errno == ENOENT) forget_folder(folder);
    warn("write", fmt::format("an entry cannot be kept: {}", reason()));
    return false;
  }
  const std::vector<std::byte> bytes = encode_entry(kind, key, payload);
  if (bytes.empty()) {
    warn("large", fmt::format("an entry of {} bytes is too large to be kept", payload.size()));
    return false;
  }
  if (publish(*folder, path_of(name), bytes)) return true;
  warn("write", fmt::format("an entry cannot be kept: {}", reason()));
  return false;
}

// False with errno.
bool DiskStore::publish(const Descriptor& folder, const std::string& path,
                        std::span<const std::byte> bytes) {
  if (!passes_size_limit(bytes.size())) return errno = EFBIG, false;
  std::string temporary;
  Descriptor file;
  for (int attempt = 0; !file && attempt < attempts_at_a_name; ++attempt) {
    temporary = temporary_path(path.substr(0, 2), fresh_number());
    file = calls_.open(folder.get(), temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW,
                       0600);
    if (!file && errno != EEXIST) return false;
  }
  if (!file) return false;
  bool good = true;
  for (size_t done = 0; good && done < bytes.size();) {
    const ssize_t part = calls_.write(file.get(), bytes.data() + done, bytes.size() - done);
    good = part > 0;
    if (good) done += part;
  }
  good = good && calls_.close(std::move(file)) == 0;
  good = good && calls_.rename(folder.get(), temporary.c_str(), folder.get(), path.c_str()) == 0;
  if (good) return true;
  const int error = errno;
  ::unlinkat(folder.get(), temporary.c_str(), 0);
  return errno = error, false;
}

DiskStatistics DiskStore::statistics() const {
  std::lock_guard lock(mutex_);
  return statistics_;
}

}  // namespace encore::cache
