// pow, rsqrt, cbrt. |a|^b = e^(b log|a|): in f64 for f32; for f64 the logarithm and the product
// carry about 65 bits in two numbers. Coefficients are from tests/reference/minimax.py.
#include <encore/lazy/math_expansion.h>
#include <encore/lazy/math_exponential.h>
#include <encore/lazy/math_logarithm.h>

#include <limits>

namespace encore::math {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

// log(1 + f) = f + f^2 q(f), 2^-38
constexpr double log_f32[] = {-0x1.fffffffeed74ep-2, 0x1.55555565221c7p-2,  -0x1.000001592383cp-2,
                              0x1.999988a76b191p-3,  -0x1.555468a782ae2p-3, 0x1.2494e14880e76p-3,
                              -0x1.0022af525ab6dp-3, 0x1.c6e48f361fc3cp-4,  -0x1.94b4c879519c0p-4,
                              0x1.71ddc42662a9ep-4,  -0x1.7da91c7853af2p-4, 0x1.77ce6eb31522fp-4,
                              -0x1.8c9744b317498p-5};
// 2 atanh(s) = 2 s + s z (2/3 + z q(z)), z = s^2
constexpr double log_f64[] = {0x1.9999999999996p-2, 0x1.2492492493035p-2, 0x1.c71c71c58045ap-3,
                              0x1.745d18326abafp-3, 0x1.3b1362adfa561p-3, 0x1.1120b70fce663p-3,
                              0x1.de332ec124e94p-4, 0x1.eb13808ff7ec8p-4};
// e^r = 1 + r + r^2 q(r)
constexpr double exp_f32[] = {0x1.00000042eb77ap-1, 0x1.555555980194dp-3,  0x1.5554805736955p-5,
                              0x1.11107ceed6397p-7, 0x1.6d9684188068bp-10, 0x1.a1b8052d3d77fp-13};

/// high + low, |low| far below |high|.
struct Pair {
  Term high, low;
};

/// log a for positive a, to about 2^-64 of its value.
Pair log_pair(const Term& a) {
  Split split = split_any_exponent(a);
  const Term& f = split.f;
  // s + s_low = f / (2 + f)
  Term below = f + 2;
  Term below_low = f - (below - 2);
  Term inverse = 1 / below;
  Term s = f * inverse;
  Term s_low = fma(-s, below_low, fma(-s, below, f)) * inverse;
  Term z = s * s;
  Term z_low = fma(s + s, s_low, fma(s, s, -z));
  Term cube = s * z;
  Term cube_low = fma(s, z_low, fma(s_low, z, fma(s, z, -cube)));
  // 2/3 + z q(z)
  constexpr double two_thirds = 0x1.5555555555555p-1, two_thirds_low = 0x1.5555555555555p-55;
  Term series = z * polynomial(z, log_f64);
  Term factor = series + two_thirds;
  Term factor_low = (two_thirds - factor) + series + two_thirds_low;
  Term product = cube * factor;
  Term product_low = fma(cube, factor_low, fma(cube_low, factor, fma(cube, factor, -product)));
  Term twice = s + s;
  Term fraction = twice + product;
  Term fraction_low = (twice - fraction) + product + fma(s_low, 2, product_low);
  // k ln2, the first part without error: 42 bits times 11.
  constexpr double ln2_high = 0x1.62e42fefa3800p-1, ln2_low = 0x1.ef35793c76730p-45;
  Term scaled = split.negated_k * -ln2_high;
  Term high = scaled + fraction;
  Term low = (scaled - high) + fraction + fma(split.negated_k, -ln2_low, fraction_low);
  return {high, low};
}

/// What b log a is where a is 0, infinite or NaN, and where the power is 1 whatever the other
/// operand is.
Term with_special_exponents(const Term& exponent, const Term& a, const Term& b) {
  Term log_of_edge = select(a == 0, -infinity, a);
  Term is_edge = (a == 0) | !(a < infinity);
  Term edges = select(is_edge, b * log_of_edge, exponent);
  return select((a == 1) | (b == 0), 0, edges);
}

/// a^b for a >= 0, f32.
Term power_f32(const Term& a, const Term& b) {
  Term wide = a.cast(DType::f64), exponent = b.cast(DType::f64);
  Split split = split_exponent(wide);
  Term log_f = fma(split.f * split.f, polynomial(split.f, log_f32), split.f);
  Term product = exponent * fma(split.negated_k, -0x1.62e42fefa39efp-1, log_f);
  Term special = with_special_exponents(product, wide, exponent);
  Reduced x = reduce_by_ln2(clamp(special, -200, 200));
  Term r = fma(x.k, -x.low, x.head);
  Term fraction = fma(fma(polynomial(r, exp_f32), r, 1), r, 1);
  return scale2(fraction, x.k).cast(DType::f32);
}

/// a^b for a >= 0, f64.
Term power_f64(const Term& a, const Term& b) {
  Pair log_a = log_pair(a);
  Term product = b * log_a.high;
  Term product_low = fma(b, log_a.low, fma(b, log_a.high, -product));
  Term special = with_special_exponents(product, a, b);
  // Where the result overflows or vanishes the low part may be anything.
  Term low = select((absolute(special) < 750) & (special != 0), product_low, 0);
  Reduced x = reduce_by_ln2(clamp(special, -750, 720));
  Term small = fma(x.k, -x.low, low);
  Term r = x.head + small;
  Term tail = fma(r * r, polynomial(r, exp_tail_f64), small);
  Term near = x.head + 1;
  Term rest = ((1 - near) + x.head) + tail;
  return scale2(near + rest, x.k);
}

/// The inverse cube root within 4 %: a third of the exponent, and as much of the fraction. The bits
/// become a number and back by way of the last places of 2^23 (2^52); a is positive and normal.
Term rough_inverse_cbrt(const Term& a) {
  Term bits = a.bitcast(signed_of(a.dtype()));
  if (a.is_f32()) {
    Term number = (bits >> 8).cast(DType::f32);
    Term third = fma(number, -1.0 / 3, 0x1p23 + 0x54a1f4);
    return (to_bits(third) << 8).bitcast(DType::f32);
  }
  Term number = ((bits >> 32) | 0x4330000000000000).bitcast(DType::f64) - 0x1p52;
  Term third = fma(number, -1.0 / 3, 0x1p52 + 0x553ee980);
  return (to_bits(third) << 32).bitcast(DType::f64);
}

}  // namespace

