#include <encore/cache/private_folder.h>
#include <fmt/format.h>

#include <climits>
#include <cstdlib>
#include <cstring>

namespace encore::cache {
namespace {

namespace fs = std::filesystem;

constexpr mode_t others_may_write = S_IWGRP | S_IWOTH;

std::string reason() { return std::strerror(errno); }

// Each folder on the way, from the root on, and the path itself.
std::vector<fs::path> way_to(const fs::path& path) {
  std::vector<fs::path> way;
  fs::path so_far;
  for (const fs::path& part : path) {
    so_far /= part;
    if (!part.empty()) way.push_back(so_far);
  }
  return way;
}

// Root can do everything anyway; so can whoever has the root folder, which in a user namespace is
// the name for users from outside.
bool is_trusted(uid_t owner) {
  struct stat root;
  return owner == geteuid() || owner == 0 || (::stat("/", &root) == 0 && owner == root.st_uid);
}

PrivateFolder refusal(const fs::path& folder, const std::string& why) {
  return {{}, fmt::format("{} {}", folder.string(), why), true};
}
PrivateFolder failure(const fs::path& folder) {
  return {{}, fmt::format("{}: {}", folder.string(), reason()), false};
}
std::string foreign(uid_t owner) { return fmt::format("belongs to another user (uid {})", owner); }
constexpr const char* open_to_others = "may be written by others; chmod go-w it";

// Whether others could put something else in this place; no problem: they could not.
PrivateFolder judge_way(FileCalls& calls, const fs::path& folder) {
  struct stat status;
  if (calls.stat(AT_FDCWD, folder.c_str(), status) != 0) return failure(folder);
  if (!is_trusted(status.st_uid)) return refusal(folder, foreign(status.st_uid));
  if (!S_ISDIR(status.st_mode)) return {};  // a link: what it leads to is asked as well
  if ((status.st_mode & others_may_write) && !(status.st_mode & S_ISVTX))
    return refusal(folder, open_to_others);
  return {};
}

PrivateFolder make_folders(FileCalls& calls, const fs::path& path) {
  for (const fs::path& folder : way_to(path)) {
    struct stat status;
    if (calls.stat(AT_FDCWD, folder.c_str(), status) == 0) continue;
    if (calls.make_folder(AT_FDCWD, folder.c_str()) != 0 && errno != EEXIST) return failure(folder);
  }
  return {};
}

}  // namespace

bool is_private(const struct stat& status) {
  return status.st_uid == geteuid() && !(status.st_mode & others_may_write);
}

PrivateFolder open_private_folder(FileCalls& calls, const fs::path& path, bool create) {
  if (create) {
    if (PrivateFolder made = make_folders(calls, path); !made.problem.empty()) return made;
  }
  const std::unique_ptr<char, decltype(&std::free)> resolved(::realpath(path.c_str(), nullptr),
                                                             &std::free);
  if (!resolved) return errno == ENOENT ? PrivateFolder() : failure(path);
  const fs::path real = resolved.get();
  std::vector<fs::path> above = way_to(path), really_above = way_to(real.parent_path());
  above.insert(above.end(), really_above.begin(), really_above.end());
  for (const fs::path& folder : above) {
    if (folder == real) continue;  // is judged more strictly below
    if (PrivateFolder way = judge_way(calls, folder); !way.problem.empty()) return way;
  }
  Descriptor opened = calls.open(AT_FDCWD, real.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  struct stat status;
  if (!opened || calls.stat(opened.get(), status) != 0) return failure(real);
  if (status.st_uid != geteuid()) return refusal(real, foreign(status.st_uid));
  if (!is_private(status)) return refusal(real, open_to_others);
  return {std::move(opened), {}};
}

}  // namespace encore::cache
