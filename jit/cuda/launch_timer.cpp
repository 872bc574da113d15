#include <encore/core/error.h>
#include <encore/core/span.h>
#include <encore/jit/cuda/launch_timer.h>
#include <fmt/format.h>

#include <algorithm>

namespace encore::jit::cuda {
namespace {

/// Elapsed times are floats of milliseconds; over longer ones they lose a tenth of a microsecond.
constexpr int64_t longest_elapsed = 1'000'000'000;

}  // namespace

LaunchTimer::LaunchTimer(const Gpu& gpu, std::string_view suffix)
    : gpu_(gpu), track_(fmt::format("cuda:{}{}", gpu.index(), suffix)) {}

CUevent LaunchTimer::take_event() {
  if (!idle_.empty()) {
    CUevent event = idle_.back();
    idle_.pop_back();
    return event;
  }
  CUevent event = nullptr;
  return driver().cuEventCreate.status(&event, CU_EVENT_DEFAULT) ? nullptr : event;
}

void LaunchTimer::drop_all() {
  for (const Mark& mark : marks_) idle_.push_back(mark.event);
  marks_.clear();
  if (base_) idle_.push_back(base_);
  if (latest_ && latest_ != base_) idle_.push_back(latest_);
  base_ = latest_ = nullptr;
}

/// Waits for the stream once, so that an event's time is known by both clocks.
bool LaunchTimer::tie_clocks(CUstream stream) {
  base_ = latest_ = take_event();
  if (!base_ || driver().cuEventRecord.status(base_, stream) ||
      driver().cuEventSynchronize.status(base_))
    return false;
  base_time_ = latest_time_ = steady_now();
  return true;
}

void LaunchTimer::mark(CUstream stream, std::shared_ptr<const Labels> labels, size_t launch) {
  std::lock_guard lock(mutex_);
  if (!base_ && !tie_clocks(stream)) return drop_all();
  CUevent event = take_event();
  if (!event) return drop_all();
  marks_.push_back({event, std::move(labels), launch});
  if (driver().cuEventRecord.status(event, stream)) drop_all();
}

/// The mark's time, and what it says about the launch before it; false: the device tells no time.
bool LaunchTimer::settle(const Mark& mark) {
  float since_base = 0, since_latest = 0;
  if (driver().cuEventElapsedTime.status(&since_base, base_, mark.event) ||
      driver().cuEventElapsedTime.status(&since_latest, latest_, mark.event))
    return false;
  int64_t duration = int64_t(double(since_latest) * 1e6);
  int64_t time = std::max(base_time_ + int64_t(double(since_base) * 1e6), latest_time_);
  if (mark.labels) {
    const Label& label = (*mark.labels)[mark.launch];
    int64_t start = std::max(time - duration, latest_time_);
    events::report(
        {EventKind::kernel, label.name, label.about, time - start, {}, start, label.bytes, track_});
  }
  if (latest_ != base_) idle_.push_back(latest_);
  latest_ = mark.event, latest_time_ = time;
  if (time - base_time_ > longest_elapsed) {
    idle_.push_back(base_);
    base_ = latest_, base_time_ = time;
  }
  return true;
}

void LaunchTimer::harvest(bool idle) noexcept {
  std::lock_guard lock(mutex_);
  if (!base_) return;
  try {
    gpu_.enter();
  } catch (const Error&) {
    return drop_all();
  }
  while (!marks_.empty()) {
    if (driver().cuEventQuery.status(marks_.front().event) == CUDA_ERROR_NOT_READY) return;
    if (!settle(marks_.front())) return drop_all();
    marks_.pop_front();
  }
  if (idle) drop_all();  // the clocks are tied anew before the next launch
}

}  // namespace encore::jit::cuda
