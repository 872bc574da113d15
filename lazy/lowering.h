// Lowerings of op rows that need more than one instruction, and the references that define them.
#pragma once
#include <encore/lazy/instruction.h>

namespace encore {

/// Towards -inf. Floating: floor of the exact quotient, as Python's `//`; x / 0 as IEEE division.
/// Integers: b = 0 gives 0, MIN / -1 wraps.
Value lower_floor_divide(Builder& to, Value a, Value b);
/// With the sign of b; integers: b = 0 gives a.
Value lower_remainder(Builder& to, Value a, Value b);
/// Integers by repeated squaring, wrapping.
Value lower_pow(Builder& to, Value a, Value b);
Value lower_abs(Builder& to, Value a);
Value lower_sign(Builder& to, Value a);
/// `op` on floating operands, nothing on integers.
Value lower_rounding(Builder& to, Opcode op, Value a);
Value lower_isnan(Builder& to, Value a);
Value lower_isinf(Builder& to, Value a);
Value lower_isfinite(Builder& to, Value a);
/// A bool is shifted as the one bit that it is.
Value lower_shift(Builder& to, Opcode op, Value a, Value count);
/// a <= 0 gives 0, so NaN stays.
Value lower_relu(Builder& to, Value a);
/// By exp(-|a|), which never overflows.
Value lower_sigmoid(Builder& to, Value a);

// References: the same functions on C++ numbers.
double floor_quotient(double a, double b);
double floor_remainder(double a, double b);
int64_t floor_quotient(int64_t a, int64_t b);
int64_t floor_remainder(int64_t a, int64_t b);
int64_t c_remainder(int64_t a, int64_t b);
int64_t integer_power(int64_t a, int64_t b);
int64_t shifted_left(int64_t a, int64_t count);
int64_t shifted_right(int64_t a, int64_t count);

// Signed overflow wraps.
inline int64_t wrap_add(int64_t a, int64_t b) { return int64_t(uint64_t(a) + uint64_t(b)); }
inline int64_t wrap_sub(int64_t a, int64_t b) { return int64_t(uint64_t(a) - uint64_t(b)); }
inline int64_t wrap_mul(int64_t a, int64_t b) { return int64_t(uint64_t(a) * uint64_t(b)); }

}  // namespace encore
