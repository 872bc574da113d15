// Division and remainder. Integers are divided as floating numbers where these are exact, because
// processors divide no vectors of integers.
#include <encore/jit/cpu/emit_arithmetic.h>

namespace encore::jit {

using llvm::Type;
using llvm::Value;

/// The divisor with 1 in place of 0 and, under MIN, of -1: what is left cannot trap, and
/// MIN / 1 and MIN % 1 are the wanted results of MIN / -1 and MIN % -1.
Value* Arithmetic::guarded_divisor(DType dtype, Value* a, Value* b) {
  Type* type = a->getType();
  if (auto* constant = llvm::dyn_cast<llvm::Constant>(b)) {
    auto* vector = type->isVectorTy() ? constant->getSplatValue() : constant;
    auto* number = llvm::dyn_cast_or_null<llvm::ConstantInt>(vector);
    if (number && !number->isZero() && !number->isMinusOne()) return b;
  }
  Value* unsafe = ir_.CreateICmpEQ(b, llvm::Constant::getNullValue(type));
  if (is_signed(dtype)) {
    auto lowest = llvm::APInt::getSignedMinValue(type->getScalarSizeInBits());
    Value* overflows = ir_.CreateAnd(ir_.CreateICmpEQ(a, llvm::ConstantInt::get(type, lowest)),
                                     ir_.CreateICmpEQ(b, llvm::Constant::getAllOnesValue(type)));
    unsafe = ir_.CreateOr(unsafe, overflows);
  }
  return ir_.CreateSelect(unsafe, llvm::ConstantInt::get(type, 1), b);
}

/// Where no operand is this large, f64 holds numbers, quotients and their floors exactly.
constexpr int64_t exact_bound = int64_t(1) << 51;

/// a / b for vectors of 64-bit integers below `exact_bound`. Adding 1.5 * 2^52 puts an integral
/// number into the low bits of an f64.
Value* Arithmetic::quotient_by_f64(Value* a, Value* b) {
  Type* integers = a->getType();
  Type* floats = lanes_like(ir_.getDoubleTy(), integers);
  Value* magic = llvm::ConstantFP::get(floats, 0x1.8p52);
  Value* magic_bits = llvm::ConstantInt::get(integers, 0x4338000000000000);
  auto widen = [&](Value* value) {
    return ir_.CreateFSub(ir_.CreateBitCast(ir_.CreateAdd(value, magic_bits), floats), magic);
  };
  Value* ratio = ir_.CreateFDiv(widen(a), widen(b));
  Value* whole = ir_.CreateUnaryIntrinsic(llvm::Intrinsic::trunc, ratio);
  Value* bits = ir_.CreateBitCast(ir_.CreateFAdd(whole, magic), integers);
  return ir_.CreateSub(bits, magic_bits);
}

/// Lane by lane.
Value* Arithmetic::quotient_by_lanes(bool with_sign, Value* a, Value* b) {
  llvm::BasicBlock* before = ir_.GetInsertBlock();
  llvm::Function* function = before->getParent();
  auto* head = llvm::BasicBlock::Create(ir_.getContext(), "lane", function);
  auto* after = llvm::BasicBlock::Create(ir_.getContext(), "lanes_done", function);
  auto lanes = llvm::cast<llvm::FixedVectorType>(a->getType())->getNumElements();
  ir_.CreateBr(head);
  ir_.SetInsertPoint(head);
  llvm::PHINode* lane = ir_.CreatePHI(ir_.getInt32Ty(), 2);
  llvm::PHINode* result = ir_.CreatePHI(a->getType(), 2);
  lane->addIncoming(ir_.getInt32(0), before);
  result->addIncoming(llvm::Constant::getNullValue(a->getType()), before);
  Value *x = ir_.CreateExtractElement(a, lane), *y = ir_.CreateExtractElement(b, lane);
  Value* whole = with_sign ? ir_.CreateSDiv(x, y) : ir_.CreateUDiv(x, y);
  Value* inserted = ir_.CreateInsertElement(result, whole, lane);
  Value* next = ir_.CreateAdd(lane, ir_.getInt32(1));
  lane->addIncoming(next, head);
  result->addIncoming(inserted, head);
  ir_.CreateCondBr(ir_.CreateICmpULT(next, ir_.getInt32(lanes)), head, after);
  ir_.SetInsertPoint(after);
  return inserted;
}

/// Positions and offsets are small, so nearly always all lanes are.
Value* Arithmetic::quotient_of_64_bits(bool with_sign, Value* a, Value* b) {
  auto small = [&](Value* value) {
    auto constant = [&](int64_t number) {
      return llvm::ConstantInt::get(value->getType(), uint64_t(number));
    };
    if (!with_sign) return ir_.CreateICmpULT(value, constant(exact_bound));
    return ir_.CreateICmpULT(ir_.CreateAdd(value, constant(exact_bound)),
                             constant(2 * exact_bound));
  };
  llvm::Function* function = ir_.GetInsertBlock()->getParent();
  auto* fast = llvm::BasicBlock::Create(ir_.getContext(), "small", function);
  auto* slow = llvm::BasicBlock::Create(ir_.getContext(), "large", function);
  auto* after = llvm::BasicBlock::Create(ir_.getContext(), "divided", function);
  ir_.CreateCondBr(ir_.CreateAndReduce(ir_.CreateAnd(small(a), small(b))), fast, slow);
  ir_.SetInsertPoint(slow);
  Value* by_lanes = quotient_by_lanes(with_sign, a, b);
  llvm::BasicBlock* slow_end = ir_.GetInsertBlock();
  ir_.CreateBr(after);
  ir_.SetInsertPoint(fast);
  Value* by_f64 = quotient_by_f64(a, b);
  ir_.CreateBr(after);
  ir_.SetInsertPoint(after);
  llvm::PHINode* result = ir_.CreatePHI(a->getType(), 2);
  result->addIncoming(by_f64, fast);
  result->addIncoming(by_lanes, slow_end);
  return result;
}

/// a / b for b that cannot trap. No processor divides vectors of integers; a quotient of floating
/// numbers that hold both exactly truncates to the right one.
Value* Arithmetic::quotient(DType dtype, Value* a, Value* b) {
  bool with_sign = is_signed(dtype);
  Type* type = a->getType();
  if (!type->isVectorTy()) return with_sign ? ir_.CreateSDiv(a, b) : ir_.CreateUDiv(a, b);
  if (size_of(dtype) == 8) return quotient_of_64_bits(with_sign, a, b);
  Type* exact = lanes_like(size_of(dtype) == 4 ? ir_.getDoubleTy() : ir_.getFloatTy(), type);
  auto widen = [&](Value* value) {
    return with_sign ? ir_.CreateSIToFP(value, exact) : ir_.CreateUIToFP(value, exact);
  };
  Value* ratio = ir_.CreateFDiv(widen(a), widen(b));
  if (!with_sign) return ir_.CreateFPToUI(ratio, type);
  return ir_.CreateIntCast(ir_.CreateFPToSI(ratio, lanes_like(ir_.getInt32Ty(), type)), type, true);
}

Value* Arithmetic::divide(DType dtype, Value* a, Value* b) {
  if (is_floating(dtype)) return ir_.CreateFDiv(a, b);
  Value* zero = llvm::Constant::getNullValue(a->getType());
  Value* whole = quotient(dtype, a, guarded_divisor(dtype, a, b));
  return ir_.CreateSelect(ir_.CreateICmpEQ(b, zero), zero, whole);
}

Value* Arithmetic::remainder(DType dtype, Value* a, Value* b) {
  if (is_floating(dtype)) return ir_.CreateFRem(a, b);
  Value* divisor = guarded_divisor(dtype, a, b);
  Value* rest = ir_.CreateSub(a, ir_.CreateMul(quotient(dtype, a, divisor), divisor));
  Value* zero = llvm::Constant::getNullValue(a->getType());
  return ir_.CreateSelect(ir_.CreateICmpEQ(b, zero), a, rest);
}

}  // namespace encore::jit
