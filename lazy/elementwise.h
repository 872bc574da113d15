// The tensor function of every elementwise op: `exp(x)`, `atan2(y, x)`, `where(c, a, b)`.
//
// Operands broadcast under NumPy's rule and promote as docs/semantics.md says; the result's shape
// is the broadcast shape. Shapes, dtypes and devices that do not fit throw at the caller's line.
#pragma once
#include <encore/lazy/record.h>

namespace encore {

// By value: the handle of a temporary becomes its user.
#define UNARY(name, ...) \
  inline Tensor name(Arg a) { return record_last(OpId::name, a); }
#define BINARY(name, ...) \
  inline Tensor name(Arg a, Arg b) { return record_last(OpId::name, a, b); }
#define TERNARY(name, ...) \
  inline Tensor name(Arg a, Arg b, Arg c) { return record_last(OpId::name, a, b, c); }
#include <encore/lazy/elementwise.def>
#undef UNARY
#undef BINARY
#undef TERNARY

inline Tensor greater(const Arg& a, const Arg& b) { return less(b, a); }
inline Tensor greater_equal(const Arg& a, const Arg& b) { return less_equal(b, a); }

/// x to the power of a C++ integer, which is part of the program and not a runtime argument. Up to
/// 8 by multiplication (at most n / 2 ulp); integers keep their dtype.
Tensor integer_power(const Arg& x, int64_t n);
template <class N>
  requires(std::is_integral_v<N> && !std::is_same_v<N, bool>)
Tensor pow(const Arg& x, N n) {
  return integer_power(x, int64_t(n));
}

}  // namespace encore
