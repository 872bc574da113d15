// What every pure scalar instruction means, on raw bits: the oracle of all backends.
//
// Bits are those that a dtype stores, in the low bytes; what is above them is ignored in operands
// and 0 in results. Bool is 0 or 1.
#pragma once
#include <encore/lazy/instruction.h>

#include <cstdint>

namespace encore::jit {

using Evaluation = uint64_t (*)(uint64_t a, uint64_t b, uint64_t c);

/// The function of an instruction of dtype `result` whose first operand (of a comparison: both) has
/// dtype `operand`. Null when the instruction set gives this combination no meaning, and for
/// instructions that are not pure (scalar, size, index, load, store, store_add, reduced, product).
Evaluation evaluation_of(Opcode op, DType result, DType operand, uint32_t aux);

/// Throws Error where `evaluation_of` is null.
uint64_t evaluate(Opcode op, DType result, DType operand, uint64_t a, uint64_t b, uint64_t c,
                  uint32_t aux);

}  // namespace encore::jit
