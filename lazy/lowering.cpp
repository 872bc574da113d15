#include <encore/lazy/lowering.h>
#include <encore/lazy/math_expansion.h>

#include <cmath>
#include <limits>

namespace encore {
namespace {

Value both(Builder& to, Value a, Value b) { return to.binary(Opcode::bit_and, a, b); }
Value negative(Builder& to, Value a) { return to.compare(Opcode::lt, a, to.like(a, 0)); }
Value nonzero(Builder& to, Value a) { return to.compare(Opcode::ne, a, to.like(a, 0)); }

/// Whether a truncated division with this remainder rounded up: the signs differ and it left a
/// rest. Integers: b = 0 counts as exact.
Value rounded_up(Builder& to, Value remainder, Value b) {
  if (is_floating(b.dtype)) {
    Value differ = to.compare(Opcode::ne, negative(to, remainder), negative(to, b));
    return both(to, nonzero(to, remainder), differ);
  }
  Value differ = negative(to, to.binary(Opcode::bit_xor, remainder, b));
  return both(to, both(to, differ, nonzero(to, remainder)), nonzero(to, b));
}

Value floor_divide_floating(Builder& to, Value a, Value b) {
  Value zero = to.like(a, 0), one = to.like(a, 1);
  Value remainder = to.binary(Opcode::rem, a, b);
  // a - remainder is a multiple of b, so this quotient is an integer but for its rounding.
  Value quotient = to.div(to.sub(a, remainder), b);
  quotient = to.select(rounded_up(to, remainder, b), to.sub(quotient, one), quotient);
  Value whole = to.unary(Opcode::floor, quotient);
  Value low = to.compare(Opcode::lt, to.like(a, 0.5), to.sub(quotient, whole));
  whole = to.select(low, to.add(whole, one), whole);
  Value ratio = to.div(a, b);
  Value is_zero = to.compare(Opcode::eq, quotient, zero);
  whole = to.select(is_zero, to.mul(ratio, zero), whole);  // a zero of the ratio's sign
  return to.select(to.compare(Opcode::eq, b, zero), ratio, whole);
}

Value integer_pow(Builder& to, Value a, Value n) {
  Value one = to.like(a, 1), zero = to.like(a, 0);
  auto odd_bit = [&](int bit) {
    return nonzero(to, to.binary(Opcode::bit_and, n, to.like(n, int64_t(uint64_t(1) << bit))));
  };
  int bits = int(8 * size_of(n.dtype)) - is_signed(n.dtype);
  Value result = to.select(odd_bit(0), a, one), power = a;
  for (int bit = 1; bit < bits; ++bit) {
    power = to.mul(power, power);
    result = to.select(odd_bit(bit), to.mul(result, power), result);
  }
  if (!is_signed(n.dtype)) return result;
  Value unit = to.binary(Opcode::bit_or, to.compare(Opcode::eq, a, one),
                         to.compare(Opcode::eq, a, to.like(a, -1)));
  Value inverse = to.select(unit, to.select(odd_bit(0), a, one), zero);
  return to.select(negative(to, n), inverse, result);
}

}  // namespace

Value lower_floor_divide(Builder& to, Value a, Value b) {
  if (is_floating(a.dtype)) return floor_divide_floating(to, a, b);
  Value quotient = to.div(a, b);
  if (!is_signed(a.dtype)) return quotient;
  Value up = rounded_up(to, to.binary(Opcode::rem, a, b), b);
  return to.select(up, to.sub(quotient, to.like(a, 1)), quotient);
}

Value lower_remainder(Builder& to, Value a, Value b) {
  Value remainder = to.binary(Opcode::rem, a, b);
  if (!is_signed(a.dtype)) return remainder;
  return to.select(rounded_up(to, remainder, b), to.add(remainder, b), remainder);
}

Value lower_pow(Builder& to, Value a, Value b) {
  return is_floating(a.dtype) ? math::pow(to, a, b) : integer_pow(to, a, b);
}

Value lower_abs(Builder& to, Value a) { return is_signed(a.dtype) ? to.abs(a) : a; }

Value lower_sign(Builder& to, Value a) {
  Value zero = to.like(a, 0), one = to.like(a, 1);
  Value above = to.compare(Opcode::lt, zero, a);
  if (!is_signed(a.dtype)) return to.select(above, one, zero);
  Value rest = is_floating(a.dtype) ? to.select(to.compare(Opcode::eq, a, zero), zero, a) : zero;
  return to.select(above, one, to.select(negative(to, a), to.like(a, -1), rest));
}

Value lower_rounding(Builder& to, Opcode op, Value a) {
  return is_floating(a.dtype) ? to.unary(op, a) : a;
}

Value lower_isnan(Builder& to, Value a) {
  if (!is_floating(a.dtype)) return to.constant(DType::boolean, false);
  return to.compare(Opcode::ne, a, a);
}

Value lower_isinf(Builder& to, Value a) {
  if (!is_floating(a.dtype)) return to.constant(DType::boolean, false);
  return to.compare(Opcode::eq, to.abs(a), to.like(a, std::numeric_limits<double>::infinity()));
}

Value lower_isfinite(Builder& to, Value a) {
  if (!is_floating(a.dtype)) return to.constant(DType::boolean, true);
  return to.compare(Opcode::lt, to.abs(a), to.like(a, std::numeric_limits<double>::infinity()));
}

Value lower_shift(Builder& to, Opcode op, Value a, Value count) {
  if (a.dtype != DType::boolean) return to.binary(op, a, count);
  return both(to, a, to.unary(Opcode::bit_not, count));
}

Value lower_relu(Builder& to, Value a) {
  Value zero = to.like(a, 0);
  return to.select(to.compare(Opcode::le, a, zero), zero, a);
}

Value lower_sigmoid(Builder& to, Value a) {
  // For a < 0 it is e^a / (1 + e^a). The divisor lies between 1 and 2.
  Value one = to.like(a, 1.0), small = math::exp(to, to.neg(to.abs(a)));
  Value part = to.div(one, to.add(one, small));
  return to.select(negative(to, a), to.mul(small, part), part);
}

double floor_remainder(double a, double b) {
  double rest = std::fmod(a, b);
  return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

double floor_quotient(double a, double b) {
  if (b == 0) return a / b;
  double rest = std::fmod(a, b), quotient = (a - rest) / b;
  if (rest != 0 && (rest < 0) != (b < 0)) quotient -= 1;
  if (quotient == 0) return std::copysign(0.0, a / b);
  double whole = std::floor(quotient);
  return quotient - whole > 0.5 ? whole + 1 : whole;
}

int64_t c_remainder(int64_t a, int64_t b) { return b == 0 ? a : b == -1 ? 0 : a % b; }

int64_t floor_remainder(int64_t a, int64_t b) {
  int64_t rest = c_remainder(a, b);
  return b != 0 && rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

int64_t floor_quotient(int64_t a, int64_t b) {
  if (b == 0) return 0;
  if (b == -1) return wrap_sub(0, a);
  return a / b - (a % b != 0 && (a % b < 0) != (b < 0));
}

int64_t integer_power(int64_t a, int64_t b) {
  if (b < 0) return a == 1 || (a == -1 && b % 2 == 0) ? 1 : a == -1 ? -1 : 0;
  int64_t result = 1;
  for (; b != 0; b >>= 1, a = wrap_mul(a, a))
    if (b & 1) result = wrap_mul(result, a);
  return result;
}

int64_t shifted_left(int64_t a, int64_t count) {
  return count < 0 || count > 63 ? 0 : int64_t(uint64_t(a) << count);
}

int64_t shifted_right(int64_t a, int64_t count) {
  return a >> (count < 0 || count > 63 ? 63 : count);
}

}  // namespace encore
