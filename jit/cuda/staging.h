// Copies between host and device through pinned memory.
//
// To the device: the source is free again on return, the copy itself happens in stream order. Where
// copies go *apart*, a large one crosses the bus on a stream of its own, while the device computes,
// into memory that is staging's; in stream order it then only moves from there. That is not yet
// measured on a device, so backends do not ask for it. To the host: waits for the stream and no
// more. May be used from any thread; copies of one direction take turns.
#pragma once
#include <encore/jit/cuda/gpu.h>

#include <array>
#include <mutex>

namespace encore::jit::cuda {

class Staging {
 public:
  static constexpr size_t chunk_bytes = 4 << 20;
  static constexpr size_t least_apart = 64 << 10;  // smaller copies go straight to their place

  explicit Staging(const Gpu& gpu, bool apart = false) : gpu_(gpu), apart_(apart) {}
  ~Staging();
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  void to_device(void* to, const void* from, size_t bytes);
  void to_host(void* to, const void* from, size_t bytes);
  /// Of large copies to the device; null before the first.
  CUstream copies() const { return copies_; }

 private:
  /// Pinned memory and the event after which what was last enqueued from or to it is done.
  struct Chunk {
    void* data = nullptr;
    CUdeviceptr on_device = 0;  // as large; 0 where large copies go straight to their place, too
    CUevent done = nullptr;
    size_t used = 0;
    bool pending = false;
  };

  void make(Chunk& chunk);
  bool can_go_apart(Chunk& chunk);
  void copy_apart(CUdeviceptr to, const Chunk& chunk, size_t begin, size_t bytes);
  void mark(Chunk& chunk);
  void wait(Chunk& chunk);
  Chunk& next_chunk();

  const Gpu& gpu_;
  bool apart_;
  std::mutex writing_, reading_;
  std::array<Chunk, 4> outgoing_;
  size_t current_ = 0;
  std::array<Chunk, 2> incoming_;
  CUstream copies_ = nullptr;
  CUevent arrived_ = nullptr;
};

}  // namespace encore::jit::cuda
