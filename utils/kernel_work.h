// What one launch of a kernel moves and computes, counted from its text.
#pragma once
#include <encore/jit/kernel.h>
#include <encore/utils/kernel_ranges.h>

#include <vector>

namespace encore {

struct KernelWork {
  std::vector<Interval> reach;  // by argument: the elements that its accesses can be at
  double bytes = 0;             // the fewest: every element once to read it, once to write it
  double flops = 0;             // floating operations, an fma as two; integer products as well
};

/// Throws Error where an argument's elements cannot be told, because an offset has no bounds.
KernelWork work_of(const jit::Kernel& kernel, const KernelRanges& ranges);

}  // namespace encore
