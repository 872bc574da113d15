// Device memory for tensors: freed blocks are kept and reused without waiting, in stream order.
//
// Blocks are cut out of segments that the driver gave; the smallest free block that fits is taken,
// what is left of it stays free, and free neighbours join. Small blocks have segments of their own,
// so that they don't nibble at large ones. A segment goes back to the driver only when memory runs
// out, and then only as a whole. A sequence of requests that is repeated gets the same addresses
// from its second time on.
//
// Threads: all functions may be called from any thread.
#pragma once
#include <encore/core/error.h>
#include <encore/jit/cuda/gpu.h>
#include <encore/lazy/buffer.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <set>
#include <unordered_map>

namespace encore::jit::cuda {

class DeviceMemory {
 public:
  explicit DeviceMemory(const Gpu& gpu) : gpu_(gpu) {}
  ~DeviceMemory();
  DeviceMemory(const DeviceMemory&) = delete;
  DeviceMemory& operator=(const DeviceMemory&) = delete;

  /// At least `bytes` (0 is allowed), aligned to 512; throws OutOfMemory.
  void* allocate(size_t bytes);
  void free(void* data) noexcept;
  /// A buffer on this memory, which must outlive it.
  Ref<Buffer> allocate_buffer(size_t bytes);

  /// Bytes asked for and not yet given back, and the most that this ever was.
  int64_t live_bytes() const;
  int64_t peak_bytes() const;
  void reset_peak_bytes();
  /// Bytes taken from the driver.
  int64_t reserved_bytes() const;
  /// Gives all segments in which nothing lives back to the driver; waits for the stream.
  void trim() noexcept;

 private:
  struct Block;
  struct BySize {
    bool operator()(const Block* a, const Block* b) const;
  };
  using FreeBlocks = std::set<Block*, BySize>;
  /// A piece of a segment. Its neighbours in the segment are linked; a block that is in use keeps
  /// its place in the set of free ones at hand, so that freeing allocates nothing.
  struct Block {
    uintptr_t address;
    size_t size;
    size_t asked;
    bool small;
    Block* before;
    Block* after;
    FreeBlocks::node_type handle;
  };

  void* allocate_locked(size_t bytes);
  Block* take_free(size_t size, bool small);
  Block* add_segment(size_t size, bool small);
  void split(Block* block, size_t size);
  void join_neighbours(Block* block) noexcept;
  void insert_free(Block* block) noexcept;
  void trim_locked() noexcept;
  [[noreturn]] void throw_out_of_memory(size_t bytes) const;

  const Gpu& gpu_;
  mutable std::mutex mutex_;
  FreeBlocks free_[2];  // large, small
  std::unordered_map<uintptr_t, Block*> used_;
  int64_t live_ = 0, peak_ = 0, reserved_ = 0;
};

/// What takes the driver's own memory (code, graphs): where there is none, once more after all that
/// is kept for reuse has gone back.
template <class Act>
void in_room(DeviceMemory& memory, Act act) {
  try {
    act();
  } catch (const OutOfMemory&) {
    memory.trim();
    act();
  }
}

}  // namespace encore::jit::cuda
