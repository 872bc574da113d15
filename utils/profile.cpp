#include <encore/core/span.h>
#include <encore/utils/profile.h>
#include <fmt/format.h>
#include <pthread.h>
#include <unistd.h>

#include <chrono>

namespace encore {
namespace {

/// Tracks that are no threads are numbered above all threads.
constexpr int64_t first_own_number = 1'000'000'000;

int64_t thread_number() {
  thread_local const int64_t number = gettid();
  return number;
}

std::string thread_name() {
  if (gettid() == getpid()) return "main";
  char name[16] = {};
  pthread_getname_np(pthread_self(), name, sizeof name);
  return fmt::format("{} {}", name, thread_number());
}

}  // namespace

Profile::Profile(size_t most)
    : origin_(steady_now()),
      seconds_(std::chrono::duration_cast<std::chrono::seconds>(
                   std::chrono::system_clock::now().time_since_epoch())
                   .count()),
      most_(most) {}

Profile::Id Profile::intern(std::string_view text) {
  if (auto known = ids_.find(text); known != ids_.end()) return known->second;
  texts_.emplace_back(text);
  Id id = Id(texts_.size() - 1);
  ids_.emplace(texts_.back(), id);
  return id;
}

/// Kernels' tracks are devices, spans' stand beside their thread's: recording ends where a sync
/// begins, whatever scopes are open.
Profile::Id Profile::track_of(const Event& event) {
  std::string_view own = event.track;
  int64_t thread = own.empty() || event.kind == EventKind::span ? thread_number() : 0;
  auto [place, is_new] = track_ids_.try_emplace({thread, intern(own)}, Id(tracks_.size()));
  if (!is_new) return place->second;
  int64_t number = own.empty() ? thread : first_own_number + int64_t(tracks_.size());
  std::string name = thread ? thread_name() : std::string();
  if (!own.empty()) name += fmt::format("{}{}", thread ? ": " : "", own);
  tracks_.push_back({std::move(name), number});
  return place->second;
}

void Profile::take(const Event& event) {
  std::lock_guard lock(mutex_);
  if (entries_.size() >= most_) {
    ++left_out_;
    return;
  }
  bool timed = event.kind == EventKind::span || event.kind == EventKind::kernel;
  if (event.kind == EventKind::span && event.name == "launch") awaits_device_ = true;
  int64_t start = timed ? std::max(event.start, origin_) : steady_now();
  // A part that was heard before this profile began is not its.
  int64_t value = timed ? std::max<int64_t>(event.start + event.value - start, 0) : event.value;
  entries_.push_back({event.kind, track_of(event), intern(event.name), intern(event.text),
                      intern(event.where.file), event.where.line, start, value, event.bytes});
}

bool Profile::awaits_device() const {
  std::lock_guard lock(mutex_);
  return awaits_device_;
}

}  // namespace encore
