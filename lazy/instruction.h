// The closed set of scalar instructions that every backend spells, and the builder that op rows
// lower themselves with.
//
// All arithmetic is exact in the sense of one rounding per instruction: no backend may contract,
// reassociate or assume the absence of NaN. So every backend gives the same bits (NaN payloads
// apart), and the interpreter is the oracle of all of them.
#pragma once
#include <encore/lazy/dtype.h>

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string_view>

namespace encore {

// INSTRUCTION(name, operands, meaning). T is the instruction's dtype, a compute dtype (never f16 or
// bf16); operands have dtype T unless said. Integers wrap (two's complement).
#define ENCORE_INSTRUCTIONS(INSTRUCTION)                                                           \
  INSTRUCTION(constant, 0, "the literal `bits`, as T stores it, in the low bytes")                 \
  INSTRUCTION(scalar, 0, "scalar slot `aux` of the launch, of dtype T, in the low bytes of 8")     \
  INSTRUCTION(size, 0, "size `aux` of the kernel, T = i64")                                        \
  INSTRUCTION(index, 0, "position on axis `aux` of the kernel, T = i64")                           \
  INSTRUCTION(load, 0, "access `aux`; a false predicate gives 0; f16, bf16 widen to f32")          \
  INSTRUCTION(store, 1, "access `aux`; a false predicate stores nothing; f32 rounds to f16, bf16") \
  INSTRUCTION(store_add, 1, "memory += a, visited in ascending row order")                         \
  INSTRUCTION(reduced, 0, "the value of accumulator `aux` after its sweep")                        \
  INSTRUCTION(product, 0, "the contraction's sum at this outer, row, inner point")                 \
  INSTRUCTION(add, 2, "a + b; bool: or")                                                           \
  INSTRUCTION(sub, 2, "a - b")                                                                     \
  INSTRUCTION(mul, 2, "a * b; bool: and")                                                          \
  INSTRUCTION(div, 2, "floating: IEEE; integer: truncates, b = 0 gives 0, MIN / -1 wraps")         \
  INSTRUCTION(rem, 2, "floating: C fmod; integer: sign of a, b = 0 gives a, MIN % -1 = 0")         \
  INSTRUCTION(fma, 3, "a * b + c with one rounding; floating only")                                \
  INSTRUCTION(neg, 1, "floating: flips the sign bit; integer: 0 - a")                              \
  INSTRUCTION(abs, 1, "floating: clears the sign bit; integer: MIN stays MIN")                     \
  INSTRUCTION(min, 2, "(a < b or a is NaN) ? a : b")                                               \
  INSTRUCTION(max, 2, "(a > b or a is NaN) ? a : b")                                               \
  INSTRUCTION(sqrt, 1, "correctly rounded")                                                        \
  INSTRUCTION(floor, 1, "floating only")                                                           \
  INSTRUCTION(ceil, 1, "floating only")                                                            \
  INSTRUCTION(trunc, 1, "floating only")                                                           \
  INSTRUCTION(round, 1, "to nearest, ties to even; floating only")                                 \
  INSTRUCTION(scale2, 2,                                                                           \
              "a * 2^b, b of dtype T with an integral value in [-2200, 2200]; one rounding")       \
  INSTRUCTION(eq, 2, "T = bool; operands of one dtype; a NaN compares unequal")                    \
  INSTRUCTION(ne, 2, "T = bool")                                                                   \
  INSTRUCTION(lt, 2, "T = bool; ordered")                                                          \
  INSTRUCTION(le, 2, "T = bool; ordered")                                                          \
  INSTRUCTION(bit_and, 2, "integers and bool")                                                     \
  INSTRUCTION(bit_or, 2, "integers and bool")                                                      \
  INSTRUCTION(bit_xor, 2, "integers and bool")                                                     \
  INSTRUCTION(bit_not, 1, "integers; bool: logical not")                                           \
  INSTRUCTION(shl, 2, "integers; a count outside [0, bits) gives 0")                               \
  INSTRUCTION(shr, 2,                                                                              \
              "signed: arithmetic; unsigned: logical; a count outside [0, bits) acts as bits (0 "  \
              "or all sign)")                                                                      \
  INSTRUCTION(mul_high, 2, "upper half of the double-width product; u32 and u64 only")             \
  INSTRUCTION(select, 3, "a (bool) ? b : c")                                                       \
  INSTRUCTION(cast, 1,                                                                             \
              "to T: floating to integer truncates and saturates, NaN gives 0; integer to "        \
              "integer keeps low bits; to bool: a != 0; the rest rounds to nearest even")          \
  INSTRUCTION(bitcast, 1, "same width, same bits")                                                 \
  INSTRUCTION(quantize, 1, "f32 rounded to the storage dtype `aux` (f16 or bf16) and widened again")

enum class Opcode : uint8_t {
#define INSTRUCTION(name, operands, meaning) name,
  ENCORE_INSTRUCTIONS(INSTRUCTION)
#undef INSTRUCTION
};

constexpr int operand_count(Opcode op) {
  constexpr int counts[] = {
#define INSTRUCTION(name, operands, meaning) operands,
      ENCORE_INSTRUCTIONS(INSTRUCTION)
#undef INSTRUCTION
  };
  return counts[int(op)];
}

constexpr std::string_view name_of(Opcode op) {
  constexpr std::string_view names[] = {
#define INSTRUCTION(name, operands, meaning) #name,
      ENCORE_INSTRUCTIONS(INSTRUCTION)
#undef INSTRUCTION
  };
  return names[int(op)];
}

/// A C++ number on its way into a tensor program; keeps integers exact.
struct Scalar {
  bool floating = true;
  union {
    double number;
    int64_t integer;
  };
  constexpr Scalar() : number(0) {}
  constexpr Scalar(double value) : number(value) {}
  constexpr Scalar(float value) : number(value) {}
  template <class T>
    requires std::is_integral_v<T>
  constexpr Scalar(T value) : floating(false), integer(int64_t(value)) {}

