// Does every scalar instruction mean what the table in lazy/instruction.h says?
//
// Expectations are computed another way than jit/reference does it: integers in 128 bits, floating
// values in the x87's 64-bit mantissa (which rounds f32 results innocuously) or from decimal text.
#include <encore/core/error.h>
#include <encore/jit/kernel.h>
#include <encore/jit/reference/evaluate.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <string>

#include "random_data.h"

namespace encore::jit {
namespace {

using Wide = __int128;
using Exact = long double;

constexpr DType compute_dtypes[] = {DType::boolean, u8, u16, u32, u64, i8, i16, i32, i64, f32, f64};

int bits_in(DType dtype) { return 8 * int(size_of(dtype)); }
uint64_t sign_bit(DType dtype) { return uint64_t(1) << (bits_in(dtype) - 1); }
uint64_t mask(DType dtype) { return ~uint64_t(0) >> (64 - bits_in(dtype)); }

Wide integer(DType dtype, uint64_t bits) {
  return is_signed(dtype) && (bits & sign_bit(dtype)) ? Wide(bits) - (Wide(1) << bits_in(dtype))
                                                      : Wide(bits);
}

Exact number(DType dtype, uint64_t bits) {
  if (!is_floating(dtype)) return Exact(integer(dtype, bits));
  if (dtype == f32) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
  }
  double value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

uint64_t rounded(DType dtype, Exact value) {
  uint64_t bits = 0;
  if (dtype == f32) {
    float narrow = float(value);
    std::memcpy(&bits, &narrow, sizeof narrow);
  } else {
    double narrow = double(value);
    std::memcpy(&bits, &narrow, sizeof narrow);
  }
  return bits;
}

bool same(DType dtype, uint64_t a, uint64_t b) {
  if (a == b) return true;
  return is_floating(dtype) && std::isnan(number(dtype, a)) && std::isnan(number(dtype, b));
}

std::vector<uint64_t> samples(DType dtype) {
  std::vector<uint64_t> values = edge_values(dtype);
  Random random(uint64_t(dtype) + 1);
  for (int i = 0; i < 20 && dtype != DType::boolean; ++i)
    values.push_back(random_bits(random, dtype));
  return values;
}

uint64_t evaluate_noisily(Opcode op, DType result, DType operand, uint64_t a, uint64_t b = 0,
                          uint64_t c = 0, uint32_t aux = 0) {
  uint64_t clean = evaluate(op, result, operand, a, b, c, aux);
  // What lies above the stored bytes must not matter.
  uint64_t noise = operand == DType::boolean ? ~uint64_t(0xff) : ~mask(operand);
  EXPECT_EQ(clean, evaluate(op, result, operand, a | noise, b, c, aux)) << name_of(op);
  EXPECT_EQ(clean & ~mask(result), 0u) << name_of(op) << " leaves bits above its dtype";
  return clean;
}

using Expectation = std::function<uint64_t(DType, uint64_t, uint64_t)>;

/// `expected(dtype, a, b)` for all pairs of samples of the operands' dtype.
void check_binary(Opcode op, std::initializer_list<Kind> kinds, const Expectation& expected,
                  bool comparison = false) {
  for (DType dtype : compute_dtypes) {
    if (std::find(kinds.begin(), kinds.end(), kind_of(dtype)) == kinds.end()) continue;
    DType result = comparison ? DType::boolean : dtype;
    for (uint64_t a : samples(dtype))
      for (uint64_t b : samples(dtype)) {
        uint64_t wanted = expected(dtype, a, b), found = evaluate_noisily(op, result, dtype, a, b);
        EXPECT_TRUE(same(result, wanted, found))
            << name_of(op) << " " << name_of(dtype) << std::hex << " " << a << " " << b
            << ": expected " << wanted << ", found " << found;
      }
  }
}

void check_unary(Opcode op, std::initializer_list<Kind> kinds, const Expectation& expected) {
  for (DType dtype : compute_dtypes) {
    if (std::find(kinds.begin(), kinds.end(), kind_of(dtype)) == kinds.end()) continue;
    for (uint64_t a : samples(dtype)) {
      uint64_t wanted = expected(dtype, a, 0), found = evaluate_noisily(op, dtype, dtype, a);
      EXPECT_TRUE(same(dtype, wanted, found))
          << name_of(op) << " " << name_of(dtype) << std::hex << " " << a << ": expected " << wanted
          << ", found " << found;
    }
  }
}

constexpr auto integers = {Kind::unsigned_integer, Kind::signed_integer};
constexpr auto floating = {Kind::floating};
constexpr auto logical = {Kind::boolean};
constexpr auto not_floating = {Kind::boolean, Kind::unsigned_integer, Kind::signed_integer};
constexpr auto everything = {Kind::boolean, Kind::unsigned_integer, Kind::signed_integer,
                             Kind::floating};

Expectation wrapped(std::function<Wide(Wide, Wide)> rule) {
  return [=](DType dtype, uint64_t a, uint64_t b) {
    return uint64_t(rule(integer(dtype, a), integer(dtype, b))) & mask(dtype);
  };
}

/// One rounding to f32 from the wider mantissa, and native double arithmetic for f64.
template <class Rule>
Expectation rounded_once(Rule rule) {
  return [=](DType dtype, uint64_t a, uint64_t b) {
    if (dtype == f32) return rounded(f32, rule(number(f32, a), number(f32, b)));
    return rounded(f64, rule(double(number(f64, a)), double(number(f64, b))));
  };
}

TEST(Instruction, AddSubMulWrapOrRoundOnce) {
  check_binary(Opcode::add, integers, wrapped([](Wide a, Wide b) { return a + b; }));
  check_binary(Opcode::sub, integers, wrapped([](Wide a, Wide b) { return a - b; }));
  check_binary(Opcode::mul, integers, [](DType dtype, uint64_t a, uint64_t b) {
    return uint64_t((unsigned __int128)(a)*b) & mask(dtype);  // low bits know no sign
  });
  check_binary(Opcode::add, floating, rounded_once([](auto a, auto b) { return a + b; }));
  check_binary(Opcode::sub, floating, rounded_once([](auto a, auto b) { return a - b; }));
  check_binary(Opcode::mul, floating, rounded_once([](auto a, auto b) { return a * b; }));
  check_binary(Opcode::div, floating, rounded_once([](auto a, auto b) { return a / b; }));
  check_binary(Opcode::add, logical, [](DType, uint64_t a, uint64_t b) { return a | b; });
  check_binary(Opcode::mul, logical, [](DType, uint64_t a, uint64_t b) { return a & b; });
}

TEST(Instruction, IntegerDivisionHasAnAnswerForEverything) {
  check_binary(Opcode::div, integers, wrapped([](Wide a, Wide b) { return b == 0 ? 0 : a / b; }));
  check_binary(Opcode::rem, integers, wrapped([](Wide a, Wide b) { return b == 0 ? a : a % b; }));
  EXPECT_EQ(evaluate(Opcode::div, i32, i32, 0x80000000, 0xffffffff, 0, 0), 0x80000000u);
  EXPECT_EQ(evaluate(Opcode::rem, i32, i32, 0x80000000, 0xffffffff, 0, 0), 0u);
  EXPECT_EQ(evaluate(Opcode::rem, i8, i8, 0xf9, 2, 0, 0), 0xffu);  // -7 rem 2 is -1
}

TEST(Instruction, FloatingRemainderIsFmod) {
  check_binary(Opcode::rem, floating, [](DType dtype, uint64_t a, uint64_t b) {
    return rounded(dtype, std::fmod(number(dtype, a), number(dtype, b)));
  });
}

// Integer-valued operands: their exact result fits 128 bits, whose conversion rounds once.
TEST(Instruction, FmaRoundsOnce) {
  Random random(3);
  auto odd = [&](int bits) {
    int64_t value = int64_t(random.bits() >> (64 - bits)) | 1;
    return random.chance(50) ? value : -value;
  };
  int differs_from_two_roundings = 0;
  for (int i = 0; i < 20000; ++i) {
    int64_t a = odd(24), b = odd(24), c = odd(24);
    int shift = int(random.below(60));
    Wide exact = Wide(a) * b + (Wide(c) << shift);
    float wanted = float(exact);
    uint64_t bits[] = {rounded(f32, a), rounded(f32, b), rounded(f32, std::ldexp(Exact(c), shift))};
    EXPECT_EQ(evaluate(Opcode::fma, f32, f32, bits[0], bits[1], bits[2], 0), rounded(f32, wanted));
    float product = float(a) * float(b);
    differs_from_two_roundings += product + std::ldexp(float(c), shift) != wanted;
    a = odd(53), b = odd(53), c = odd(53), shift = int(random.below(60));
    exact = Wide(a) * b + (Wide(c) << shift);
    uint64_t wide[] = {rounded(f64, a), rounded(f64, b), rounded(f64, std::ldexp(Exact(c), shift))};
    EXPECT_EQ(evaluate(Opcode::fma, f64, f64, wide[0], wide[1], wide[2], 0),
              rounded(f64, double(exact)));
  }
  EXPECT_GT(differs_from_two_roundings, 100);
}

TEST(Instruction, NegAndAbsTouchOnlyTheSign) {
  check_unary(Opcode::neg, integers, wrapped([](Wide a, Wide) { return -a; }));
  check_unary(Opcode::abs, integers, wrapped([](Wide a, Wide) { return a < 0 ? -a : a; }));
  for (DType dtype : {f32, f64})
    for (uint64_t a : samples(dtype)) {  // NaN's bits included
      EXPECT_EQ(evaluate(Opcode::neg, dtype, dtype, a, 0, 0, 0), a ^ sign_bit(dtype));
      EXPECT_EQ(evaluate(Opcode::abs, dtype, dtype, a, 0, 0, 0), a & ~sign_bit(dtype));
    }
}

TEST(Instruction, MinAndMaxPropagateNaNAndPreferTheSecondOfEquals) {
  check_binary(Opcode::min, everything, [](DType dtype, uint64_t a, uint64_t b) {
    Exact x = number(dtype, a), y = number(dtype, b);
    return std::isnan(x) || x < y ? a : b;
  });
  check_binary(Opcode::max, everything, [](DType dtype, uint64_t a, uint64_t b) {
    Exact x = number(dtype, a), y = number(dtype, b);
    return std::isnan(x) || x > y ? a : b;
  });
  EXPECT_EQ(evaluate(Opcode::min, f32, f32, 0, 0x80000000, 0, 0), 0x80000000u);
  EXPECT_EQ(evaluate(Opcode::max, f32, f32, 0x80000000, 0, 0, 0), 0u);
}

TEST(Instruction, RootsAndRounding) {
  check_unary(Opcode::sqrt, floating, rounded_once([](auto a, auto) { return std::sqrt(a); }));
  auto exact = [](Exact (*rule)(Exact)) -> Expectation {
    return
        [=](DType dtype, uint64_t a, uint64_t) { return rounded(dtype, rule(number(dtype, a))); };
  };
  check_unary(Opcode::floor, floating, exact(floorl));
  check_unary(Opcode::ceil, floating, exact(ceill));
  check_unary(Opcode::trunc, floating, exact(truncl));
  check_unary(Opcode::round, floating, exact(rintl));
  EXPECT_EQ(evaluate(Opcode::round, f32, f32, rounded(f32, 2.5L), 0, 0, 0), rounded(f32, 2.0L));
  EXPECT_EQ(evaluate(Opcode::round, f64, f64, rounded(f64, -0.5L), 0, 0, 0), sign_bit(f64));
}

TEST(Instruction, Scale2RoundsOnce) {
  for (DType dtype : {f32, f64})
    for (uint64_t a : samples(dtype))
      for (int exponent : {0,   1,    -1,    23,    -24,   -25,   -126, -149,  -150, 127,  128,
                           255, 1023, -1022, -1023, -1074, -1075, 2099, -2099, 2200, -2200}) {
        // The x87 has 15 bits of exponent: its product is exact.
        uint64_t wanted = rounded(dtype, std::ldexp(number(dtype, a), exponent));
        uint64_t found = evaluate(Opcode::scale2, dtype, dtype, a, rounded(dtype, exponent), 0, 0);
        EXPECT_TRUE(same(dtype, wanted, found)) << name_of(dtype) << std::hex << " " << a;
      }
}

TEST(Instruction, Comparisons) {
  auto rule = [](bool (*compare)(Exact, Exact)) -> Expectation {
    return [=](DType dtype, uint64_t a, uint64_t b) {
      return uint64_t(compare(number(dtype, a), number(dtype, b)));
    };
  };
  check_binary(Opcode::eq, everything, rule([](Exact a, Exact b) { return a == b; }), true);
  check_binary(Opcode::ne, everything, rule([](Exact a, Exact b) { return a != b; }), true);
  check_binary(Opcode::lt, everything, rule([](Exact a, Exact b) { return a < b; }), true);
  check_binary(Opcode::le, everything, rule([](Exact a, Exact b) { return a <= b; }), true);
  uint64_t nan = rounded(f32, NAN);
  EXPECT_EQ(evaluate(Opcode::eq, DType::boolean, f32, nan, nan, 0, 0), 0u);
  EXPECT_EQ(evaluate(Opcode::ne, DType::boolean, f32, nan, nan, 0, 0), 1u);
}

TEST(Instruction, Bits) {
  check_binary(Opcode::bit_and, not_floating, [](DType, uint64_t a, uint64_t b) { return a & b; });
  check_binary(Opcode::bit_or, not_floating, [](DType, uint64_t a, uint64_t b) { return a | b; });
  check_binary(Opcode::bit_xor, not_floating, [](DType, uint64_t a, uint64_t b) { return a ^ b; });
  check_unary(Opcode::bit_not, integers, wrapped([](Wide a, Wide) { return -a - 1; }));
  check_unary(Opcode::bit_not, logical, [](DType, uint64_t a, uint64_t) { return 1 - a; });
}

TEST(Instruction, ShiftsHaveAnAnswerForEveryCount) {
  for (DType dtype : compute_dtypes) {
    if (!is_integer(dtype)) continue;
    std::vector<uint64_t> counts = samples(dtype);
    for (int near : {0, 1, 3, bits_in(dtype) - 1, bits_in(dtype), bits_in(dtype) + 1})
      counts.push_back(uint64_t(near));
    for (uint64_t a : samples(dtype))
      for (uint64_t count : counts) {
        Wide value = integer(dtype, a), steps = integer(dtype, count);
        bool inside = steps >= 0 && steps < bits_in(dtype);
        Wide power = Wide(1) << (inside ? int(steps) : 0);
        uint64_t left = inside ? uint64_t(value * power) & mask(dtype) : 0;
        Wide down = value < 0 ? -((-value + power - 1) / power) : value / power;
        if (!inside) down = value < 0 ? -1 : 0;
        EXPECT_EQ(evaluate_noisily(Opcode::shl, dtype, dtype, a, count), left) << name_of(dtype);
        EXPECT_EQ(evaluate_noisily(Opcode::shr, dtype, dtype, a, count),
                  uint64_t(down) & mask(dtype))
            << name_of(dtype);
      }
  }
}

TEST(Instruction, MulHighIsTheUpperHalf) {
  for (DType dtype : {u32, u64})
    for (uint64_t a : samples(dtype))
      for (uint64_t b : samples(dtype)) {
        // Schoolbook, in halves of the dtype.
        int half = bits_in(dtype) / 2;
        uint64_t low_mask = (uint64_t(1) << half) - 1;
        uint64_t a0 = a & low_mask, a1 = a >> half, b0 = b & low_mask, b1 = b >> half;
        uint64_t middle = a1 * b0 + (a0 * b0 >> half);
        uint64_t carry = a0 * b1 + (middle & low_mask);
        uint64_t wanted = (a1 * b1 + (middle >> half) + (carry >> half)) & mask(dtype);
        EXPECT_EQ(evaluate_noisily(Opcode::mul_high, dtype, dtype, a, b), wanted);
      }
}

TEST(Instruction, SelectTakesBitsAsTheyAre) {
  for (DType dtype : compute_dtypes)
    for (uint64_t a : samples(dtype))
      for (uint64_t b : samples(dtype)) {
        EXPECT_EQ(evaluate_noisily(Opcode::select, dtype, DType::boolean, 1, a, b), a);
        EXPECT_EQ(evaluate_noisily(Opcode::select, dtype, DType::boolean, 0, a, b), b);
      }
}

/// The nearest f32 or f64, found by the C library from hexadecimal text.
uint64_t nearest(DType to, Exact value) {
  char text[64];
  std::snprintf(text, sizeof text, "%La", value);
  return to == f32 ? rounded(f32, std::strtof(text, nullptr))
                   : rounded(f64, std::strtod(text, nullptr));
}

uint64_t expected_cast(DType to, DType from, uint64_t bits) {
  Exact value = number(from, bits);
  if (to == DType::boolean) return value != 0;
  if (is_floating(to)) return nearest(to, value);
  if (!is_floating(from)) return uint64_t(integer(from, bits)) & mask(to);
  if (std::isnan(value)) return 0;
  Wide lowest = is_signed(to) ? -Wide(sign_bit(to)) : 0;
  Wide highest = is_signed(to) ? Wide(sign_bit(to)) - 1 : Wide(mask(to));
  if (value <= Exact(lowest)) return uint64_t(lowest) & mask(to);
  if (value >= Exact(highest)) return uint64_t(highest);
  return uint64_t(Wide(value)) & mask(to);
}

TEST(Instruction, CastsSaturateOrRoundOnce) {
  for (DType from : compute_dtypes)
    for (DType to : compute_dtypes) {
      std::vector<uint64_t> values = samples(from);
      for (uint64_t near : edge_values(is_floating(to) ? i64 : to)) {
        if (!is_floating(from)) continue;
        Exact edge = number(is_floating(to) ? i64 : to, near);
        for (Exact offset : {-1.0L, -0.5L, 0.5L, 1.0L})
          values.push_back(rounded(from, edge + offset));
      }
      for (uint64_t a : values) {
        uint64_t wanted = expected_cast(to, from, a);
        uint64_t found = evaluate_noisily(Opcode::cast, to, from, a);
        EXPECT_TRUE(same(to, wanted, found))
            << "cast " << name_of(from) << " to " << name_of(to) << std::hex << " " << a
            << ": expected " << wanted << ", found " << found;
      }
    }
}

TEST(Instruction, ScalarsBecomeBitsAsCastsDo) {
  for (DType to : compute_dtypes) {
    for (uint64_t a : samples(f64))
      EXPECT_TRUE(same(to, Scalar(double(number(f64, a))).bits_as(to), expected_cast(to, f64, a)));
    for (uint64_t a : samples(i64))
      EXPECT_TRUE(same(to, Scalar(int64_t(a)).bits_as(to), expected_cast(to, i64, a)));
  }
  EXPECT_EQ(Scalar(1.5).bits_as(f16), 0x3e00u);
  EXPECT_EQ(Scalar(-2).bits_as(bf16), 0xc000u);
  EXPECT_EQ(Scalar(1e30).bits_as(f16), 0x7c00u);
}

TEST(Instruction, BitcastKeepsBits) {
  for (DType from : compute_dtypes)
    for (DType to : compute_dtypes) {
      bool allowed =
          size_of(from) == size_of(to) && (from == DType::boolean) == (to == DType::boolean);
      ASSERT_EQ(evaluation_of(Opcode::bitcast, to, from, 0) != nullptr, allowed);
      if (!allowed) continue;
      for (uint64_t a : samples(from)) EXPECT_EQ(evaluate_noisily(Opcode::bitcast, to, from, a), a);
    }
}

/// The neighbour that is nearer to `value`, the even one of two equally near, by search.
float quantized(DType storage, float value) {
  if (std::isnan(value)) return value;
  int fraction = storage == f16 ? 10 : 7, lowest = storage == f16 ? -14 : -126;
  double largest = storage == f16 ? 65504 : 0x1.fep127;
  int exponent = value == 0 ? lowest : std::max(std::ilogb(value), lowest);
  if (std::isinf(value)) return value;
  double unit = std::ldexp(1.0, exponent - fraction);
  double steps = value / unit, whole = std::trunc(steps), rest = std::fabs(steps - whole);
  bool odd = std::fmod(whole, 2) != 0;
  if (rest > 0.5 || (rest == 0.5 && odd)) whole += std::copysign(1.0, steps);
  double result = std::copysign(whole * unit, double(value));
  if (std::fabs(result) > largest) return std::copysign(INFINITY, value);
  return float(result);
}

TEST(Instruction, QuantizeRoundsToStorage) {
  std::vector<uint64_t> values = samples(f32);
  for (uint64_t f16_bits = 0; f16_bits < 0x7c00; f16_bits += 97) {
    Half half;
    half.bits = uint16_t(f16_bits);
    float at = float(half);
    for (float near : {at, std::nextafter(at, 1e9f), at * 1.0004883f, at * 1.0009766f})
      values.push_back(rounded(f32, near));
  }
  Random random(9);
  for (int i = 0; i < 20000; ++i) values.push_back(uint32_t(random.bits()));
  for (DType storage : {f16, bf16})
    for (uint64_t a : values) {
      uint64_t wanted = rounded(f32, quantized(storage, float(number(f32, a))));
      uint64_t found = evaluate(Opcode::quantize, f32, f32, a, 0, 0, uint32_t(storage));
      EXPECT_TRUE(same(f32, wanted, found)) << name_of(storage) << std::hex << " " << a;
    }
}

TEST(Instruction, OthersHaveNoMeaning) {
  auto none = [](Opcode op, DType result, DType operand, uint32_t aux = 0) {
    EXPECT_EQ(evaluation_of(op, result, operand, aux), nullptr)
        << name_of(op) << " " << name_of(result) << " " << name_of(operand);
  };
  for (Opcode op : {Opcode::constant, Opcode::scalar, Opcode::size, Opcode::index, Opcode::load,
                    Opcode::store, Opcode::store_add, Opcode::reduced, Opcode::product})
    none(op, f32, f32);
  for (Opcode op : {Opcode::sub, Opcode::div, Opcode::rem, Opcode::neg, Opcode::abs, Opcode::shl})
    none(op, DType::boolean, DType::boolean);
  for (Opcode op : {Opcode::fma, Opcode::sqrt, Opcode::floor, Opcode::ceil, Opcode::trunc,
                    Opcode::round, Opcode::scale2, Opcode::quantize})
    none(op, i32, i32);
  for (Opcode op : {Opcode::bit_and, Opcode::bit_not, Opcode::shl, Opcode::shr}) none(op, f32, f32);
  for (DType dtype : {u8, u16, i32, i64, f32}) none(Opcode::mul_high, dtype, dtype);
  none(Opcode::add, f16, f16);
  none(Opcode::add, f32, f64);
  none(Opcode::eq, f32, f32);
  none(Opcode::select, f32, f32);
  none(Opcode::cast, bf16, f32);
  none(Opcode::quantize, f32, f32, uint32_t(f64));
  none(Opcode::quantize, f64, f64, uint32_t(f16));
  EXPECT_THROW(evaluate(Opcode::sqrt, i32, i32, 1, 0, 0, 0), Error);
}

TEST(Reduce, IdentityLeavesEveryValueAsItIs) {
  struct Row {
    Reduce reduce;
    Opcode op;
  };
  for (Row row : {Row{Reduce::sum, Opcode::add}, Row{Reduce::prod, Opcode::mul},
                  Row{Reduce::max, Opcode::max}, Row{Reduce::min, Opcode::min}})
    for (DType dtype : compute_dtypes)
      for (uint64_t a : samples(dtype)) {
        if (row.reduce == Reduce::sum && is_floating(dtype) && a == sign_bit(dtype)) continue;
        uint64_t identity = identity_bits(row.reduce, dtype);
        EXPECT_TRUE(same(dtype, evaluate(row.op, dtype, dtype, identity, a, 0, 0), a))
            << name_of(row.op) << " " << name_of(dtype) << std::hex << " " << a;
      }
  EXPECT_EQ(identity_bits(Reduce::any, DType::boolean), 0u);
  EXPECT_EQ(identity_bits(Reduce::all, DType::boolean), 1u);
  EXPECT_EQ(identity_bits(Reduce::max, f16), 0xfc00u);
  EXPECT_EQ(identity_bits(Reduce::argmin, i8), 0x7fu);
}

}  // namespace
}  // namespace encore::jit
