#include <encore/cache/layout.h>
#include <encore/cache/private_folder.h>
#include <encore/cache/scan.h>

#include <algorithm>

namespace encore::cache {
namespace {

constexpr int open_folder = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK;

std::vector<std::string> names_in(FileCalls& calls, const Descriptor& folder, const char* path) {
  std::vector<std::string> names;
  Descriptor opened = calls.open(folder.get(), path, open_folder);
  if (!opened) return names;
  const FolderStream stream = calls.list(std::move(opened));
  if (!stream) return names;
  while (const dirent* next = calls.next(stream.get())) names.emplace_back(next->d_name);
  return names;
}

}  // namespace

std::vector<StoredFile> scan(FileCalls& calls, const Descriptor& folder) {
  std::vector<StoredFile> files;
  for (const std::string& shard : names_in(calls, folder, ".")) {
    if (!is_shard(shard)) continue;
    for (const std::string& name : names_in(calls, folder, shard.c_str())) {
      const auto digits = entry_digits(name);
      const auto writer = temporary_writer(name);
      struct stat status;
      StoredFile file{.path = shard + '/' + name};
      if ((!digits && !writer) || calls.stat(folder.get(), file.path.c_str(), status) != 0)
        continue;
      file.digits = digits.value_or("");
      file.writer = writer.value_or(0);
      file.usable = S_ISREG(status.st_mode) && is_private(status);
      file.folder = S_ISDIR(status.st_mode);
      file.size = status.st_size;
      // Some file systems count blocks late.
      file.disk_bytes = std::max<int64_t>(status.st_size, int64_t(status.st_blocks) * 512);
      file.last_used = status.st_mtim;
      files.push_back(std::move(file));
    }
  }
  std::sort(files.begin(), files.end(),
            [](const StoredFile& a, const StoredFile& b) { return a.path < b.path; });
  return files;
}

}  // namespace encore::cache
