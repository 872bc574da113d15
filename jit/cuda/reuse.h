// What the sweeps of a row compute twice, where a thread can keep a row's values in registers.
//
// Equal instructions of different sweeps are one value; a load that reads what an earlier sweep
// stored at the same point is that value, and a store that a later one overwrites unseen is gone.
// A value that a later sweep needs is kept, or computed again where that is cheap.
#pragma once
#include <encore/jit/cuda/schedule.h>
#include <encore/jit/kernel.h>

#include <vector>

namespace encore::jit::cuda {

struct Reuse {
  std::vector<ValueId> canonical;  // by value: the first that is equal to it
  std::vector<bool> kept;          // by canonical value: waits in registers for later sweeps
  std::vector<std::vector<ValueId>> computed;  // by stage: canonical values and stores, in order
};

/// Without `registers` each sweep computes all that it needs; with them, values that differ inside
/// a row are kept while they fit, `elements` of each.
Reuse find_reuse(const Kernel& kernel, uint32_t elements, uint32_t registers);

}  // namespace encore::jit::cuda
