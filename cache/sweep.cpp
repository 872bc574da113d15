#include <encore/cache/layout.h>
#include <encore/cache/scan.h>
#include <encore/cache/sweep.h>
#include <signal.h>

#include <algorithm>
#include <ctime>
#include <tuple>

namespace encore::cache {
namespace {

constexpr int64_t seconds_between = 10;
// A writer may live in another container, where its number says nothing; then only time tells.
constexpr int64_t seconds_of_grace = 60;
constexpr int64_t seconds_of_patience = 3600;

timespec now() {
  timespec time;
  ::clock_gettime(CLOCK_REALTIME, &time);
  return time;
}

bool is_dead(pid_t writer) { return ::kill(writer, 0) != 0 && errno == ESRCH; }

bool is_left_over(const StoredFile& file) {
  const int64_t age = file.seconds_unused(now());
  return age > seconds_of_patience || (age > seconds_of_grace && is_dead(file.writer));
}

}  // namespace

bool is_unswept(FileCalls& calls, const Descriptor& folder) {
  struct stat status;
  if (calls.stat(folder.get(), sweep_lock, status) != 0) return true;
  const int64_t age = now().tv_sec - status.st_mtime;
  return age < 0 || age > seconds_between;
}

Sweep sweep(FileCalls& calls, const Descriptor& folder, SweepLimits limits) {
  Sweep done;
  const Descriptor lock =
      calls.open(folder.get(), sweep_lock, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0600);
  if (!lock || calls.try_lock(lock.get()) != 0) return done;
  done.ran = true;
  calls.touch(lock.get());

  std::vector<StoredFile> entries;
  auto remove = [&](const StoredFile& file) {
    const bool removed = calls.remove(folder.get(), file.path.c_str(), file.folder) == 0;
    done.removed_files += removed;
    return removed || errno == ENOENT;
  };
  for (StoredFile& file : scan(calls, folder)) {
    if (file.digits.empty()) {  // counts for nothing: it will be an entry, or go when it is old
      if (is_left_over(file)) remove(file);
      continue;
    }
    if (!file.usable && remove(file)) continue;
    ++done.kept_files;
    done.kept_bytes += file.disk_bytes;
    if (file.usable) entries.push_back(std::move(file));
  }
  if (done.kept_bytes <= limits.bytes && done.kept_files <= limits.files) return done;

  std::sort(entries.begin(), entries.end(), [](const StoredFile& a, const StoredFile& b) {
    return std::tie(a.last_used.tv_sec, a.last_used.tv_nsec, a.path) <
           std::tie(b.last_used.tv_sec, b.last_used.tv_nsec, b.path);
  });
  const SweepLimits enough{limits.bytes - limits.bytes / 5, limits.files - limits.files / 5};
  for (const StoredFile& file : entries) {
    if (done.kept_bytes <= enough.bytes && done.kept_files <= enough.files) break;
    if (!remove(file)) continue;
    --done.kept_files;
    done.kept_bytes -= file.disk_bytes;
  }
  return done;
}

}  // namespace encore::cache
