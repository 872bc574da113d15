// The file calls of cache/, in one place so that a test can let each of them fail.
#pragma once
#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

namespace encore::cache {

/// Owns an open file.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int number) : number_(number) {}
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  explicit operator bool() const { return number_ >= 0; }
  int get() const { return number_; }
  int release() { return std::exchange(number_, -1); }

 private:
  int number_ = -1;
};

struct CloseFolder {
  void operator()(DIR* folder) const { ::closedir(folder); }
};
using FolderStream = std::unique_ptr<DIR, CloseFolder>;

/// Each returns what the call of its name returns, and sets errno. Thread-safe.
class FileCalls {
 public:
  /// The n-th call from now fails with `error`, and `further` ones after it; 0: none.
  void fail(int64_t n, int error, int64_t further = 0);
  int64_t made() const { return made_.load(std::memory_order_relaxed); }

  Descriptor open(int folder, const char* path, int flags, mode_t mode = 0);
  ssize_t read(int file, void* to, size_t size);
  ssize_t read_at(int file, void* to, size_t size, int64_t offset);
  ssize_t write(int file, const void* from, size_t size);
  int close(Descriptor file);
  int stat(int file, struct stat& status);
  int stat(int folder, const char* path, struct stat& status);  // of a link itself
  int touch(int file);
  int make_folder(int folder, const char* path);
  int rename(int folder, const char* from, int to_folder, const char* to);
  int remove(int folder, const char* path, bool is_folder = false);
  int try_lock(int file);
  FolderStream list(Descriptor folder);
  dirent* next(DIR* folder);  // null at the end, and then errno is 0

 private:
  bool fails();

  std::atomic<int64_t> made_{0};
  std::atomic<int64_t> first_failure_{0};  // by number of calls made
  std::atomic<int64_t> last_failure_{0};
  std::atomic<int> error_{0};
};

/// All of a file from where it stands, at most `limit` bytes; false with errno where a call fails.
bool read_whole(FileCalls& calls, int file, size_t limit, std::vector<std::byte>& bytes);

/// False with errno where a call fails.
bool write_whole(FileCalls& calls, int file, std::span<const std::byte> bytes);

}  // namespace encore::cache
