// Between which numbers the floating values of a kernel lie, where that follows from its text.
#pragma once
#include <encore/jit/kernel.h>

#include <limits>
#include <vector>

namespace encore::jit::cuda {

/// Any value may be NaN besides.
struct Range {
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
  bool within(double a, double b) const { return a <= low && high <= b; }
};

/// By value.
std::vector<Range> value_ranges(const Kernel& kernel);

/// Is `value` a NaN wherever `cause` is one, by arithmetic alone?
bool nan_follows(const Kernel& kernel, ValueId value, ValueId cause);

}  // namespace encore::jit::cuda
