// Formulas over a Builder: a Term is a Value with operators, and a number beside it becomes a
// constant of its dtype. Every operator is one instruction; `fma` is written where it is meant.
#pragma once
#include <encore/lazy/instruction.h>

#include <concepts>
#include <span>
#include <type_traits>

namespace encore::math {

class Term {
 public:
  Term(Builder& to, Value value) : to_(&to), value_(value) {}
  operator Value() const { return value_; }
  DType dtype() const { return value_.dtype; }
  bool is_f32() const { return value_.dtype == DType::f32; }

  Term constant(Scalar number) const { return {*to_, to_->constant(dtype(), number)}; }
  Term cast(DType to) const { return {*to_, to_->cast(value_, to)}; }
  Term bitcast(DType to) const { return {*to_, to_->bitcast(value_, to)}; }
  template <std::same_as<Term>... Rest>
  Term emit(Opcode op, DType dtype, Rest... rest) const {
    return {*to_, to_->emit(op, dtype, {value_, rest.value_...})};
  }

 private:
  Builder* to_;
  Value value_;
};

/// A Term, or a number on its way to become a constant.
class Operand {
 public:
  Operand(const Term& term) : term_(&term) {}
  template <class T>
    requires std::is_arithmetic_v<T>
  Operand(T number) : number_(number) {}
  Term beside(const Term& term) const { return term_ ? *term_ : term.constant(number_); }

 private:
  const Term* term_ = nullptr;
  Scalar number_;
};

inline Term binary(Opcode op, const Term& a, const Operand& b) {
  return a.emit(op, a.dtype(), b.beside(a));
}
inline Term compare(Opcode op, const Term& a, const Operand& b) {
  return a.emit(op, DType::boolean, b.beside(a));
}

#define ENCORE_TERM_OPERATOR(symbol, opcode)                     \
  inline Term operator symbol(const Term& a, const Operand& b) { \
    return binary(Opcode::opcode, a, b);                         \
  }                                                              \
  template <class T>                                             \
    requires std::is_arithmetic_v<T>                             \
  Term operator symbol(T a, const Term& b) {                     \
    return binary(Opcode::opcode, b.constant(a), b);             \
  }
ENCORE_TERM_OPERATOR(+, add)
ENCORE_TERM_OPERATOR(-, sub)
ENCORE_TERM_OPERATOR(*, mul)
ENCORE_TERM_OPERATOR(/, div)
ENCORE_TERM_OPERATOR(&, bit_and)
ENCORE_TERM_OPERATOR(|, bit_or)
ENCORE_TERM_OPERATOR(^, bit_xor)
ENCORE_TERM_OPERATOR(<<, shl)
ENCORE_TERM_OPERATOR(>>, shr)
#undef ENCORE_TERM_OPERATOR

inline Term operator-(const Term& a) { return a.emit(Opcode::neg, a.dtype()); }
inline Term operator!(const Term& a) { return a.emit(Opcode::bit_not, a.dtype()); }

inline Term operator<(const Term& a, const Operand& b) { return compare(Opcode::lt, a, b); }
inline Term operator>(const Term& a, const Operand& b) {
  return b.beside(a).emit(Opcode::lt, DType::boolean, a);
}
inline Term operator==(const Term& a, const Operand& b) { return compare(Opcode::eq, a, b); }
inline Term operator!=(const Term& a, const Operand& b) { return compare(Opcode::ne, a, b); }

inline Term fma(const Term& a, const Operand& b, const Operand& c) {
  return a.emit(Opcode::fma, a.dtype(), b.beside(a), c.beside(a));
}
inline Term absolute(const Term& a) { return a.emit(Opcode::abs, a.dtype()); }
inline Term truncate(const Term& a) { return a.emit(Opcode::trunc, a.dtype()); }
inline Term square_root(const Term& a) { return a.emit(Opcode::sqrt, a.dtype()); }
inline Term scale2(const Term& a, const Term& exponent) {
  return binary(Opcode::scale2, a, exponent);
}
/// condition ? yes : no; at least one of the two is a Term.
inline Term select(const Term& condition, const Term& yes, const Operand& no) {
  return condition.emit(Opcode::select, yes.dtype(), yes, no.beside(yes));
}
template <class T>
  requires std::is_arithmetic_v<T>
Term select(const Term& condition, T yes, const Term& no) {
  return select(condition, no.constant(yes), no);
}

/// The nearer of the limits for x outside [low, high]; NaN stays. Each half is one machine
/// instruction, which `min` and `max` with their rule for a NaN on either side are not.
inline Term at_most(const Term& x, double high) {
  Term limit = x.constant(high);
  return select(x > limit, limit, x);
}
inline Term clamp(const Term& x, double low, double high) {
  Term lowered = at_most(x, high), limit = x.constant(low);
  return select(lowered < limit, limit, lowered);
}

/// The unsigned and the signed integer dtype as wide as a floating one.
inline DType unsigned_of(DType dtype) { return dtype == DType::f32 ? DType::u32 : DType::u64; }
inline DType signed_of(DType dtype) { return dtype == DType::f32 ? DType::i32 : DType::i64; }

inline Term to_bits(const Term& x) { return x.bitcast(unsigned_of(x.dtype())); }
inline uint64_t sign_mask(DType dtype) { return dtype == DType::f32 ? 1ull << 31 : 1ull << 63; }
inline Term sign_of(const Term& x) { return to_bits(x) & sign_mask(x.dtype()); }

/// `x` with the sign bit flipped where `sign` has it.
inline Term flip_sign(const Term& x, const Term& sign) {
  return (to_bits(x) ^ sign).bitcast(x.dtype());
}
/// `magnitude`, whose sign bit is clear or which is NaN, with the sign of `x`.
inline Term copy_sign(const Term& magnitude, const Term& x) {
  return (to_bits(magnitude) | sign_of(x)).bitcast(x.dtype());
}

/// coefficients[first] + coefficients[first + step] x + ..., by Horner's rule in fma.
inline Term horner(const Term& x, std::span<const double> coefficients, size_t first = 0,
                   size_t step = 1) {
  size_t last = first + (coefficients.size() - 1 - first) / step * step;
  Term sum = x.constant(coefficients[last]);
  for (size_t i = last; i >= first + step; i -= step) sum = fma(sum, x, coefficients[i - step]);
  return sum;
}

/// coefficients[0] + coefficients[1] x + ...; long ones as even and odd halves in x^2, which a
/// processor computes side by side: waiting, not arithmetic, is what long chains cost. Where signs
/// alternate and |x| is near 1 the halves cancel; there `horner` is the exacter one.
inline Term polynomial(const Term& x, std::span<const double> coefficients) {
  if (coefficients.size() < 8) return horner(x, coefficients);
  Term square = x * x;
  if (coefficients.size() < 20) {
    Term odd = horner(square, coefficients, 1, 2);
    return fma(odd, x, horner(square, coefficients, 0, 2));
  }
  Term fourth = square * square;
  Term low = fma(horner(fourth, coefficients, 1, 4), x, horner(fourth, coefficients, 0, 4));
  Term high = fma(horner(fourth, coefficients, 3, 4), x, horner(fourth, coefficients, 2, 4));
  return fma(high, square, low);
}

/// The coefficients that belong to x's dtype.
inline Term polynomial(const Term& x, std::span<const double> f32, std::span<const double> f64) {
  return polynomial(x, x.is_f32() ? f32 : f64);
}

}  // namespace encore::math
