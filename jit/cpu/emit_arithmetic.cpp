#include <encore/core/error.h>
#include <encore/jit/cpu/emit_arithmetic.h>
#include <llvm/IR/IntrinsicsX86.h>

namespace encore::jit {

using llvm::Type;
using llvm::Value;
using llvm::Intrinsic::ID;

namespace {

Type* with_lanes(Type* element, int lanes) {
  return lanes == 1 ? element : llvm::FixedVectorType::get(element, lanes);
}

}  // namespace

Type* lanes_like(Type* type, Type* like) {
  auto* vector = llvm::dyn_cast<llvm::FixedVectorType>(like);
  return vector ? llvm::FixedVectorType::get(type, vector->getNumElements()) : type;
}

Type* Arithmetic::value_type(DType dtype, int lanes) {
  if (dtype == DType::boolean) return with_lanes(ir_.getInt1Ty(), lanes);
  return memory_type(compute_dtype(dtype), lanes);
}

Type* Arithmetic::memory_type(DType dtype, int lanes) {
  if (dtype == DType::f32) return with_lanes(ir_.getFloatTy(), lanes);
  if (dtype == DType::f64) return with_lanes(ir_.getDoubleTy(), lanes);
  return with_lanes(ir_.getIntNTy(unsigned(8 * size_of(dtype))), lanes);
}

Value* Arithmetic::from_memory(Value* stored, DType dtype) {
  Type* type = stored->getType();
  if (dtype == DType::boolean) return ir_.CreateICmpNE(stored, llvm::Constant::getNullValue(type));
  if (dtype == DType::f16)
    return ir_.CreateFPExt(ir_.CreateBitCast(stored, lanes_like(ir_.getHalfTy(), type)),
                           lanes_like(ir_.getFloatTy(), type));
  if (dtype == DType::bf16) {
    Value* wide = ir_.CreateZExt(stored, lanes_like(ir_.getInt32Ty(), type));
    return ir_.CreateBitCast(ir_.CreateShl(wide, 16), lanes_like(ir_.getFloatTy(), type));
  }
  return stored;
}

Value* Arithmetic::to_memory(Value* value, DType dtype) {
  Type* type = value->getType();
  if (dtype == DType::boolean) return ir_.CreateZExt(value, lanes_like(ir_.getInt8Ty(), type));
  if (dtype == DType::f16)
    return ir_.CreateBitCast(ir_.CreateFPTrunc(value, lanes_like(ir_.getHalfTy(), type)),
                             lanes_like(ir_.getInt16Ty(), type));
  if (dtype == DType::bf16) return to_bfloat16(value);
  return value;
}

/// To nearest even; a NaN keeps its upper half and becomes quiet.
Value* Arithmetic::to_bfloat16(Value* a) {
  Value* bits = ir_.CreateBitCast(a, lanes_like(ir_.getInt32Ty(), a->getType()));
  auto constant = [&](uint64_t value) { return llvm::ConstantInt::get(bits->getType(), value); };
  Value* odd = ir_.CreateAnd(ir_.CreateLShr(bits, 16), constant(1));
  Value* rounded = ir_.CreateAdd(bits, ir_.CreateAdd(odd, constant(0x7fff)));
  Value* quiet = ir_.CreateOr(bits, constant(0x400000));
  Value* upper = ir_.CreateLShr(ir_.CreateSelect(is_nan(a), quiet, rounded), 16);
  return ir_.CreateTrunc(upper, lanes_like(ir_.getInt16Ty(), a->getType()));
}

llvm::Constant* Arithmetic::literal(DType dtype, uint64_t bits) {
  if (dtype == DType::boolean) return ir_.getInt1(bits & 1);
  auto* integer = ir_.getIntN(unsigned(8 * size_of(dtype)), bits);
  return is_floating(dtype) ? llvm::ConstantExpr::getBitCast(integer, value_type(dtype)) : integer;
}

Value* Arithmetic::float_to_integer(Value* a, DType to) {
  ID id = is_signed(to) ? llvm::Intrinsic::fptosi_sat : llvm::Intrinsic::fptoui_sat;
  Type* type = lanes_like(value_type(to), a->getType());
  return ir_.CreateIntrinsic(id, {type, a->getType()}, {a});
}

Value* Arithmetic::cast(Value* a, DType from, DType to) {
  Type* type = lanes_like(value_type(to), a->getType());
  Value* zero = llvm::Constant::getNullValue(a->getType());
  if (from == to) return a;
  if (to == DType::boolean)
    return is_floating(from) ? ir_.CreateFCmpUNE(a, zero) : ir_.CreateICmpNE(a, zero);
  if (is_floating(from)) {
    if (!is_floating(to)) return float_to_integer(a, to);
    return to == DType::f64 ? ir_.CreateFPExt(a, type) : ir_.CreateFPTrunc(a, type);
  }
  if (!is_floating(to)) return ir_.CreateIntCast(a, type, is_signed(from));
  return is_signed(from) ? ir_.CreateSIToFP(a, type) : ir_.CreateUIToFP(a, type);
}

Value* Arithmetic::compare(Opcode op, DType dtype, Value* a, Value* b) {
  bool floating = is_floating(dtype), with_sign = is_signed(dtype);
  if (op == Opcode::eq) return floating ? ir_.CreateFCmpOEQ(a, b) : ir_.CreateICmpEQ(a, b);
  if (op == Opcode::ne) return floating ? ir_.CreateFCmpUNE(a, b) : ir_.CreateICmpNE(a, b);
  if (op == Opcode::lt) {
    if (floating) return ir_.CreateFCmpOLT(a, b);
    return with_sign ? ir_.CreateICmpSLT(a, b) : ir_.CreateICmpULT(a, b);
  }
  if (floating) return ir_.CreateFCmpOLE(a, b);
  return with_sign ? ir_.CreateICmpSLE(a, b) : ir_.CreateICmpULE(a, b);
}

Value* Arithmetic::extreme(bool maximum, DType dtype, Value* a, Value* b) {
  Value* first = maximum ? compare(Opcode::lt, dtype, b, a) : compare(Opcode::lt, dtype, a, b);
  // Two selects: the first is one machine instruction, with the order of operands that we mean.
  Value* ordered = ir_.CreateSelect(first, a, b);
  return is_floating(dtype) ? ir_.CreateSelect(is_nan(a), a, ordered) : ordered;
}

/// A NaN becomes `low`.
Value* Arithmetic::clamp(Value* a, double low, double high) {
  Value* lowest = llvm::ConstantFP::get(a->getType(), low);
  Value* highest = llvm::ConstantFP::get(a->getType(), high);
  Value* raised = ir_.CreateSelect(ir_.CreateFCmpOGT(a, lowest), a, lowest);
  return ir_.CreateSelect(ir_.CreateFCmpOGT(raised, highest), highest, raised);
}

/// 2^exponent for integral f64 exponents in [-1022, 1023]: the sum's low bits are the biased
/// exponent.
Value* Arithmetic::power_of_two(Value* exponent) {
  constexpr double magic = 6755399441055744.0 + 1023;  // 1.5 * 2^52
  Value* biased = ir_.CreateFAdd(exponent, llvm::ConstantFP::get(exponent->getType(), magic));
  Value* bits = ir_.CreateBitCast(biased, lanes_like(ir_.getInt64Ty(), exponent->getType()));
  return ir_.CreateBitCast(ir_.CreateShl(bits, 52), exponent->getType());
}

/// In f64 the product is exact (|b| beyond 400 changes nothing), so the narrowing rounds once.
Value* Arithmetic::scale2_f32(Value* a, Value* b) {
  Type* wide = lanes_like(ir_.getDoubleTy(), a->getType());
  Type* exponents = lanes_like(ir_.getInt32Ty(), a->getType());
  Type* bits = lanes_like(ir_.getInt64Ty(), a->getType());
  constexpr uint64_t bias = 1023;
  Value* exponent = ir_.CreateFPToSI(clamp(b, -400, 400), exponents);
  Value* biased = ir_.CreateAdd(exponent, llvm::ConstantInt::get(exponents, bias));
  Value* factor = ir_.CreateBitCast(ir_.CreateShl(ir_.CreateZExt(biased, bits), 52), wide);
  return ir_.CreateFPTrunc(ir_.CreateFMul(ir_.CreateFPExt(a, wide), factor), a->getType());
}

/// Up to three factors. A step up is exact or overflows for good; a step down by 2^-969 leaves an
/// exponent below -53, so a step that rounded is followed by one that gives 0.
Value* Arithmetic::scale2_f64(Value* a, Value* b) {
  Type* type = a->getType();
  auto constant = [&](double value) { return llvm::ConstantFP::get(type, value); };
  Value* exponent = clamp(b, -2200, 2200);
  for (int step = 0; step < 2; ++step) {
    Value* up = ir_.CreateFCmpOGT(exponent, constant(1023));
    Value* down = ir_.CreateFCmpOLT(exponent, constant(-1022));
    Value* factor = ir_.CreateSelect(up, constant(0x1p1023),
                                     ir_.CreateSelect(down, constant(0x1p-969), constant(1)));
    Value* taken =
        ir_.CreateSelect(up, constant(1023), ir_.CreateSelect(down, constant(-969), constant(0)));
    a = ir_.CreateFMul(a, factor);
    exponent = ir_.CreateFSub(exponent, taken);
  }
  return ir_.CreateFMul(a, power_of_two(clamp(exponent, -1022, 1023)));
}

/// vscalefps and vscalefpd are the definition itself; null where no such register fits.
Value* Arithmetic::scale2_by_instruction(Value* a, Value* b) {
  auto* type = llvm::dyn_cast<llvm::FixedVectorType>(a->getType());
  if (isa_ != Isa::avx512 || !type) return nullptr;
  bool single = type->getElementType()->isFloatTy();
  unsigned lanes = type->getNumElements();
  auto all = ir_.getIntN(std::max(8u, lanes), ~0ull >> (64 - std::max(8u, lanes)));
  if (lanes * (single ? 4 : 8) == 64) {
    ID id = single ? llvm::Intrinsic::x86_avx512_mask_scalef_ps_512
                   : llvm::Intrinsic::x86_avx512_mask_scalef_pd_512;
    constexpr int current_rounding = 4;
    return ir_.CreateIntrinsic(id, {}, {a, b, a, all, ir_.getInt32(current_rounding)});
  }
  if (lanes * (single ? 4 : 8) == 32) {
    ID id = single ? llvm::Intrinsic::x86_avx512_mask_scalef_ps_256
                   : llvm::Intrinsic::x86_avx512_mask_scalef_pd_256;
    return ir_.CreateIntrinsic(id, {}, {a, b, a, all});
  }
  return nullptr;
}

Value* Arithmetic::scale2(Value* a, Value* b) {
  if (Value* scaled = scale2_by_instruction(a, b)) return scaled;
  bool single = a->getType()->getScalarType()->isFloatTy();
  Value* scaled = single ? scale2_f32(a, b) : scale2_f64(a, b);
  return ir_.CreateSelect(is_nan(b), b, scaled);
}

Value* Arithmetic::shift_left(Value* a, Value* count) {
  Type* type = a->getType();
  Value* zero = llvm::Constant::getNullValue(type);
  Value* inside =
      ir_.CreateICmpULT(count, llvm::ConstantInt::get(type, type->getScalarSizeInBits()));
  Value* shifted = ir_.CreateShl(a, ir_.CreateSelect(inside, count, zero));
  return ir_.CreateSelect(inside, shifted, zero);
}

Value* Arithmetic::shift_right(DType dtype, Value* a, Value* count) {
  Type* type = a->getType();
  unsigned bits = type->getScalarSizeInBits();
  Value* inside = ir_.CreateICmpULT(count, llvm::ConstantInt::get(type, bits));
  if (is_signed(dtype)) {
    Value* most = llvm::ConstantInt::get(type, bits - 1);
    return ir_.CreateAShr(a, ir_.CreateSelect(inside, count, most));
  }
  Value* zero = llvm::Constant::getNullValue(type);
  return ir_.CreateSelect(inside, ir_.CreateLShr(a, ir_.CreateSelect(inside, count, zero)), zero);
}

Value* Arithmetic::multiply_high(Value* a, Value* b) {
  Type* type = a->getType();
  unsigned bits = type->getScalarSizeInBits();
  Type* wide = lanes_like(ir_.getIntNTy(2 * bits), type);
  if (bits == 32 || !type->isVectorTy()) {
    Value* product = ir_.CreateMul(ir_.CreateZExt(a, wide), ir_.CreateZExt(b, wide));
    return ir_.CreateTrunc(ir_.CreateLShr(product, bits), type);
  }
  // No vector of 128-bit products: four products of halves, with the carries of the middle ones.
  Value* low_half = llvm::ConstantInt::get(type, 0xffffffffu);
  Value *a_low = ir_.CreateAnd(a, low_half), *a_high = ir_.CreateLShr(a, 32);
  Value *b_low = ir_.CreateAnd(b, low_half), *b_high = ir_.CreateLShr(b, 32);
  Value* low = ir_.CreateMul(a_low, b_low);
  Value* first = ir_.CreateAdd(ir_.CreateMul(a_high, b_low), ir_.CreateLShr(low, 32));
  Value* second = ir_.CreateAdd(ir_.CreateMul(a_low, b_high), ir_.CreateAnd(first, low_half));
  Value* high = ir_.CreateAdd(ir_.CreateMul(a_high, b_high), ir_.CreateLShr(first, 32));
  return ir_.CreateAdd(high, ir_.CreateLShr(second, 32));
}

Value* Arithmetic::combine(Reduce reduce, DType dtype, Value* total, Value* value) {
  bool floating = is_floating(dtype), boolean = dtype == DType::boolean;
  switch (reduce) {
    case Reduce::sum:
      if (boolean) return ir_.CreateOr(total, value);
      return floating ? ir_.CreateFAdd(total, value) : ir_.CreateAdd(total, value);
    case Reduce::prod:
      if (boolean) return ir_.CreateAnd(total, value);
      return floating ? ir_.CreateFMul(total, value) : ir_.CreateMul(total, value);
    case Reduce::max:
      return extreme(true, dtype, total, value);
    case Reduce::min:
      return extreme(false, dtype, total, value);
    case Reduce::any:
      return ir_.CreateOr(total, value);
    case Reduce::all:
      return ir_.CreateAnd(total, value);
    case Reduce::argmax:
    case Reduce::argmin:
      break;
  }
  ENCORE_ASSERT(!"argmax and argmin combine by `beats`");
  return nullptr;
}

/// An index that is the highest i64 marks an empty place; its value is the identity, so that
/// everything beats it or equals it with a lower index.
Value* Arithmetic::beats(Reduce reduce, DType dtype, Value* best, Value* best_index, Value* value,
                         Value* index) {
  bool maximum = reduce == Reduce::argmax;
  auto better = [&](Value* a, Value* b) {
    Value* wins = maximum ? compare(Opcode::lt, dtype, b, a) : compare(Opcode::lt, dtype, a, b);
    if (!is_floating(dtype)) return wins;
    return ir_.CreateOr(wins, ir_.CreateAnd(is_nan(a), ir_.CreateFCmpORD(b, b)));
  };
  Value* tie = ir_.CreateNot(better(best, value));
  return ir_.CreateOr(better(value, best),
                      ir_.CreateAnd(tie, ir_.CreateICmpSLT(index, best_index)));
}

}  // namespace encore::jit
