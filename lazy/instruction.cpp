#include <encore/lazy/instruction.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

namespace encore {
namespace {

template <class T>
uint64_t bits_of(T value) {
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  return bits;
}

/// Truncates, saturates, and turns NaN into 0.
template <class T>
T saturate(double number) {
  if (std::isnan(number)) return 0;
  // max() + 1 is a power of two, hence exact; max() itself need not be.
  constexpr double above = 2.0 * double(T(1) << (std::numeric_limits<T>::digits - 1));
  constexpr double lowest = double(std::numeric_limits<T>::min());
  if (number >= above) return std::numeric_limits<T>::max();
  if (number <= lowest) return std::numeric_limits<T>::min();
  return T(number);
}

template <class T>
T convert(const Scalar& scalar) {
  if constexpr (std::is_same_v<T, bool>) {
    return scalar.floating ? scalar.number != 0 : scalar.integer != 0;
  } else if constexpr (std::is_integral_v<T>) {
    return scalar.floating ? saturate<T>(scalar.number) : T(scalar.integer);
  } else if constexpr (std::is_floating_point_v<T>) {
    return scalar.floating ? T(scalar.number) : T(scalar.integer);
  } else {
    return T(convert<float>(scalar));  // as a kernel does: computed in f32, rounded at the store
  }
}

}  // namespace

uint64_t Scalar::bits_as(DType dtype) const {
  switch (dtype) {
#define DTYPE(name, bytes, kind, type) \
  case DType::name:                    \
    return bits_of(convert<type>(*this));
    ENCORE_DTYPES(DTYPE)
#undef DTYPE
  }
  return 0;
}

}  // namespace encore
