// Contractions of f32 and f64 by blocks: operands are read in place or packed, AsmJit micro-kernels
// multiply register tiles, and the epilogue runs on each tile while it is in the nearest cache.
//
// Every product is one chain of fma over ascending contracted points, starting from 0, so its bits
// depend on nothing that is chosen here: tile, blocking, threads, ISA.
//
// Threads: all functions may be called from any thread.
#pragma once
#include <encore/jit/cpu/contraction_blocks.h>
#include <encore/jit/cpu/contraction_seam.h>
#include <encore/jit/cpu/target.h>

#include <algorithm>
#include <mutex>
#include <vector>

namespace encore::jit {

/// What the blocked path asks of the compiler for one kernel. `blocked` is false when the kernel
/// has no contraction of f32 or f64, has row accumulators or adds to memory; then the compiler's
/// own loop nest runs it.
struct ContractionNeeds {
  bool blocked = false;
  bool finisher = false;  // the epilogue is more than one affine store of the product as it is
  bool a = false,
       b = false;  // that operand is more than one affine load of the contraction's dtype
};
ContractionNeeds contraction_needs(const Kernel& kernel);

/// The plan for the sizes that a kernel had last: making one takes as long as a tiny product.
class LatestPlan {
 public:
  template <class Make>
  Plan find(const Kernel& kernel, const int64_t* sizes, Make make) {
    std::lock_guard lock(mutex_);
    const size_t count = kernel.sizes.size();
    if (!known_ || !std::equal(sizes, sizes + count, sizes_.begin())) {
      known_ = false;
      sizes_.assign(sizes, sizes + count);
      plan_ = make();
      known_ = true;
    }
    return plan_;
  }

 private:
  std::mutex mutex_;
  bool known_ = false;
  std::vector<int64_t> sizes_;
  Plan plan_;
};

/// The assembly of the micro-kernel that multiplies most of a blocked product of the kernel's
/// sizes, for people; empty where nothing is multiplied.
std::string micro_kernel_of(const Kernel& kernel, Isa isa);

/// Runs one segment, on several threads where that pays. `code` holds what
/// `contraction_needs(kernel)` asked for; `latest` belongs to the kernel.
void run_contraction(const Kernel& kernel, const ContractionCode& code, Isa isa,
                     const Segment& segment, LatestPlan& latest);

}  // namespace encore::jit
