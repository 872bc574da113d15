// erf; coefficients are from tests/reference/minimax.py.
#include <encore/lazy/math_expansion.h>
#include <encore/lazy/math_exponential.h>

namespace encore::math {
namespace {

// erf(x) = x p(z) / q(z), z = x^2, |x| < 3.93
constexpr double above_f32[] = {0x1.20dd76p+0, 0x1.8e6a64p-3,  0x1.cb7b06p-5,
                                0x1.1aa328p-8, 0x1.b65f8ep-12, 0x1.d43ea2p-18};
constexpr double below_f32[] = {0x1p+0,         0x1.02f036p-1,  0x1.e480f0p-4, 0x1.0e20d0p-6,
                                0x1.7b9d1ap-10, 0x1.363ab4p-14, 0x1.234246p-22};
// erf(x) = 1 - e^(-x p(x)), 0 <= x < 5.95
constexpr double exponent_f64[] = {
    0x1.20dd750429b6dp+0,   0x1.45f306dc9c897p-1,   0x1.a4f4e2a1b2058p-4,   -0x1.39668593d71dbp-6,
    -0x1.b6b68bf23417fp-13, 0x1.bca67bd45f64dp-10,  -0x1.35654fbb47f6cp-11, 0x1.b22bd0b30d015p-16,
    0x1.0e7f927ec4dc2p-14,  -0x1.f2af8633696cfp-16, 0x1.c94d534ea0580p-19,  0x1.7c8ac82bc5b2bp-19,
    -0x1.d38616732f71dp-20, 0x1.6943679461231p-22,  0x1.267a929c3a283p-23,  -0x1.305f57262d380p-23,
    0x1.1a4682ffba35fp-24,  -0x1.6812ea204eb35p-26, 0x1.576061069d1ffp-28,  -0x1.f3333c1800f64p-31,
    0x1.1277a13fc96f8p-33,  -0x1.bb9a109ed771dp-37, 0x1.f1d425281b219p-41,  -0x1.5ab95a5c183e0p-45,
    0x1.c378024793e8dp-51};

Term erf_f32(const Term& x) {
  Term clamped = clamp(x, -3.925, 3.925);
  Term z = clamped * clamped;
  return clamped * polynomial(z, above_f32) / polynomial(z, below_f32);
}

Term erf_f64(const Term& x) {
  Term a = at_most(absolute(x), 5.95);
  Reduced reduced = reduce_by_ln2(-(a * polynomial(a, exponent_f64)));
  Term negated = expm1_times(reduced, scale2(x.constant(1), reduced.k), 1);
  return copy_sign(absolute(negated), x);
}

}  // namespace

Value erf(Builder& to, Value value) {
  Term x(to, value);
  return x.is_f32() ? erf_f32(x) : erf_f64(x);
}

}  // namespace encore::math
