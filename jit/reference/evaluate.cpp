#include <encore/core/error.h>
#include <encore/jit/reference/evaluate.h>
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

namespace encore::jit {
namespace {

template <class T>
T decode(uint64_t bits) {
  if constexpr (std::is_same_v<T, bool>) return bits & 1;
  T value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

template <class T>
uint64_t encode(T value) {
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  return bits;
}

template <class T>
constexpr bool floating = std::is_floating_point_v<T>;
template <class T>
constexpr bool boolean = std::is_same_v<T, bool>;
template <class T>
constexpr bool integer = std::is_integral_v<T> && !boolean<T>;

// Unsigned and at least 32 bits wide, so that wrapping is defined and nothing promotes to int.
template <class T>
using Wrapping = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;

template <class T>
T add(T a, T b) {
  if constexpr (boolean<T>)
    return a || b;
  else if constexpr (floating<T>)
    return a + b;
  else
    return T(Wrapping<T>(a) + Wrapping<T>(b));
}

template <class T>
T subtract(T a, T b) {
  if constexpr (floating<T>)
    return a - b;
  else
    return T(Wrapping<T>(a) - Wrapping<T>(b));
}

template <class T>
T multiply(T a, T b) {
  if constexpr (boolean<T>)
    return a && b;
  else if constexpr (floating<T>)
    return a * b;
  else
    return T(Wrapping<T>(a) * Wrapping<T>(b));
}

template <class T>
T divide(T a, T b) {
  if constexpr (floating<T>)
    return a / b;
  else if (b == 0)
    return 0;
  else if (std::is_signed_v<T> && b == T(-1))
    return subtract(T(0), a);
  else
    return T(a / b);
}

template <class T>
T remainder(T a, T b) {
  if constexpr (floating<T>)
    return std::fmod(a, b);
  else if (b == 0)
    return a;
  else if (std::is_signed_v<T> && b == T(-1))
    return 0;
  else
    return T(a % b);
}

template <class T>
T absolute(T a) {
  if constexpr (floating<T>)
    return std::copysign(a, T(0));
  else
    return a < 0 ? subtract(T(0), a) : a;
}

template <class T>
T negate(T a) {
  if constexpr (floating<T>)
    return std::copysign(a, std::signbit(a) ? T(1) : T(-1));
  else
    return subtract(T(0), a);
}

template <class T>
T minimum(T a, T b) {
  return a < b || a != a ? a : b;
}

template <class T>
T maximum(T a, T b) {
  return a > b || a != a ? a : b;
}

template <class T>
T scale_by_power_of_two(T a, T b) {
  if (std::isnan(b)) return b;
  // Beyond 2200 every finite a has long overflowed or vanished.
  return std::scalbn(a, int(std::clamp(b, T(-2200), T(2200))));
}

template <class T>
bool is_shift(T count) {
  return count >= 0 && count < T(8 * sizeof(T));
}

template <class T>
T shift_left(T a, T count) {
  return is_shift(count) ? T(Wrapping<T>(a) << count) : T(0);
}

template <class T>
T shift_right(T a, T count) {
  if (is_shift(count)) return T(a >> count);
  return a < 0 ? T(-1) : T(0);
}

template <class T>
T multiply_high(T a, T b) {
  using Wide = std::conditional_t<sizeof(T) == 8, unsigned __int128, uint64_t>;
  return T(Wide(a) * Wide(b) >> 8 * sizeof(T));
}

template <class To, class From>
uint64_t cast(uint64_t bits) {
  From a = decode<From>(bits);
  if constexpr (boolean<To>)
    return a != 0;
  else if constexpr (integer<To> && floating<From>)
    return Scalar(a).bits_as(dtype_of<To>);
  else
    return encode(To(a));
}

// ENCORE_PURE(result type, expression of a, b, c), which are T.
#define ENCORE_PURE(R, ...)                                                  \
  return [](uint64_t bits_a, uint64_t bits_b, uint64_t bits_c) -> uint64_t { \
    [[maybe_unused]] T a = decode<T>(bits_a);                                \
    [[maybe_unused]] T b = decode<T>(bits_b);                                \
    [[maybe_unused]] T c = decode<T>(bits_c);                                \
    return encode<R>(__VA_ARGS__);                                           \
  }

template <class To>
Evaluation cast_from(DType operand) {
  switch (operand) {
#define DTYPE(name, bytes, kind, type)                                                     \
  case DType::name:                                                                        \
    if constexpr (std::is_arithmetic_v<type>)                                              \
      return [](uint64_t a, uint64_t, uint64_t) -> uint64_t { return cast<To, type>(a); }; \
    break;
    ENCORE_DTYPES(DTYPE)
#undef DTYPE
  }
  return nullptr;
}

template <class T>
Evaluation bitcast_from(DType operand) {
  bool allowed = compute_dtype(operand) == operand && size_of(operand) == sizeof(T) &&
                 boolean<T> == (operand == DType::boolean);
  if (!allowed) return nullptr;
  ENCORE_PURE(T, a);
}

template <class T>
Evaluation quantize_to(uint32_t aux) {
  if constexpr (std::is_same_v<T, float>) {
    if (aux == uint32_t(DType::f16)) ENCORE_PURE(T, T(Half(a)));
    if (aux == uint32_t(DType::bf16)) ENCORE_PURE(T, T(BFloat16(a)));
  }
  return nullptr;
}

template <class T>
Evaluation select_of(DType operand) {
  if (operand != DType::boolean) return nullptr;
  return [](uint64_t condition, uint64_t yes, uint64_t no) -> uint64_t {
    return encode(decode<T>(condition & 1 ? yes : no));
  };
}

/// `T` is the type of the operands, save for select, cast and bitcast, where it is the result's.
template <class T>
Evaluation evaluation_for(Opcode op, DType operand, uint32_t aux) {
  constexpr bool number = !boolean<T>;
  switch (op) {
    case Opcode::constant:
    case Opcode::scalar:
    case Opcode::size:
    case Opcode::index:
    case Opcode::load:
    case Opcode::store:
    case Opcode::store_add:
    case Opcode::reduced:
    case Opcode::product:
      return nullptr;
    case Opcode::add:
      ENCORE_PURE(T, add(a, b));
    case Opcode::sub:
      if constexpr (number) ENCORE_PURE(T, subtract(a, b));
      return nullptr;
    case Opcode::mul:
      ENCORE_PURE(T, multiply(a, b));
    case Opcode::div:
      if constexpr (number) ENCORE_PURE(T, divide(a, b));
      return nullptr;
    case Opcode::rem:
      if constexpr (number) ENCORE_PURE(T, remainder(a, b));
      return nullptr;
    case Opcode::fma:
      if constexpr (floating<T>) ENCORE_PURE(T, std::fma(a, b, c));
      return nullptr;
    case Opcode::neg:
      if constexpr (number) ENCORE_PURE(T, negate(a));
      return nullptr;
    case Opcode::abs:
      if constexpr (number) ENCORE_PURE(T, absolute(a));
      return nullptr;
    case Opcode::min:
      ENCORE_PURE(T, minimum(a, b));
    case Opcode::max:
      ENCORE_PURE(T, maximum(a, b));
    case Opcode::sqrt:
      if constexpr (floating<T>) ENCORE_PURE(T, std::sqrt(a));
      return nullptr;
    case Opcode::floor:
      if constexpr (floating<T>) ENCORE_PURE(T, std::floor(a));
      return nullptr;
    case Opcode::ceil:
      if constexpr (floating<T>) ENCORE_PURE(T, std::ceil(a));
      return nullptr;
    case Opcode::trunc:
      if constexpr (floating<T>) ENCORE_PURE(T, std::trunc(a));
      return nullptr;
    case Opcode::round:
      if constexpr (floating<T>) ENCORE_PURE(T, std::nearbyint(a));
      return nullptr;
    case Opcode::scale2:
      if constexpr (floating<T>) ENCORE_PURE(T, scale_by_power_of_two(a, b));
      return nullptr;
    case Opcode::eq:
      ENCORE_PURE(bool, a == b);
    case Opcode::ne:
      ENCORE_PURE(bool, a != b);
    case Opcode::lt:
      ENCORE_PURE(bool, a < b);
    case Opcode::le:
      ENCORE_PURE(bool, a <= b);
    case Opcode::bit_and:
      if constexpr (!floating<T>) ENCORE_PURE(T, T(a & b));
      return nullptr;
    case Opcode::bit_or:
      if constexpr (!floating<T>) ENCORE_PURE(T, T(a | b));
      return nullptr;
    case Opcode::bit_xor:
      if constexpr (!floating<T>) ENCORE_PURE(T, T(a ^ b));
      return nullptr;
    case Opcode::bit_not:
      if constexpr (boolean<T>) ENCORE_PURE(T, !a);
      if constexpr (integer<T>) ENCORE_PURE(T, T(~a));
      return nullptr;
    case Opcode::shl:
      if constexpr (integer<T>) ENCORE_PURE(T, shift_left(a, b));
      return nullptr;
    case Opcode::shr:
      if constexpr (integer<T>) ENCORE_PURE(T, shift_right(a, b));
      return nullptr;
    case Opcode::mul_high:
      if constexpr (std::is_same_v<T, uint32_t> || std::is_same_v<T, uint64_t>)
        ENCORE_PURE(T, multiply_high(a, b));
      return nullptr;
    case Opcode::select:
      return select_of<T>(operand);
    case Opcode::cast:
      return cast_from<T>(operand);
    case Opcode::bitcast:
      return bitcast_from<T>(operand);
    case Opcode::quantize:
      return quantize_to<T>(aux);
  }
  return nullptr;
}

#undef ENCORE_PURE

bool is_comparison(Opcode op) {
  return op == Opcode::eq || op == Opcode::ne || op == Opcode::lt || op == Opcode::le;
}

bool changes_dtype(Opcode op) {
  return op == Opcode::select || op == Opcode::cast || op == Opcode::bitcast;
}

}  // namespace

Evaluation evaluation_of(Opcode op, DType result, DType operand, uint32_t aux) {
  if (is_comparison(op) && result != DType::boolean) return nullptr;
  if (!is_comparison(op) && !changes_dtype(op) && result != operand) return nullptr;
  switch (is_comparison(op) ? operand : result) {
#define DTYPE(name, bytes, kind, type)                                                       \
  case DType::name:                                                                          \
    if constexpr (std::is_arithmetic_v<type>) return evaluation_for<type>(op, operand, aux); \
    break;
    ENCORE_DTYPES(DTYPE)
#undef DTYPE
  }
  return nullptr;
}

uint64_t evaluate(Opcode op, DType result, DType operand, uint64_t a, uint64_t b, uint64_t c,
                  uint32_t aux) {
  Evaluation evaluation = evaluation_of(op, result, operand, aux);
  if (!evaluation)
    throw Error(fmt::format("instruction {} {} has no meaning on {}", name_of(op), name_of(result),
                            name_of(operand)),
                {});
  return evaluation(a, b, c);
}

}  // namespace encore::jit
