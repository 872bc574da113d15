// Compiled kernels by key. A structure's first extents are compiled in; when the same structure
// comes with others, one generic kernel with all sizes as arguments serves every further shape.
//
// A kernel is looked for in memory, then on disk, and compiled only where neither has it: first
// with its own extents, then the generic one. What its backend wants measured for the sizes at hand
// is measured then, unless the disk knows.
//
// Used under the runtime's lock.
#pragma once
#include <encore/cache/lru.h>
#include <encore/jit/backend.h>
#include <encore/trace/binary_store.h>
#include <encore/trace/kernel_history.h>

#include <atomic>
#include <memory>
#include <span>
#include <vector>

namespace encore::trace {

/// The key of a kernel with every size that may vary as an argument.
Hash128 structure_key(const jit::Kernel& kernel);

struct KernelRequest {
  const jit::Kernel* kernel;
  bool generic;      // must serve several extents in one launch
  Location where{};  // the user's line that it computes
};

class KernelStore {
 public:
  using Code = std::shared_ptr<const jit::Executable>;

  KernelStore();
  /// One executable per request; all that are missing are compiled in one call. Throws
  /// CompileForbidden where that is not allowed.
  std::vector<Code> get(jit::Backend& backend, std::span<const KernelRequest> requests);
  /// Forgets all that is in memory, and reads the settings of the disk cache anew.
  void clear();
  void fail_compile(int64_t n) { until_failure_ = n; }
  int64_t bytes() const { return executables_.bytes(); }
  /// Bytes of all that was ever handed out and is still held by somebody.
  int64_t held_bytes() const { return held_->load(std::memory_order_relaxed); }
  int64_t evictions() const { return executables_.evictions(); }

 private:
  class Batch;
  Code counted(Code code);
  void choose(jit::Backend& backend, const KernelRequest& request);

  cache::Lru<Hash128, Code, HashOfHash128> executables_;
  cache::Lru<Hash128, Hash128, HashOfHash128>
      first_extents_;  // structure -> key of its first kernel
  BinaryStore stored_;
  std::shared_ptr<std::atomic<int64_t>> held_ = std::make_shared<std::atomic<int64_t>>(0);
  KernelHistory history_;
  int64_t until_failure_ = 0;
};

}  // namespace encore::trace
