// exp and what is made of it. x = k ln2 + r with |r| <= ln2 / 2, so e^x = 2^k (1 + r + r^2 q(r));
// coefficients of q are from tests/reference/minimax.py.
#include <encore/lazy/math_expansion.h>
#include <encore/lazy/math_exponential.h>

#include <limits>

namespace encore::math {
namespace {

constexpr double tail_f32[] = {0x1.fffffep-2, 0x1.5554b0p-3, 0x1.5556c4p-5, 0x1.122864p-7,
                               0x1.6becb0p-10};
constexpr double fine_tail_f32[] = {0x1p-1,        0x1.555554p-3,  0x1.5554d0p-5,
                                    0x1.111228p-7, 0x1.6d724ep-10, 0x1.a032c8p-13};

constexpr double sinh_f32[] = {0x1.555556p-3, 0x1.111124p-7, 0x1.9ffe70p-13, 0x1.7a159ep-19};
constexpr double sinh_f64[] = {0x1.5555555555556p-3,  0x1.11111111110a6p-7,  0x1.a01a01a02899dp-13,
                               0x1.71de3a465b1cep-19, 0x1.ae64671b1a17ep-26, 0x1.611a561d00f72p-33,
                               0x1.b4c75ae3a9e02p-41};

Term exp_of_reduced(const Reduced& x) {
  Term r = fma(x.k, -x.low, x.head);
  Term tail = polynomial(r, tail_f32, exp_tail_f64);
  return fma(fma(tail, r, 1), r, 1);
}

/// e^x / 2 for x >= 0, inf where only e^x / 2 itself overflows.
Term half_exp(const Term& x) {
  Reduced reduced = reduce_by_ln2(at_most(x, x.is_f32() ? 90 : 711));
  return scale2(exp_of_reduced(reduced), reduced.k - 1);
}

}  // namespace

Reduced reduce_by_ln2(const Term& x) {
  constexpr double log2e = 0x1.71547652b82fep+0;
  // ln2 = high + low with low > 0, so that a zero keeps its sign through the expansions below.
  bool f32 = x.is_f32();
  double high = f32 ? 0x1.62e42ep-1 : 0x1.62e42fefa39efp-1;
  double low = f32 ? 0x1.efa39ep-25 : 0x1.abc9e3b39803fp-56;
  // Adding 1.5 2^(digits - 1) rounds to an integer; +0 comes from both zeros.
  double magic = f32 ? 0x1.8p23 : 0x1.8p52;
  Term k = fma(x, log2e, magic) - magic;
  return {k, fma(k, -high, x), low};
}

Term expm1_times(const Reduced& x, const Term& scale, double factor) {
  Term correction = x.k * x.low;
  Term r = x.head - correction;
  Term q = polynomial(r, fine_tail_f32, exp_tail_f64);
  Term negated_tail = fma(-(r * r), q, correction);
  Term leading = fma(scale, x.head, -(factor - scale));
  return fma(-scale, negated_tail, leading);
}

Value exp(Builder& to, Value value) {
  Term x(to, value);
  bool f32 = x.is_f32();
  Term clamped = clamp(x, f32 ? -105 : -746, f32 ? 89 : 710);
  Reduced reduced = reduce_by_ln2(clamped);
  return scale2(exp_of_reduced(reduced), reduced.k);
}

Value expm1(Builder& to, Value value) {
  Term x(to, value);
  bool f32 = x.is_f32();
  Term clamped = clamp(x, f32 ? -20 : -40, f32 ? 89 : 710);
  Reduced reduced = reduce_by_ln2(clamped);
  // Half the result, because 2^k may overflow where the result does not.
  Term half = expm1_times(reduced, scale2(x.constant(0.5), reduced.k), 0.5);
  return half + half;
}

Value sinh(Builder& to, Value value) {
  Term x(to, value);
  Term a = absolute(x);
  Term half = half_exp(a);
  Term z = a * a;
  Term series = fma(a * z, polynomial(z, sinh_f32, sinh_f64), a);
  return copy_sign(select(a < 1, series, half - 0.25 / half), x);
}

Value cosh(Builder& to, Value value) {
  Term half = half_exp(absolute(Term(to, value)));
  return half + 0.25 / half;
}

Value tanh(Builder& to, Value value) {
  // (e^2x - 1) / (e^2x + 1): never above 1, and each part is accurate by itself.
  Term x(to, value);
  Term a = at_most(absolute(x), x.is_f32() ? 9.1 : 19.1);
  Reduced reduced = reduce_by_ln2(a + a);
  Term above = expm1_times(reduced, scale2(x.constant(1), reduced.k), 1);
  return copy_sign(above / (above + 2), x);
}

}  // namespace encore::math
