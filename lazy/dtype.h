// The element types, one row each; every other list of dtypes expands from here.
#pragma once
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <string_view>

namespace encore {

enum class Kind : uint8_t { boolean, unsigned_integer, signed_integer, floating };

// DTYPE(name, bytes, kind, C++ type): ordered by kind, then by width; promotion relies on it.
#define ENCORE_DTYPES(DTYPE)                      \
  DTYPE(boolean, 1, Kind::boolean, bool)          \
  DTYPE(u8, 1, Kind::unsigned_integer, uint8_t)   \
  DTYPE(u16, 2, Kind::unsigned_integer, uint16_t) \
  DTYPE(u32, 4, Kind::unsigned_integer, uint32_t) \
  DTYPE(u64, 8, Kind::unsigned_integer, uint64_t) \
  DTYPE(i8, 1, Kind::signed_integer, int8_t)      \
  DTYPE(i16, 2, Kind::signed_integer, int16_t)    \
  DTYPE(i32, 4, Kind::signed_integer, int32_t)    \
  DTYPE(i64, 8, Kind::signed_integer, int64_t)    \
  DTYPE(f16, 2, Kind::floating, Half)             \
  DTYPE(bf16, 2, Kind::floating, BFloat16)        \
  DTYPE(f32, 4, Kind::floating, float)            \
  DTYPE(f64, 8, Kind::floating, double)

enum class DType : uint8_t {
#define DTYPE(name, bytes, kind, type) name,
  ENCORE_DTYPES(DTYPE)
#undef DTYPE
};

inline constexpr int dtype_count = 0
#define DTYPE(name, bytes, kind, type) +1
    ENCORE_DTYPES(DTYPE)
#undef DTYPE
    ;

// Spelled `encore::f32` by users.
#define DTYPE(name, bytes, kind, type) inline constexpr DType name = DType::name;
ENCORE_DTYPES(DTYPE)
#undef DTYPE

// Not inside the functions: there, every call would write them to the stack first.
inline constexpr uint8_t dtype_sizes[] = {
#define DTYPE(name, bytes, kind, type) bytes,
    ENCORE_DTYPES(DTYPE)
#undef DTYPE
};
inline constexpr Kind dtype_kinds[] = {
#define DTYPE(name, bytes, kind, type) kind,
    ENCORE_DTYPES(DTYPE)
#undef DTYPE
};

constexpr size_t size_of(DType dtype) { return dtype_sizes[int(dtype)]; }
constexpr Kind kind_of(DType dtype) { return dtype_kinds[int(dtype)]; }

constexpr std::string_view name_of(DType dtype) {
  constexpr std::string_view names[] = {
#define DTYPE(name, bytes, kind, type) #name,
      ENCORE_DTYPES(DTYPE)
#undef DTYPE
  };
  return dtype == DType::boolean ? "bool" : names[int(dtype)];
}

std::ostream& operator<<(std::ostream& to, DType dtype);  // its name

constexpr bool is_floating(DType dtype) { return kind_of(dtype) == Kind::floating; }
constexpr bool is_integer(DType dtype) {
  return kind_of(dtype) == Kind::signed_integer || kind_of(dtype) == Kind::unsigned_integer;
}
constexpr bool is_signed(DType dtype) {
  return kind_of(dtype) == Kind::signed_integer || is_floating(dtype);
}

/// The dtype that values of `dtype` have inside a kernel: f16 and bf16 are computed in f32.
constexpr DType compute_dtype(DType dtype) {
  return dtype == DType::f16 || dtype == DType::bf16 ? DType::f32 : dtype;
}

/// The smallest dtype that both fit in, as PyTorch has it: floating wins over integer, signed over
/// unsigned (one width up where needed), f16 with bf16 gives f32.
DType promote(DType a, DType b);

/// IEEE binary16 and bfloat16 as stored; arithmetic on them happens in f32. Conversions round to
/// nearest even.
struct Half {
  uint16_t bits = 0;
  Half() = default;
  explicit Half(float value);
  explicit operator float() const;
};
struct BFloat16 {
  uint16_t bits = 0;
  BFloat16() = default;
  explicit BFloat16(float value);
  explicit operator float() const;
};

template <class T>
inline constexpr DType dtype_of = [] {
  static_assert(sizeof(T) == 0, "no dtype for this C++ type");
  return DType::f32;
}();
#define DTYPE(name, bytes, kind, type) \
  template <>                          \
  inline constexpr DType dtype_of<type> = DType::name;
ENCORE_DTYPES(DTYPE)
#undef DTYPE

/// A C++ type that is some dtype's. `long long` is none where int64_t is `long`.
template <class T>
concept Element = false
#define DTYPE(name, bytes, kind, type) || std::same_as<T, type>
    ENCORE_DTYPES(DTYPE);
#undef DTYPE

}  // namespace encore
