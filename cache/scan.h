// What lies in a cache folder.
#pragma once
#include <encore/cache/file_calls.h>
#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace encore::cache {

struct StoredFile {
  std::string path;     // within the folder
  std::string digits;   // of an entry; empty: a temporary file
  pid_t writer = 0;     // of a temporary file
  bool usable = false;  // a regular file of this user, which only this user may write
  bool folder = false;
  int64_t size = 0;
  int64_t disk_bytes = 0;
  timespec last_used{};
  int64_t seconds_unused(timespec now) const { return now.tv_sec - last_used.tv_sec; }
};

/// All entries and temporary files, by path; what vanishes meanwhile or cannot be asked is left
/// out.
std::vector<StoredFile> scan(FileCalls& calls, const Descriptor& folder);

}  // namespace encore::cache
