// Functions that combine elements along axes.
//
// Axes may be negative; an empty list means all axes. `keepdim` keeps reduced axes with extent 1.
// Over no elements a sum is 0, a product 1, any false, all true; an extreme of nothing throws at
// the caller's line. NaN propagates, and counts as the largest and the smallest for argmax and
// argmin.
#pragma once
#include <encore/lazy/record.h>

namespace encore {

#define ENCORE_REDUCTION_FUNCTION(name)                                             \
  inline Tensor name(const Tensor& x, Tensor::Axes axes = {}, bool keepdim = false, \
                     Tensor::At at = Tensor::At::current()) {                       \
    return x.name(std::move(axes), keepdim, at);                                    \
  }
ENCORE_REDUCTION_FUNCTION(sum)   // integers and bool: as i64
ENCORE_REDUCTION_FUNCTION(prod)  // integers and bool: as i64
ENCORE_REDUCTION_FUNCTION(max)
ENCORE_REDUCTION_FUNCTION(min)
ENCORE_REDUCTION_FUNCTION(mean)  // integers and bool: as f32
ENCORE_REDUCTION_FUNCTION(any)
ENCORE_REDUCTION_FUNCTION(all)
#undef ENCORE_REDUCTION_FUNCTION

/// The first position of the largest (smallest) element, i64; without an axis, in the flattened
/// tensor.
inline Tensor argmax(const Tensor& x, std::optional<int64_t> axis = {}, bool keepdim = false,
                     Tensor::At at = Tensor::At::current()) {
  return x.argmax(axis, keepdim, at);
}
inline Tensor argmin(const Tensor& x, std::optional<int64_t> axis = {}, bool keepdim = false,
                     Tensor::At at = Tensor::At::current()) {
  return x.argmin(axis, keepdim, at);
}

/// Mean squared distance from the mean, over count - correction; two passes, so it is stable.
/// Integers and bool: as f32. Where the count does not exceed the correction it divides by zero.
Tensor var(const Tensor& x, Tensor::Axes axes = {}, int64_t correction = 1, bool keepdim = false,
           Tensor::At at = Tensor::At::current());
/// The square root of `var`.
Tensor standard_deviation(const Tensor& x, Tensor::Axes axes = {}, int64_t correction = 1,
                          bool keepdim = false, Tensor::At at = Tensor::At::current());

}  // namespace encore
