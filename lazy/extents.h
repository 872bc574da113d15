// Arithmetic on extents that users give: nothing wraps around, and no shape has more elements than
// can be counted.
#pragma once
#include <encore/lazy/shape.h>

#include <cstdint>
#include <string_view>

namespace encore {

/// Throws where a tensor of this shape would have too many elements; extents of 0 count as 1.
void check_count(const Shape& shape, std::string_view what, Location where);

/// Sums and products; the largest number where they overflow, which `check_count` then refuses.
constexpr int64_t saturating_add(int64_t a, int64_t b) {
  int64_t sum = 0;
  return __builtin_add_overflow(a, b, &sum) ? INT64_MAX : sum;
}
constexpr int64_t saturating_multiply(int64_t a, int64_t b) {
  int64_t product = 0;
  return __builtin_mul_overflow(a, b, &product) ? INT64_MAX : product;
}

}  // namespace encore
