#include <encore/cache/file_calls.h>

namespace encore::cache {
namespace {

// A signal is no failure.
template <class Call>
auto uninterrupted(Call call) {
  auto result = call();
  while (result == -1 && errno == EINTR) result = call();
  return result;
}

}  // namespace

void FileCalls::fail(int64_t n, int error, int64_t further) {
  error_ = error;
  first_failure_ = n ? made_ + n : 0;
  last_failure_ = n ? made_ + n + further : 0;
}

bool FileCalls::fails() {
  const int64_t now = made_.fetch_add(1, std::memory_order_relaxed) + 1;
  if (now > last_failure_.load(std::memory_order_relaxed) || now < first_failure_) return false;
  errno = error_;
  return true;
}

Descriptor FileCalls::open(int folder, const char* path, int flags, mode_t mode) {
  if (fails()) return Descriptor();
  return Descriptor(uninterrupted([&] { return ::openat(folder, path, flags | O_CLOEXEC, mode); }));
}

ssize_t FileCalls::read(int file, void* to, size_t size) {
  return fails() ? -1 : uninterrupted([&] { return ::read(file, to, size); });
}

ssize_t FileCalls::read_at(int file, void* to, size_t size, int64_t offset) {
  return fails() ? -1 : uninterrupted([&] { return ::pread(file, to, size, offset); });
}

ssize_t FileCalls::write(int file, const void* from, size_t size) {
  return fails() ? -1 : uninterrupted([&] { return ::write(file, from, size); });
}

// The file is closed whatever the answer.
int FileCalls::close(Descriptor file) { return fails() ? -1 : ::close(file.release()); }

int FileCalls::stat(int file, struct stat& status) { return fails() ? -1 : ::fstat(file, &status); }

int FileCalls::stat(int folder, const char* path, struct stat& status) {
  return fails() ? -1 : ::fstatat(folder, path, &status, AT_SYMLINK_NOFOLLOW);
}

int FileCalls::touch(int file) { return fails() ? -1 : ::futimens(file, nullptr); }

int FileCalls::make_folder(int folder, const char* path) {
  return fails() ? -1 : ::mkdirat(folder, path, 0700);
}

int FileCalls::rename(int folder, const char* from, int to_folder, const char* to) {
  return fails() ? -1 : ::renameat(folder, from, to_folder, to);
}

int FileCalls::remove(int folder, const char* path, bool is_folder) {
  return fails() ? -1 : ::unlinkat(folder, path, is_folder ? AT_REMOVEDIR : 0);
}

int FileCalls::try_lock(int file) {
  return fails() ? -1 : uninterrupted([&] { return ::flock(file, LOCK_EX | LOCK_NB); });
}

FolderStream FileCalls::list(Descriptor folder) {
  if (fails()) return nullptr;
  FolderStream stream(::fdopendir(folder.get()));
  if (stream) folder.release();
  return stream;
}

dirent* FileCalls::next(DIR* folder) {
  if (fails()) return nullptr;
  errno = 0;
  return ::readdir(folder);
}

bool read_whole(FileCalls& calls, int file, size_t limit, std::vector<std::byte>& bytes) {
  bytes.resize(limit);
  size_t size = 0;
  while (size < limit) {
    const ssize_t part = calls.read(file, bytes.data() + size, limit - size);
    if (part < 0) return false;
    if (part == 0) break;
    size += part;
  }
  bytes.resize(size);
  return true;
}

bool write_whole(FileCalls& calls, int file, std::span<const std::byte> bytes) {
  for (size_t done = 0; done < bytes.size();) {
    const ssize_t part = calls.write(file, bytes.data() + done, bytes.size() - done);
    if (part <= 0) return false;
    done += part;
  }
  return true;
}

}  // namespace encore::cache
