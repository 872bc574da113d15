#include <encore/jit/kernel.h>

#include <algorithm>
#include <limits>
#include <type_traits>

namespace encore::jit {
namespace {

template <class T>
Scalar highest() {
  using Limits = std::numeric_limits<T>;
  if constexpr (Limits::has_infinity)
    return Limits::infinity();
  else
    return Limits::max();
}

template <class T>
Scalar lowest() {
  using Limits = std::numeric_limits<T>;
  if constexpr (Limits::has_infinity)
    return -Limits::infinity();
  else
    return Limits::lowest();
}

/// The end of a dtype's range that every value beats: the lowest for max, the highest for min.
Scalar worst(bool for_max, DType dtype) {
  switch (compute_dtype(dtype)) {
#define DTYPE(name, bytes, kind, type)                                                           \
  case DType::name:                                                                              \
    if constexpr (std::is_arithmetic_v<type>) return for_max ? lowest<type>() : highest<type>(); \
    break;
    ENCORE_DTYPES(DTYPE)
#undef DTYPE
  }
  return 0;
}

}  // namespace

uint64_t identity_bits(Reduce reduce, DType dtype) {
  switch (reduce) {
    case Reduce::sum:
    case Reduce::any:
      return 0;
    case Reduce::prod:
    case Reduce::all:
      return Scalar(1).bits_as(dtype);
    case Reduce::max:
    case Reduce::argmax:
      return worst(true, dtype).bits_as(dtype);
    case Reduce::min:
    case Reduce::argmin:
      return worst(false, dtype).bits_as(dtype);
  }
  return 0;
}

int64_t extent_product(const Kernel& kernel, Role role, const int64_t* sizes) {
  int64_t product = 1;
  for (const Axis& axis : kernel.axes)
    if (axis.role == role) product *= sizes[axis.extent];
  return product;
}

int64_t chunk_count(const Kernel& kernel, const int64_t* sizes) {
  if (kernel.rows_per_chunk == none) return 1;
  int64_t rows = extent_product(kernel, Role::row, sizes);
  int64_t rows_per_chunk = sizes[kernel.rows_per_chunk];
  return std::max<int64_t>(1, (rows + rows_per_chunk - 1) / rows_per_chunk);
}

size_t held_bytes(const Kernel& kernel) {
  constexpr size_t allocation = 16;  // what one costs beside its bytes
  size_t total = kernel.name.capacity();
  auto add = [&](const auto& vector) {
    if (vector.capacity()) total += vector.capacity() * sizeof vector[0] + allocation;
  };
  add(kernel.sizes);
  add(kernel.axes);
  add(kernel.arguments);
  add(kernel.scalars);
  add(kernel.accesses);
  for (const Access& access : kernel.accesses) add(access.strides);
  add(kernel.instructions);
  add(kernel.accumulators);
  add(kernel.stages);
  return total;
}

Kernel with_sizes_as_arguments(Kernel kernel) {
  for (Size& size : kernel.sizes) size.fixed = size.value == 0 || size.value == 1;
  return kernel;
}

Hash128 key_of(const Kernel& kernel) { return hash_text(to_text(kernel)); }

}  // namespace encore::jit
