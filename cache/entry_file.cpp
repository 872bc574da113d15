#include <encore/cache/entry_file.h>
#include <encore/cache/layout.h>
#include <encore/cache/private_folder.h>
#include <sys/resource.h>

#include <cstring>
#include <random>

namespace encore::cache {
namespace {

constexpr int attempts_at_a_name = 8;

// What a file-size limit answers with is a signal that ends the program, so it is asked before.
bool passes_size_limit(size_t size) {
  struct rlimit limit;
  return ::getrlimit(RLIMIT_FSIZE, &limit) != 0 || size <= limit.rlim_cur;
}

uint64_t fresh_number() {
  static std::atomic<uint64_t> last{std::random_device{}()};
  return last.fetch_add(1, std::memory_order_relaxed);
}

// Opens a file for one writer; another's leftover may have the name.
Descriptor open_temporary(FileCalls& calls, const Descriptor& folder, const std::string& shard,
                          std::string& path) {
  for (int attempt = 0; attempt < attempts_at_a_name; ++attempt) {
    path = temporary_path(shard, fresh_number());
    Descriptor file =
        calls.open(folder.get(), path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
    if (file || errno != EEXIST) return file;
  }
  return {};
}

}  // namespace

EntryFile read_entry_file(FileCalls& calls, const Descriptor& folder, const std::string& path) {
  EntryFile read;
  auto failed = [&] {
    read.answer = errno == ENOENT ? EntryFile::Answer::absent : EntryFile::Answer::unreadable;
    read.problem = std::strerror(errno);
    return std::move(read);
  };
  auto rejected = [&](std::string_view problem) {
    read.answer = EntryFile::Answer::rejected;
    read.problem = problem;
    return std::move(read);
  };

  struct stat status;
  if (calls.stat(folder.get(), shard_of_path(path).c_str(), status) != 0) return failed();
  if (!S_ISDIR(status.st_mode) || !is_private(status))
    return rejected("its folder is not this user's alone");
  // A pipe or a device must not keep us waiting.
  read.file = calls.open(folder.get(), path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
  if (!read.file) return errno == ELOOP ? rejected("it is a link") : failed();
  if (calls.stat(read.file.get(), status) != 0) return failed();
  if (!S_ISREG(status.st_mode)) return rejected("it is no regular file");
  if (!is_private(status)) return rejected("others own it or may write it");
  if (size_t(status.st_size) > 2 * most_entry_bytes) return rejected("it is too large");
  read.last_used = status.st_mtime;
  if (!read_whole(calls, read.file.get(), status.st_size, read.bytes)) return failed();

  DecodedEntry decoded = decode_entry(read.bytes);
  if (!decoded.entry) return rejected(decoded.problem);
  if (path_of(entry_name(decoded.entry->kind, decoded.entry->key)) != path)
    return rejected("it is filed under another entry's name");
  read.entry = std::move(decoded.entry);
  read.answer = EntryFile::Answer::good;
  return read;
}

bool publish_entry_file(FileCalls& calls, const Descriptor& folder, const std::string& path,
                        std::span<const std::byte> bytes) {
  if (!passes_size_limit(bytes.size())) return errno = EFBIG, false;
  const std::string shard = shard_of_path(path);
  std::string temporary;
  Descriptor file = open_temporary(calls, folder, shard, temporary);
  if (!file && errno == ENOENT) {
    if (calls.make_folder(folder.get(), shard.c_str()) != 0 && errno != EEXIST) return false;
    file = open_temporary(calls, folder, shard, temporary);
  }
  if (!file) return false;
  if (write_whole(calls, file.get(), bytes) && calls.close(std::move(file)) == 0 &&
      calls.rename(folder.get(), temporary.c_str(), folder.get(), path.c_str()) == 0)
    return true;
  const int error = errno;
  calls.remove(folder.get(), temporary.c_str());
  return errno = error, false;
}

}  // namespace encore::cache
