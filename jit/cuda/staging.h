// Copies between host and device through pinned memory.
//
// To the device: the source is free again on return, the copy itself happens in stream order. A
// large one crosses the bus *apart*, on a stream of its own, beside what the device computes, and
// lands in memory that no one else has; in stream order it then only moves from there to its place
// (see landing.h). To the host: waits for the stream and no more.
//
// Threads: any. Large copies to the device, small ones, and copies to the host take turns among
// themselves.
#pragma once
#include <encore/jit/cuda/landing.h>
#include <encore/jit/cuda/launch_timer.h>

#include <array>
#include <atomic>
#include <mutex>

namespace encore::jit::cuda {

class Staging {
 public:
  static constexpr size_t chunk_bytes = 4 << 20;
  /// Smaller copies go straight to their place: for those the events cost more than the crossing.
  static constexpr size_t usual_least_apart = 1 << 20;

  explicit Staging(const Gpu& gpu, size_t least_apart = usual_least_apart)
      : gpu_(gpu), least_apart_(least_apart), landing_(gpu), timer_(gpu, " uploads") {}
  ~Staging();
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  /// True: it went apart.
  bool to_device(void* to, const void* from, size_t bytes);
  void to_host(void* to, const void* from, size_t bytes);

  /// Of copies that go apart.
  LaunchTimer& timer() { return timer_; }

  /// From this size on copies go apart; for tests and measurements.
  void set_least_apart(size_t bytes) { least_apart_ = bytes; }
  /// Of copies that go apart; null before the first.
  CUstream copies() const { return copies_; }

 private:
  /// Pinned memory and the event after which what was last enqueued from or to it is done.
  struct Chunk {
    void* data = nullptr;
    CUevent done = nullptr;
    size_t used = 0;
    bool pending = false;
  };

  void make(Chunk& chunk);
  void mark(Chunk& chunk, CUstream stream);
  void wait(Chunk& chunk);
  Chunk& next_chunk();
  void go_straight(CUdeviceptr to, const std::byte* from, size_t bytes);
  bool can_go_apart();
  void go_apart(CUdeviceptr to, const std::byte* from, size_t bytes);
  void land(CUdeviceptr to, const std::byte* from, size_t bytes);
  void settle();

  const Gpu& gpu_;
  std::atomic<size_t> least_apart_;
  std::mutex writing_;  // guards what follows
  std::array<Chunk, 4> outgoing_;
  size_t current_ = 0;
  std::mutex reading_;
  std::array<Chunk, 2> incoming_;
  std::mutex crossing_mutex_;
  std::array<Chunk, 4> crossing_;
  size_t next_crossing_ = 0;
  Landing landing_;
  LaunchTimer timer_;
  CUstream copies_ = nullptr;
  bool in_doubt_ = false;  // a copy that went apart failed on the way
};

}  // namespace encore::jit::cuda
