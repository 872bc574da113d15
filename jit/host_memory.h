// Host memory for buffers, with counters. A HostMemory outlives the buffers it hands out.
//
// May be used from any thread.
#pragma once
#include <encore/lazy/buffer.h>

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace encore::jit {

class HostMemory {
 public:
  /// Aligned to 64; throws OutOfMemory.
  Ref<Buffer> allocate(size_t bytes);

  int64_t live_bytes() const { return live_.load(std::memory_order_relaxed); }
  int64_t peak_bytes() const { return peak_.load(std::memory_order_relaxed); }
  void reset_peak_bytes() { peak_.store(live_bytes(), std::memory_order_relaxed); }

 private:
  void count(int64_t bytes);

  std::atomic<int64_t> live_{0};
  std::atomic<int64_t> peak_{0};
};

}  // namespace encore::jit
