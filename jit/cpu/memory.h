// Host memory for tensors: freed blocks are kept for reuse, large ones lie on huge pages.
//
// Fresh memory costs more than the arithmetic done in it, so a block goes back to the system only
// when the kept ones exceed a bound (the longest unused first) or an allocation fails.
//
// Threads: all functions may be called from any thread.
#pragma once
#include <encore/lazy/buffer.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <list>
#include <mutex>
#include <vector>

namespace encore::jit {

class CachingMemory {
 public:
  /// Keeps at most `bound` bytes of freed blocks.
  explicit CachingMemory(int64_t bound) : bound_(bound) {}
  ~CachingMemory() { trim(0); }
  CachingMemory(const CachingMemory&) = delete;
  CachingMemory& operator=(const CachingMemory&) = delete;

  /// At least `bytes` (0 is allowed), aligned to 64; throws OutOfMemory.
  void* allocate(size_t bytes);
  /// `bytes` as they were asked for.
  void free(void* data, size_t bytes) noexcept;
  /// A buffer on this memory, which must outlive it.
  Ref<Buffer> allocate_buffer(size_t bytes);

  /// Bytes handed out and not yet given back, and the most that this ever was.
  int64_t live_bytes() const;
  int64_t peak_bytes() const;
  void reset_peak_bytes();
  /// Bytes kept for reuse.
  int64_t kept_bytes() const;
  /// Gives kept blocks back to the system until at most `bytes` are left.
  void trim(int64_t bytes) noexcept;

  /// For tests: the n-th allocation from now on fails, the next one being number 1; 0: none.
  void fail_allocation(int64_t n);

 private:
  struct Block {
    void* data;
    size_t bytes;
  };
  using Age = std::list<Block>;  // least recently freed first

  void* take_kept(size_t bytes);
  void trim_locked(int64_t bytes) noexcept;

  const int64_t bound_;
  mutable std::mutex mutex_;
  Age age_;
  std::array<std::vector<Age::iterator>, 256> kept_by_class_;
  int64_t kept_ = 0, live_ = 0, peak_ = 0;
  int64_t until_failure_ = 0;
};

/// The size that a request is rounded up to: four steps for each power of two, at least 64.
size_t size_class(size_t bytes);

/// The memory of all tensors on the host; leaked, so that buffers may be freed at exit.
CachingMemory& host_cache();

}  // namespace encore::jit
