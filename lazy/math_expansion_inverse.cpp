// asin, acos, atan, atan2; coefficients are from tests/reference/minimax.py.
#include <encore/lazy/math_expansion.h>
#include <encore/lazy/math_term.h>

#include <limits>

namespace encore::math {
namespace {

constexpr double asin_f32[] = {0x1.5555c8p-3, 0x1.3301e8p-4, 0x1.747e5ap-5, 0x1.8c282cp-6,
                               0x1.596d30p-5};
constexpr double asin_f64[] = {0x1.5555555555390p-3, 0x1.333333336e7b1p-4,  0x1.6db6db427d83ap-5,
                               0x1.f1c72c3812ff2p-6, 0x1.6e89f453aa0f2p-6,  0x1.1c6be099117a9p-6,
                               0x1.c6fdd4da81e03p-7, 0x1.8ec2878ba16b2p-7,  0x1.abd30fa9a3c1bp-8,
                               0x1.3ff249644518cp-6, -0x1.09cfa4faecb5ap-6, 0x1.056c493f1204dp-5};
constexpr double atan_f32[] = {-0x1.55553ep-2, 0x1.9991fap-3,  -0x1.2421b2p-3,
                               0x1.c099fcp-4,  -0x1.58348cp-4, 0x1.dac9d0p-5,
                               -0x1.fed128p-6, 0x1.65a60cp-7,  -0x1.d62f70p-10};
constexpr double atan_f64[] = {-0x1.555555555553dp-2, 0x1.99999999957b0p-3,  -0x1.24924922a9888p-3,
                               0x1.c71c70e4bd0d8p-4,  -0x1.745cf8b9f1c8ap-4, 0x1.3b1116e605c18p-4,
                               -0x1.10eba0c592b6ep-4, 0x1.df0e087f7e4a7p-5,  -0x1.9ccd56f9bb06ap-5,
                               0x1.37c8878c22332p-5,  -0x1.254ec004d734ap-6};

double quarter_pi(const Term& x) { return x.is_f32() ? 0x1.921fb6p-1 : 0x1.921fb54442d18p-1; }
double quarter_pi_low(const Term& x) {
  return x.is_f32() ? -0x1.777a5cp-26 : 0x1.1a62633145c07p-55;
}

/// asin of `sine`, which is |x| below 1/2 and sqrt((1 - |x|) / 2) above.
struct HalfAngle {
  Term is_small, sine, tail;  // asin = sine + tail
};

HalfAngle half_angle(const Term& x) {
  Term a = absolute(x);
  Term is_small = a < 0.5;
  Term square = select(is_small, a * a, fma(a, -0.5, 0.5));
  Term sine = select(is_small, a, square_root(square));  // NaN for |x| > 1
  return {is_small, sine, sine * square * polynomial(square, asin_f32, asin_f64)};
}

/// An angle as quarters * pi/4 + atan(t), |t| <= 1 (f32) or tan(pi/8) (f64).
struct Angle {
  Term quarters, t;
};

/// atan(y / x) for y, x >= 0. With `edges` it is right where both are 0 (0) or infinite (pi/4).
Angle first_quadrant(const Term& y, const Term& x, bool edges) {
  Term steep = x < y;
  Term low = select(steep, x, y), high = select(steep, y, x);
  Term t = low;
  Term quarters = x.constant(0);
  if (x.is_f32()) {
    t = low / high;
    if (edges) t = select(low == high, select(high == 0, 0, x.constant(1)), t);
  } else {
    // Above tan(pi/8): atan(low / high) = pi/4 + atan((low - high) / (low + high)).
    Term diagonal = high * 0x1.a827999fcef32p-2 < low;
    if (edges) {
      Term scale = select(high > 0x1p1000, 0x1p-10, x.constant(1));
      low = low * scale;
      high = high * scale;
    }
    t = select(diagonal, low - high, low) / select(diagonal, low + high, high);
    if (edges) {
      Term equal = low == high;
      t = select(equal, 0, t);
      diagonal = diagonal | (equal & (high != 0));
    }
    quarters = select(diagonal, 1, quarters);
  }
  return {select(steep, 2 - quarters, quarters), select(steep, -t, t)};
}

Term total(const Angle& angle) {
  Term z = angle.t * angle.t;
  Term tail = angle.t * z * (z.is_f32() ? horner(z, atan_f32) : polynomial(z, atan_f64));
  Term with_low = fma(angle.quarters, quarter_pi_low(z), tail);
  return fma(angle.quarters, quarter_pi(z), angle.t + with_low);
}

}  // namespace

Value asin(Builder& to, Value value) {
  Term x(to, value);
  HalfAngle half = half_angle(x);
  // Above 1/2: asin |x| = pi/2 - 2 asin(sine), with what the first difference lost.
  double half_pi = 2 * quarter_pi(x), half_pi_low = 2 * quarter_pi_low(x);
  Term leading = fma(half.sine, -2, half_pi);
  Term lost = fma(half.sine, -2, half_pi - leading);
  Term large = leading + fma(half.tail, -2, lost + half_pi_low);
  return copy_sign(select(half.is_small, half.sine + half.tail, large), x);
}

Value acos(Builder& to, Value value) {
  Term x(to, value);
  HalfAngle half = half_angle(x);
  Term angle = copy_sign(half.sine + half.tail, x);
  // Small: pi/2 - angle. Large: 2 angle for x > 0, pi + 2 angle for x < 0.
  Term rest = select(half.is_small, -angle, angle + angle);
  Term quarters = select(half.is_small, 2, select(x < 0, 4, x.constant(0)));
  Term with_low = fma(quarters, quarter_pi_low(x), rest);
  return fma(quarters, quarter_pi(x), with_low);
}

Value atan(Builder& to, Value value) {
  Term x(to, value);
  Angle angle = first_quadrant(absolute(x), x.constant(1), false);
  return copy_sign(total(angle), x);
}

Value atan2(Builder& to, Value sine, Value cosine) {
  Term y(to, sine), x(to, cosine);
  Angle angle = first_quadrant(absolute(y), absolute(x), true);
  Term left = x.bitcast(signed_of(x.dtype())) < 0;
  Angle mirrored = {select(left, 4 - angle.quarters, angle.quarters),
                    select(left, -angle.t, angle.t)};
  return copy_sign(total(mirrored), y);
}

}  // namespace encore::math
