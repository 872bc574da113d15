// Device memory in which copies land that cross beside the stream, and out of which the stream
// moves them to their place.
//
// No one else ever has this memory. So a copy need not wait for whoever had its place before, only
// for the move that emptied its part of this ring: an old one, as long as the ring holds what is on
// its way. Where the device has no memory for a ring there is none.
//
// Threads: one at a time.
#pragma once
#include <encore/jit/cuda/gpu.h>

#include <deque>
#include <vector>

namespace encore::jit::cuda {

class Landing {
 public:
  static constexpr size_t most_bytes = size_t(128) << 20;
  static constexpr size_t share = 64;  // of the device's memory at most one part in so many

  explicit Landing(const Gpu& gpu) : gpu_(gpu) {}
  /// Nothing may be on its way.
  ~Landing();
  Landing(const Landing&) = delete;
  Landing& operator=(const Landing&) = delete;

  /// The most that `take` gives, half of the ring, so that one half fills while the other is moved;
  /// 0: there is no ring.
  size_t most();
  /// A place for `bytes`. What is put onto `copies` from now on waits until it is empty.
  CUdeviceptr take(size_t bytes, CUstream copies);
  /// The device's stream moves `bytes` from the place that was taken last. If this throws it is in
  /// doubt whether it does, and `forget` must be called when nothing is on its way any more.
  void move(CUdeviceptr to, size_t bytes);
  void forget() noexcept;

 private:
  /// Out of [begin, end) of the ring; over when `done` is.
  struct Move {
    size_t begin = 0, end = 0;
    CUevent done = nullptr;
  };

  const Gpu& gpu_;
  CUdeviceptr memory_ = 0;
  size_t size_ = 0;
  Move taken_{};            // the place that was taken last
  std::deque<Move> moves_;  // in the stream's order, and around the ring
  std::vector<CUevent> idle_;
};

}  // namespace encore::jit::cuda
