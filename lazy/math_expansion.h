// Elementary functions as expansions into neutral instructions, so that no backend has a math
// library of its own and all backends give the same bits.
//
// Arguments are f32 or f64 and so is the result. Expansions are free of branches. Special values
// follow C's Annex F; docs/semantics.md tables each function's error, and tests read that table.
#pragma once
#include <encore/lazy/instruction.h>

namespace encore::math {

Value exp(Builder& to, Value x);
Value expm1(Builder& to, Value x);
Value sinh(Builder& to, Value x);
Value cosh(Builder& to, Value x);
Value tanh(Builder& to, Value x);

Value log(Builder& to, Value x);
Value log1p(Builder& to, Value x);
Value log2(Builder& to, Value x);

Value pow(Builder& to, Value a, Value b);
Value rsqrt(Builder& to, Value x);
Value cbrt(Builder& to, Value x);

Value sin(Builder& to, Value x);
Value cos(Builder& to, Value x);
Value tan(Builder& to, Value x);

Value asin(Builder& to, Value x);
Value acos(Builder& to, Value x);
Value atan(Builder& to, Value x);
Value atan2(Builder& to, Value y, Value x);

Value erf(Builder& to, Value x);

}  // namespace encore::math
