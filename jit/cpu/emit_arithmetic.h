// Arithmetic of the kernel IR in LLVM IR, where one instruction is more than one LLVM instruction.
// All functions take scalars or vectors; bool is i1 in registers and a byte in memory.
#pragma once
#include <encore/jit/cpu/target.h>
#include <encore/jit/kernel.h>
#include <llvm/IR/IRBuilder.h>

namespace encore::jit {

class Arithmetic {
 public:
  Arithmetic(llvm::IRBuilder<>& ir, Isa isa) : ir_(ir), isa_(isa) {}

  /// Types in registers (of a compute dtype) and in memory (of any dtype).
  llvm::Type* value_type(DType dtype, int lanes = 1);
  llvm::Type* memory_type(DType dtype, int lanes = 1);
  /// A value of `memory_type(dtype)` as one of the compute dtype, and back.
  llvm::Value* from_memory(llvm::Value* stored, DType dtype);
  llvm::Value* to_memory(llvm::Value* value, DType dtype);

  /// The constant whose storage is `bits`.
  llvm::Constant* literal(DType dtype, uint64_t bits);

  llvm::Value* cast(llvm::Value* a, DType from, DType to);
  llvm::Value* compare(Opcode op, DType dtype, llvm::Value* a, llvm::Value* b);
  llvm::Value* divide(DType dtype, llvm::Value* a, llvm::Value* b);
  llvm::Value* remainder(DType dtype, llvm::Value* a, llvm::Value* b);
  llvm::Value* extreme(bool maximum, DType dtype, llvm::Value* a, llvm::Value* b);
  llvm::Value* scale2(llvm::Value* a, llvm::Value* b);
  llvm::Value* shift_left(llvm::Value* a, llvm::Value* count);
  llvm::Value* shift_right(DType dtype, llvm::Value* a, llvm::Value* count);
  llvm::Value* multiply_high(llvm::Value* a, llvm::Value* b);

  /// One step of an accumulator; not for argmax and argmin.
  llvm::Value* combine(Reduce reduce, DType dtype, llvm::Value* total, llvm::Value* value);
  /// Should (value, index) take the place of (best, best_index) in an argmax or argmin?
  llvm::Value* beats(Reduce reduce, DType dtype, llvm::Value* best, llvm::Value* best_index,
                     llvm::Value* value, llvm::Value* index);

 private:
  llvm::Value* float_to_integer(llvm::Value* a, DType to);
  llvm::Value* to_bfloat16(llvm::Value* a);
  llvm::Value* scale2_by_instruction(llvm::Value* a, llvm::Value* b);
  llvm::Value* scale2_f32(llvm::Value* a, llvm::Value* b);
  llvm::Value* scale2_f64(llvm::Value* a, llvm::Value* b);
  llvm::Value* power_of_two(llvm::Value* exponent);
  llvm::Value* quotient(DType dtype, llvm::Value* a, llvm::Value* b);
  llvm::Value* quotient_of_64_bits(bool with_sign, llvm::Value* a, llvm::Value* b);
  llvm::Value* quotient_by_f64(llvm::Value* a, llvm::Value* b);
  llvm::Value* quotient_by_lanes(bool with_sign, llvm::Value* a, llvm::Value* b);
  llvm::Value* guarded_divisor(DType dtype, llvm::Value* a, llvm::Value* b);
  llvm::Value* clamp(llvm::Value* a, double low, double high);
  llvm::Value* is_nan(llvm::Value* a) { return ir_.CreateFCmpUNO(a, a); }

  llvm::IRBuilder<>& ir_;
  Isa isa_;
};

/// `type` with as many lanes as `like` has.
llvm::Type* lanes_like(llvm::Type* type, llvm::Type* like);

}  // namespace encore::jit
