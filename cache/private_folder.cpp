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

// Whether others could put something else in this place. Empty: no.
std::string exposed(FileCalls& calls, const fs::path& folder) {
  struct stat status;
  if (calls.stat(AT_FDCWD, folder.c_str(), status) != 0)
    return fmt::format("{}: {}", folder.string(), reason());
  if (!is_trusted(status.st_uid))
    return fmt::format("{} belongs to another user (uid {})", folder.string(), status.st_uid);
  if (!S_ISDIR(status.st_mode)) return {};  // a link: what it leads to is asked as well
  if ((status.st_mode & others_may_write) && !(status.st_mode & S_ISVTX))
    return fmt::format("others may write {}; chmod go-w it", folder.string());
  return {};
}

std::string make_folders(FileCalls& calls, const fs::path& path) {
  for (const fs::path& folder : way_to(path)) {
    struct stat status;
    if (calls.stat(AT_FDCWD, folder.c_str(), status) == 0) continue;
    if (calls.make_folder(AT_FDCWD, folder.c_str()) != 0 && errno != EEXIST)
      return fmt::format("{} cannot be made: {}", folder.string(), reason());
  }
  return {};
}

}  // namespace

bool is_private(const struct stat& status) {
  return status.st_uid == geteuid() && !(status.st_mode & others_may_write);
}

PrivateFolder open_private_folder(FileCalls& calls, const fs::path& path, bool create) {
  if (create) {
    if (std::string problem = make_folders(calls, path); !problem.empty()) return {{}, problem};
  }
  const std::unique_ptr<char, decltype(&std::free)> resolved(::realpath(path.c_str(), nullptr),
                                                             &std::free);
  if (!resolved) {
    if (errno == ENOENT) return {};
    return {{}, fmt::format("{}: {}", path.string(), reason())};
  }
  const fs::path real = resolved.get();
  std::vector<fs::path> above = way_to(path), really_above = way_to(real.parent_path());
  above.insert(above.end(), really_above.begin(), really_above.end());
  for (const fs::path& folder : above) {
    if (folder == real) continue;  // is judged more strictly below
    if (std::string problem = exposed(calls, folder); !problem.empty()) return {{}, problem};
  }
  Descriptor opened = calls.open(AT_FDCWD, real.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  struct stat status;
  if (!opened || calls.stat(opened.get(), status) != 0)
    return {{}, fmt::format("{}: {}", real.string(), reason())};
  if (status.st_uid != geteuid())
    return {{}, fmt::format("{} belongs to another user (uid {})", real.string(), status.st_uid)};
  if (!is_private(status))
    return {{}, fmt::format("others may write {}; chmod go-w it", real.string())};
  return {std::move(opened), {}};
}

}  // namespace encore::cache
