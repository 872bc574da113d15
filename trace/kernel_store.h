// Compiled kernels by key. A structure's first extents are compiled in; when the same structure
// comes with others, one generic kernel with all sizes as arguments serves every further shape.
//
// Used under the runtime's lock.
#pragma once
#include <encore/cache/lru.h>
#include <encore/jit/backend.h>

#include <atomic>
#include <memory>
#include <span>
#include <vector>

namespace encore::trace {

/// The key of a kernel with every size that may vary as an argument.
Hash128 structure_key(const jit::Kernel& kernel);

struct KernelRequest {
  const jit::Kernel* kernel;
  bool generic;  // must serve several extents in one launch
};

class KernelStore {
 public:
  KernelStore();
  /// One executable per request; all that are missing are compiled in one call. `compiled` counts
  /// them.
  std::vector<std::shared_ptr<const jit::Executable>> get(jit::Backend& backend,
                                                          std::span<const KernelRequest> requests,
                                                          int64_t& compiled);
  void clear();
  void fail_compile(int64_t n) { until_failure_ = n; }
  int64_t bytes() const { return executables_.bytes(); }
  /// Bytes of all that was ever handed out and is still held by somebody.
  int64_t held_bytes() const { return held_->load(std::memory_order_relaxed); }
  int64_t evictions() const { return executables_.evictions(); }

 private:
  using Executables = cache::Lru<Hash128, std::shared_ptr<const jit::Executable>, HashOfHash128>;
  std::shared_ptr<const jit::Executable> counted(std::shared_ptr<const jit::Executable> code);

  Executables executables_;
  std::shared_ptr<std::atomic<int64_t>> held_ = std::make_shared<std::atomic<int64_t>>(0);
  int64_t until_failure_ = 0;
  std::unordered_map<Hash128, Hash128, HashOfHash128> first_seen_;  // structure -> exact key
};

}  // namespace encore::trace
