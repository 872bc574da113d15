// Times launches on one of a device's streams by CUDA events and reports them as EventKind::kernel.
//
// An event stands between two launches, so a time holds the launch and what the stream needs to
// begin it. Times are reported once the device has passed them, on whichever thread asks next. The
// device's clock is tied to the host's where the stream is idle.
//
// Threads: all functions may be called from any thread; `mark` in the order of the stream. None of
// them throws: a device that fails to tell the time ends only the timing.
#pragma once
#include <encore/jit/backend.h>
#include <encore/jit/cuda/gpu.h>

#include <deque>
#include <mutex>
#include <vector>

namespace encore::jit::cuda {

class LaunchTimer {
 public:
  /// The track that it reports on is called after the device, and then `suffix`.
  explicit LaunchTimer(const Gpu& gpu, std::string_view suffix = {});

  /// What was enqueued since the latest mark, always of the same stream, is launch number `launch`
  /// of `labels`; null: nothing that is to be told.
  void mark(CUstream stream, std::shared_ptr<const Labels> labels, size_t launch);
  /// Reports the launches that are known to be done; `idle`: the stream was waited for.
  void harvest(bool idle) noexcept;

 private:
  /// A point in the stream and the launch that ends there.
  struct Mark {
    CUevent event;
    std::shared_ptr<const Labels> labels;
    size_t launch;
  };
  bool tie_clocks(CUstream stream);
  CUevent take_event();
  void drop_all();
  bool settle(const Mark& mark);

  const Gpu& gpu_;
  const std::string track_;
  std::mutex mutex_;  // guards what follows
  std::deque<Mark> marks_;
  std::vector<CUevent> idle_;
  CUevent latest_ = nullptr, base_ = nullptr;  // settled; `base_` came at `base_time_`
  int64_t base_time_ = 0, latest_time_ = 0;    // of the host's clock
};

}  // namespace encore::jit::cuda