Value pow(Builder& to, Value base, Value exponent) {
  Term a(to, base), b(to, exponent);
  Term magnitude = absolute(a);
  Term power = a.is_f32() ? power_f32(magnitude, b) : power_f64(magnitude, b);
  Term half_b = b * 0.5;
  Term is_integer = truncate(b) == b;
  Term is_odd = is_integer & (truncate(half_b) != half_b);
  Term negative = sign_of(a);
  Term is_root_of_negative = (a < 0) & (a > -infinity) & !is_integer;
  Term with_sign = flip_sign(power, select(is_odd, negative, negative.constant(0)));
  return select(is_root_of_negative, std::numeric_limits<double>::quiet_NaN(), with_sign);
}

Value rsqrt(Builder& to, Value value) { return 1 / square_root(Term(to, value)); }

Value cbrt(Builder& to, Value value) {
  Term x(to, value);
  bool f32 = x.is_f32();
  Term magnitude = absolute(x);
  Term tiny = magnitude < (f32 ? 0x1p-126 : 0x1p-1022);
  Term a = select(tiny, magnitude * (f32 ? 0x1p24 : 0x1p54), magnitude);
  Term back = select(tiny, f32 ? 0x1p-8 : 0x1p-18, a.constant(1));
  // z = a^(-1/3): with h = 1 - a z^3, a^(-1/3) = z (1 - h)^(-1/3) = z (1 + h/3 + 2/9 h^2 + ...).
  Term z = rough_inverse_cbrt(a);
  Term h = fma(-(z * z), a * z, 1);
  z = fma(z * h, fma(fma(h, 14.0 / 81, 2.0 / 9), h, 1.0 / 3), z);
  if (!f32) z = fma(z * fma(-(z * z), a * z, 1), 1.0 / 3, z);
  // One step of Newton with the exact remainder: y + (a - y^3) / (3 y^2).
  Term square = z * z;
  Term y = a * square;
  Term yy = y * y;
  Term remainder = fma(-fma(y, y, -yy), y, fma(-yy, y, a));
  Term root = fma(remainder, square * (1.0 / 3), y) * back;
  return select(magnitude < infinity, copy_sign(root, x), x);
}

}  // namespace encore::math
