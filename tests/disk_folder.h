// A folder for a test of the disk cache, and what is done to files in it.
#pragma once
#include <encore/cache/disk_store.h>
#include <encore/cache/entry.h>
#include <encore/cache/layout.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <vector>

namespace encore::cache {

namespace fs = std::filesystem;
using Bytes = std::vector<std::byte>;

inline Bytes bytes_of(std::string_view text) {
  const auto data = std::as_bytes(std::span(text));
  return {data.begin(), data.end()};
}

/// The same for the same number; half of it compresses.
inline Bytes random_bytes(uint64_t number, size_t size) {
  std::mt19937_64 random(number);
  Bytes bytes(size);
  for (size_t i = 0; i < size; ++i) bytes[i] = std::byte(i < size / 2 ? random() : number);
  return bytes;
}

inline Bytes read_file(const fs::path& path) {
  std::ifstream stream(path, std::ios::binary);
  const std::string text(std::istreambuf_iterator<char>(stream), {});
  return bytes_of(text);
}

/// As the store would make it: private.
inline void write_file(const fs::path& path, std::span<const std::byte> bytes) {
  fs::create_directories(path.parent_path());
  fs::permissions(path.parent_path(), fs::perms::owner_all);
  fs::remove_all(path);
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  fs::permissions(path, fs::perms::owner_read | fs::perms::owner_write);
}

inline void set_age(const fs::path& path, int64_t seconds) {
  const timespec then{::time(nullptr) - seconds, 0}, times[] = {then, then};
  ASSERT_EQ(::utimensat(AT_FDCWD, path.c_str(), times, AT_SYMLINK_NOFOLLOW), 0) << path;
}

inline int64_t age_of(const fs::path& path) {
  struct stat status;
  EXPECT_EQ(::lstat(path.c_str(), &status), 0) << path;
  return ::time(nullptr) - status.st_mtime;
}

class DiskFolder : public testing::Test {
 protected:
  DiskFolder() { fs::create_directories(root_); }
  ~DiskFolder() override { fs::remove_all(root_); }

  DiskOptions options() {
    return {.folder = folder_,
            .warn = [this](const std::string& what) { warnings_.push_back(what); }};
  }
  fs::path path_to(std::string_view kind, std::string_view key) const {
    return folder_ / path_of(entry_name(kind, key));
  }
  std::vector<fs::path> files(std::string_view ending) const {
    std::vector<fs::path> found;
    for (const auto& entry : fs::recursive_directory_iterator(folder_))
      if (entry.path().string().ends_with(ending)) found.push_back(entry.path());
    return found;
  }

  /// Runs a test's part in another process, where the user may be another; 0 is good.
  template <class Part>
  int in_child(Part part, uid_t user = ::geteuid()) {
    const pid_t child = ::fork();
    if (child == 0) {
      if (user != ::geteuid() && (::setgid(user) != 0 || ::setuid(user) != 0)) ::_exit(99);
      int status = 98;
      try {
        status = part();
      } catch (...) {
      }
      ::_exit(status);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }

  /// In memory where there is such a file system: these tests make many files.
  static fs::path parent() {
    return ::access("/dev/shm", W_OK) == 0 ? "/dev/shm" : testing::TempDir();
  }
  const fs::path root_ = parent() / ("encore_disk_" + std::to_string(::getpid()));
  const fs::path folder_ = root_ / "cache";
  std::vector<std::string> warnings_;
};

inline constexpr uid_t nobody = 65534;

}  // namespace encore::cache
