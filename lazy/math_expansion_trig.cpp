// sin, cos, tan. |x| = k pi/2 + r with |r| <= pi/4; coefficients are from
// tests/reference/minimax.py.
#include <encore/lazy/math_expansion.h>
#include <encore/lazy/math_term.h>

namespace encore::math {
namespace {

constexpr double sin_f32[] = {-0x1.555546p-3, 0x1.110758p-7, -0x1.994330p-13};
constexpr double sin_f64[] = {-0x1.5555555555548p-3, 0x1.111111110f7cap-7,   -0x1.a01a019bfd1bbp-13,
                              0x1.71de3567158e7p-19, -0x1.ae5e59f812cbfp-26, 0x1.5d8fa3d520c92p-33};
constexpr double cos_f32[] = {0x1.55554ap-5, -0x1.6c0c30p-10, 0x1.99eb9cp-16};
constexpr double cos_f64[] = {0x1.555555555554bp-5,  -0x1.6c16c16c14f8ap-10,
                              0x1.a01a019c838fdp-16, -0x1.27e4f7ea36cefp-22,
                              0x1.1ee9d75213473p-29, -0x1.8fa465b1ce305p-37};

// pi/2 to 159 bits.
constexpr double half_pi[] = {0x1.921fb54442d18p+0, 0x1.1a62633145c07p-54, -0x1.f1976b7ed8fbcp-110};

/// Where the reduction stops being accurate; docs/semantics.md.
constexpr double largest = 0x1p49;

struct Quadrant {
  Term sin, cos;  // of r
  Term k;         // unsigned, as wide as x; the low two bits count
};

/// k and x - k half_pi[0], which is exact: a multiple of the last place of the larger of the two
/// that is below 1. x is f64.
struct Turns {
  Term bits, k, head;
};
Turns count_turns(const Term& x) {
  constexpr double magic = 0x1.8p52, two_over_pi = 0x1.45f306dc9c883p-1;
  Term shifted = fma(x, two_over_pi, magic);
  Term k = shifted - magic;
  return {to_bits(shifted), k, fma(k, -half_pi[0], x)};
}

Quadrant reduce_f32(const Term& x) {
  Turns turns = count_turns(x.cast(DType::f64));
  Term r = fma(turns.k, -half_pi[1], turns.head).cast(DType::f32);
  Term z = r * r;
  Term sin = fma(r * z, polynomial(z, sin_f32), r);
  Term cos = fma(fma(polynomial(z, cos_f32), z, -0.5), z, 1);
  return {sin, cos, turns.bits.cast(DType::u32)};
}

Quadrant reduce_f64(const Term& x) {
  Turns turns = count_turns(x);
  // r + rest = head - k half_pi[1] - k half_pi[2], the first difference without error.
  Term product = turns.k * half_pi[1];
  Term product_rest = fma(turns.k, half_pi[1], -product);
  Term r = turns.head - product;
  Term taken = turns.head - r;
  Term lost = (turns.head - (r + taken)) - (product - taken);
  Term rest = fma(turns.k, -half_pi[2], lost - product_rest);

  Term z = r * r, half_z = z * 0.5;
  Term sin = fma(r * z, polynomial(z, sin_f64), fma(-half_z, rest, rest)) + r;
  Term near = 1 - half_z;
  Term cos_tail = fma(z * z, polynomial(z, cos_f64), -(r * rest));
  Term cos = (((1 - near) - half_z) + cos_tail) + near;
  return {sin, cos, turns.bits};
}

/// Infinities become NaN, numbers beyond `largest` 0.
Quadrant reduce(const Term& x) {
  Term inside = select(absolute(x) < largest, x, x - x);
  return x.is_f32() ? reduce_f32(inside) : reduce_f64(inside);
}

/// Bit 1 of k as a sign bit.
Term sign_of_half_turn(const Term& k) {
  return (k << int(8 * size_of(k.dtype()) - 2)) & (uint64_t(1) << (8 * size_of(k.dtype()) - 1));
}

}  // namespace

Value sin(Builder& to, Value value) {
  Term x(to, value);
  Quadrant at = reduce(x);
  Term y = select((at.k & 1) == 0, at.sin, at.cos);
  return select(x == 0, x, flip_sign(y, sign_of_half_turn(at.k)));
}

Value cos(Builder& to, Value value) {
  Quadrant at = reduce(Term(to, value));
  Term y = select((at.k & 1) == 0, at.cos, at.sin);
  return flip_sign(y, sign_of_half_turn(at.k + 1));
}

Value tan(Builder& to, Value value) {
  Term x(to, value);
  Quadrant at = reduce(x);
  Term even = (at.k & 1) == 0;
  Term y = select(even, at.sin, -at.cos) / select(even, at.cos, at.sin);
  return select(x == 0, x, y);
}

}  // namespace encore::math
