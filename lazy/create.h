// Tensors out of nothing: from numbers, from vectors, from the user's memory.
//
// Factories record; only from_vector copies at once. Negative extents throw at the caller's line.
#pragma once
#include <encore/lazy/record.h>

namespace encore {

/// A tensor of `shape` with every element `value`; recorded, never stored unless something needs
/// it.
Tensor full(Shape shape, Arg value, Options options = {},
            std::source_location at = std::source_location::current());
Tensor zeros(Shape shape, Options options = {},
             std::source_location at = std::source_location::current());
Tensor ones(Shape shape, Options options = {},
            std::source_location at = std::source_location::current());
/// i64 positions 0 … count - 1, then scaled: start + i * step, in options.dtype.
Tensor arange(Scalar start, Scalar stop, Scalar step, Options options,
              std::source_location at = std::source_location::current());
/// Likewise in i64, or in f32 where one of the numbers is floating.
inline Tensor arange(Scalar start, Scalar stop, Scalar step = 1,
                     std::source_location at = std::source_location::current()) {
  bool floating = start.floating || stop.floating || step.floating;
  return arange(start, stop, step, {.dtype = floating ? DType::f32 : DType::i64}, at);
}
/// `count` numbers at equal distances, the first `start` and the last `stop`; one is `start`.
Tensor linspace(Scalar start, Scalar stop, int64_t count, Options options = {},
                std::source_location at = std::source_location::current());
/// Ones on the diagonal of [rows, columns], zeros elsewhere; without columns a square.
Tensor eye(int64_t rows, std::optional<int64_t> columns = {}, Options options = {},
           std::source_location at = std::source_location::current());
/// Position along `axis` of a tensor of `shape`, i64.
Tensor iota(Shape shape, int64_t axis, Device device = default_device(),
            std::source_location at = std::source_location::current());

/// Copies `values`, row-major; its size must be shape.numel().
template <Element T>
Tensor from_vector(const std::vector<T>& values, Shape shape, Device device = default_device(),
                   std::source_location at = std::source_location::current());
/// Likewise as a vector: shape [values.size()].
template <Element T>
Tensor from_vector(const std::vector<T>& values,
                   std::source_location at = std::source_location::current()) {
  return from_vector(values, Shape{int64_t(values.size())}, default_device(), at);
}
/// Copies `shape.numel()` elements of `dtype` from host memory.
Tensor from_bytes(const void* data, DType dtype, Shape shape, Device device = default_device(),
                  std::source_location at = std::source_location::current());
/// Reads the user's memory in place: it must stay unchanged and alive until `free` is called.
Tensor from_blob(void* data, DType dtype, Shape shape, std::function<void(void*)> free = {},
                 std::source_location at = std::source_location::current());

}  // namespace encore
