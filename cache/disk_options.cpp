// Where a process keeps its cache, by settings and environment.
#include <encore/cache/disk_store.h>
#include <encore/core/error.h>
#include <encore/core/settings.h>

#include <cstdlib>

namespace encore::cache {
namespace {

namespace fs = std::filesystem;

// The freedesktop specification says to ignore relative ones.
fs::path absolute_folder(const char* variable) {
  const char* text = ::secure_getenv(variable);
  fs::path folder = text ? text : "";
  return folder.is_absolute() ? folder : fs::path();
}

std::vector<fs::path> split(const std::string& paths) {
  std::vector<fs::path> split;
  for (size_t from = 0; from < paths.size();) {
    const size_t end = std::min(paths.find(':', from), paths.size());
    if (end > from) split.emplace_back(paths.substr(from, end - from));
    from = end + 1;
  }
  return split;
}

}  // namespace

fs::path default_cache_folder() {
  if (!settings().cache_dir.empty()) return settings().cache_dir;
  if (fs::path folder = absolute_folder("XDG_CACHE_HOME"); !folder.empty())
    return folder / "encore";
  if (fs::path home = absolute_folder("HOME"); !home.empty()) return home / ".cache" / "encore";
  return {};
}

std::optional<DiskOptions> disk_options_from_settings() {
  const std::string& mode = settings().cache;
  if (mode == "off" || mode == "0") return std::nullopt;
  if (mode != "on" && mode != "read" && mode != "1")
    throw Error("ENCORE_CACHE is '" + mode + "'", {}, "it is on, read or off");
  DiskOptions options{.folder = default_cache_folder()};
  options.writes = mode != "read";
  options.budget_bytes = settings().cache_disk_bytes;
  options.packs = split(settings().cache_pack);
  return options;
}

}  // namespace encore::cache
