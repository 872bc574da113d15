// Each pure instruction as an expression of CUDA C.
#pragma once
#include <encore/jit/kernel.h>

#include <string>
#include <string_view>

namespace encore::jit::cuda {

/// Of a value inside a kernel; of what memory holds (`b8`, `f16` and `bf16` are structs there).
std::string_view type_name(DType dtype);
std::string_view stored_type_name(DType dtype);

/// A literal of this dtype from its bits.
std::string literal(DType dtype, uint64_t bits);

/// The value of a pure instruction other than `constant`, from its operands' names. `operand` is
/// the first operand's dtype.
std::string spell(const Instruction& instruction, DType operand, const std::string& a,
                  const std::string& b, const std::string& c);

/// The class that combines two values of a reduction (not argmax, argmin); in the order given, or
/// in any order.
std::string_view combiner(Reduce reduce, bool ordered);

}  // namespace encore::jit::cuda
