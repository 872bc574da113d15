// One CUDA device: its primary context and the one stream on which everything of this process runs.
//
// The stream's order is what makes memory safe to reuse without waiting: whatever is enqueued later
// sees all that was enqueued before. May be used from any thread; never destroyed.
#pragma once
#include <encore/jit/cuda/driver.h>

#include <cstddef>
#include <functional>
#include <mutex>
#include <string>

namespace encore::jit::cuda {

class Gpu {
 public:
  /// Throws DeviceUnavailable: no such number, or its context cannot be made.
  explicit Gpu(int index);
  Gpu(const Gpu&) = delete;
  Gpu& operator=(const Gpu&) = delete;

  int index() const { return index_; }
  const std::string& name() const { return name_; }
  /// 90 is compute capability 9.0.
  int compute_capability() const { return compute_capability_; }
  int multiprocessors() const { return multiprocessors_; }
  CUstream stream() const { return stream_; }

  /// Makes its context this thread's: to be called before any driver call. Throws DeviceLost.
  void enter() const { driver().enter(index_, context_); }
  /// Waits for all that was enqueued.
  void synchronize() const;

  /// What `enqueue` puts onto the stream that it is given, as a graph; the caller destroys it. That
  /// stream is no one else's, so what others enqueue meanwhile is not in the graph.
  CUgraph capture(const std::function<void(CUstream)>& enqueue) const;

  struct Bytes {
    size_t free, total;
  };
  /// As the driver counts, for all processes together.
  Bytes bytes() const;

 private:
  int index_;
  int compute_capability_ = 0, multiprocessors_ = 0;
  std::string name_;
  CUcontext context_ = nullptr;
  CUstream stream_ = nullptr;
  mutable std::mutex capture_mutex_;  // guards what follows
  mutable CUstream capture_stream_ = nullptr;
};

}  // namespace encore::jit::cuda
