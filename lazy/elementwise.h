// The tensor function of every elementwise op: `exp(x)`, `atan2(y, x)`, `where(c, a, b)`.
//
// Operands broadcast under NumPy's rule and promote as docs/semantics.md says; the result's shape is
// the broadcast shape. Shapes, dtypes and devices that do not fit throw at the caller's line.
#pragma once
#include <encore/lazy/record.h>

namespace encore {

#define UNARY(name, ...) \
  inline Tensor name(const Arg& a) { return record_elementwise(OpId::name, {&a}); }
#define BINARY(name, ...) \
  inline Tensor name(const Arg& a, const Arg& b) { return record_elementwise(OpId::name, {&a, &b}); }
#define TERNARY(name, ...)                                           \
  inline Tensor name(const Arg& a, const Arg& b, const Arg& c) {     \
    return record_elementwise(OpId::name, {&a, &b, &c});             \
  }
#include <encore/lazy/elementwise.def>
#undef UNARY
#undef BINARY
#undef TERNARY

}  // namespace encore
