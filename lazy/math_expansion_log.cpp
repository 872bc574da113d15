// log, log2, log1p. x = 2^k (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)); coefficients are from
// tests/reference/minimax.py.
#include <encore/lazy/math_expansion.h>
#include <encore/lazy/math_logarithm.h>

#include <bit>
#include <limits>

namespace encore::math {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

constexpr double tail_f32[] = {-0x1.fffff8p-2, 0x1.555550p-2,  -0x1.000428p-2,
                               0x1.99a3fcp-3,  -0x1.542756p-3, 0x1.227156p-3,
                               -0x1.0f387ap-3, 0x1.084ac4p-3,  -0x1.383088p-4};
constexpr double tail_f64[] = {0x1.5555555555592p-1, 0x1.999999997fdd4p-2, 0x1.24924941f14f2p-2,
                               0x1.c71c5207eaca4p-3, 0x1.74663f7576270p-3, 0x1.39a1a64891b3fp-3,
                               0x1.2f066d094e77bp-3};

/// log(1 + f) - f.
Term log_tail(const Term& f) {
  if (f.is_f32()) return f * f * polynomial(f, tail_f32);
  // log(1 + f) = 2 atanh(s) = 2 s + s R(s^2), and 2 s = f - s f.
  Term s = f / (f + 2);
  Term z = s * s;
  return s * fma(z, polynomial(z, tail_f64), -f);
}

/// `result` where x > 0 is finite; log's special values elsewhere.
Term with_special_values(const Term& result, const Term& x) {
  Term finite = select(x < infinity, result, x);
  return select(x > 0, finite, select(x == 0, -infinity, x.constant(nan)));
}

constexpr double ln2 = 0x1.62e42fefa39efp-1;
constexpr double ln2_low = 0x1.abc9e3b39803fp-56;

/// log(1 + f) - negated_k ln2, with the sign of f where it is 0. In f32 ln2 is off by 0.05 ulp.
Term add_exponent(const Term& f, const Term& negated_k) {
  Term log_f = f.is_f32() ? fma(f * f, polynomial(f, tail_f32), f)
                          : fma(negated_k, -ln2_low, log_tail(f)) + f;
  return fma(negated_k, -ln2, log_f);
}

}  // namespace

Split split_exponent(const Term& x) {
  bool f32 = x.is_f32();
  DType integer = signed_of(x.dtype());
  int digits = f32 ? 23 : 52;
  int64_t one = f32 ? 1 << 23 : int64_t(1) << 52;
  int64_t root_half = f32 ? 0x3f3504f3 : 0x3fe6a09e667f3bcd;
  Term bits = x.bitcast(integer);
  Term negated_k = (root_half + one - 1 - bits) >> digits;
  Term mantissa = (bits + (negated_k << digits)).bitcast(x.dtype());
  if (f32) return {mantissa - 1, negated_k.cast(DType::f32)};
  // Few processors convert 64-bit integers; as the last places of 1.5 2^52 they need no conversion.
  Term shifted = (negated_k + std::bit_cast<int64_t>(0x1.8p52)).bitcast(DType::f64);
  return {mantissa - 1, shifted - 0x1.8p52};
}

Split split_any_exponent(const Term& x) {
  bool f32 = x.is_f32();
  double least_normal = f32 ? 0x1p-126 : 0x1p-1022;
  Term tiny = x < least_normal;
  Split split = split_exponent(select(tiny, x * (f32 ? 0x1p32 : 0x1p64), x));
  return {split.f, split.negated_k + select(tiny, f32 ? 32 : 64, x.constant(0))};
}

Value log(Builder& to, Value value) {
  Term x(to, value);
  Split split = split_any_exponent(x);
  return with_special_values(add_exponent(split.f, split.negated_k), x);
}

Value log1p(Builder& to, Value value) {
  Term x(to, value);
  Term sum = x + 1;
  // The exponent of the rounded sum, but f without its rounding error: 2^-k x + (2^-k - 1).
  Term negated_k = split_exponent(sum).negated_k;
  Term f = scale2(x, negated_k) - (1 - scale2(x.constant(1), negated_k));
  return with_special_values(add_exponent(f, negated_k), sum);
}

Value log2(Builder& to, Value value) {
  constexpr double log2e = 0x1.71547652b82fep+0, log2e_low = 0x1.777d0ffda0d24p-56;
  Term x(to, value);
  Split split = split_any_exponent(x);
  double high = x.is_f32() ? 0x1.715476p+0 : log2e;
  double low = x.is_f32() ? 0x1.4ae0cp-26 : log2e_low;
  Term fraction = fma(split.f, high, fma(split.f, low, log_tail(split.f) * high));
  return with_special_values(fraction - split.negated_k, x);
}

}  // namespace encore::math