  constexpr double as_double() const { return floating ? number : double(integer); }
  /// The bits that `dtype` stores for this value (casts as `Opcode::cast` does), in the low bytes.
  uint64_t bits_as(DType dtype) const;
};

/// A value inside a kernel under construction.
struct Value {
  uint32_t id = ~0u;
  DType dtype = DType::f32;
  explicit operator bool() const { return id != ~0u; }
};

/// Appends instructions; op rows and math expansions are written against this alone.
class Builder {
 public:
  virtual ~Builder() = default;
  virtual Value emit(Opcode op, DType dtype, std::initializer_list<Value> operands,
                     uint32_t aux = 0, uint64_t bits = 0) = 0;

  Value constant(DType dtype, Scalar value) {
    return emit(Opcode::constant, dtype, {}, 0, value.bits_as(dtype));
  }
  Value like(Value a, Scalar value) { return constant(a.dtype, value); }
  Value unary(Opcode op, Value a) { return emit(op, a.dtype, {a}); }
  Value binary(Opcode op, Value a, Value b) { return emit(op, a.dtype, {a, b}); }
  Value compare(Opcode op, Value a, Value b) { return emit(op, DType::boolean, {a, b}); }
  Value add(Value a, Value b) { return binary(Opcode::add, a, b); }
  Value sub(Value a, Value b) { return binary(Opcode::sub, a, b); }
  Value mul(Value a, Value b) { return binary(Opcode::mul, a, b); }
  Value div(Value a, Value b) { return binary(Opcode::div, a, b); }
  Value fma(Value a, Value b, Value c) { return emit(Opcode::fma, a.dtype, {a, b, c}); }
  Value neg(Value a) { return unary(Opcode::neg, a); }
  Value abs(Value a) { return unary(Opcode::abs, a); }
  Value select(Value condition, Value yes, Value no) {
    return emit(Opcode::select, yes.dtype, {condition, yes, no});
  }
  Value cast(Value a, DType to) { return a.dtype == to ? a : emit(Opcode::cast, to, {a}); }
  Value bitcast(Value a, DType to) { return a.dtype == to ? a : emit(Opcode::bitcast, to, {a}); }
};

}  // namespace encore
