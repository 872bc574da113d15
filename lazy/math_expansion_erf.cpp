// erf(t) = 1 - e^(-t - t q(t)) for t >= 0; coefficients of q are from tests/reference/minimax.py.
#include <encore/lazy/math_expansion.h>
#include <encore/lazy/math_exponential.h>

namespace encore::math {
namespace {

constexpr double exponent_f32[] = {0x1.06eba8p-3,   0x1.45f2fap-1,   0x1.a4fa66p-4,
                                   -0x1.39cdd6p-6,  -0x1.505820p-13, 0x1.b4ff52p-10,
                                   -0x1.4bc8ccp-11, 0x1.ed69bap-14,  -0x1.369444p-17};
constexpr double exponent_f64[] = {
    0x1.06eba8214db68p-3,   0x1.45f306dc9c897p-1,   0x1.a4f4e2a1b2058p-4,   -0x1.39668593d71dbp-6,
    -0x1.b6b68bf23417fp-13, 0x1.bca67bd45f64dp-10,  -0x1.35654fbb47f6cp-11, 0x1.b22bd0b30d015p-16,
    0x1.0e7f927ec4dc2p-14,  -0x1.f2af8633696cfp-16, 0x1.c94d534ea0580p-19,  0x1.7c8ac82bc5b2bp-19,
    -0x1.d38616732f71dp-20, 0x1.6943679461231p-22,  0x1.267a929c3a283p-23,  -0x1.305f57262d380p-23,
    0x1.1a4682ffba35fp-24,  -0x1.6812ea204eb35p-26, 0x1.576061069d1ffp-28,  -0x1.f3333c1800f64p-31,
    0x1.1277a13fc96f8p-33,  -0x1.bb9a109ed771dp-37, 0x1.f1d425281b219p-41,  -0x1.5ab95a5c183e0p-45,
    0x1.c378024793e8dp-51};

}  // namespace

Value erf(Builder& to, Value value) {
  Term x(to, value);
  Term t = at_most(absolute(x), x.is_f32() ? 3.93 : 5.95);  // 1 from there on
  Term exponent = fma(t, polynomial(t, exponent_f32, exponent_f64), t);
  Reduced reduced = reduce_by_ln2(-exponent);
  Term negated = expm1_times(reduced, scale2(x.constant(1), reduced.k), 1);
  return copy_sign(absolute(negated), x);
}

}  // namespace encore::math
