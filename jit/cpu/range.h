// The part of a launch that one call of a kernel's function works on.
#pragma once
#include <encore/jit/backend.h>

#include <cstddef>
#include <cstdint>

namespace encore::jit {

/// Positions are linear over all axes of a role, the last axis varying fastest. With column
/// accumulators the rows lie within one chunk, and a call that covers only a part of the inner
/// points keeps totals of only these.
struct Range {
  int64_t outer_begin, outer_end;
  int64_t row_begin, row_end;
  int64_t inner_begin, inner_end;
  int64_t chunk;
  // The running total of column accumulator a (in the order of Kernel::accumulators) at inner point
  // i lies at byte a * totals_stride + (i - inner_begin) * (size of its dtype), that of a row
  // scalar at inner point 0.
  std::byte* totals;
  int64_t totals_stride;
  // Row n of Traits::kept_rows lies at byte n * kept_stride, its inner points as those of totals.
  std::byte* kept;
  int64_t kept_stride;
  int64_t streaming;  // 1: stores bypass the caches
};

using KernelFunction = void (*)(const Segment* segment, const Range* range);

/// Splits of the inner points fall on multiples of this.
inline constexpr int64_t inner_granule = 1024;

}  // namespace encore::jit
