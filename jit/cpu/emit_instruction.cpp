// Every instruction of the kernel IR, each spelled once.
#include <encore/core/error.h>
#include <encore/jit/cpu/emitter.h>

namespace encore::jit {

using llvm::Value;

void Emitter::emit_instructions(uint32_t begin, uint32_t end) {
  for (ValueId id = begin; id < end; ++id) values_[id] = emit_instruction(id);
}

Value* Emitter::emit_instruction(ValueId id) {
  const Instruction& instruction = kernel_.instructions[id];
  DType dtype = instruction.dtype;
  bool floating = is_floating(dtype), boolean = dtype == DType::boolean;
  int count = operand_count(instruction.op);
  Value* a = count > 0 ? operand(instruction.operands[0]) : nullptr;
  Value* b = count > 1 ? operand(instruction.operands[1]) : nullptr;
  Value* c = count > 2 ? operand(instruction.operands[2]) : nullptr;
  DType first = count > 0 ? kernel_.instructions[instruction.operands[0]].dtype : dtype;
  auto unary = [&](llvm::Intrinsic::ID intrinsic) {
    return ir_.CreateUnaryIntrinsic(intrinsic, a);
  };

  switch (instruction.op) {
    case Opcode::constant:
      return math_.literal(dtype, instruction.bits);
    case Opcode::scalar:
      return scalars_[instruction.aux];
    case Opcode::size:
      return size(instruction.aux);
    case Opcode::index: {
      if (instruction.aux != vector_axis_) return position_[instruction.aux];
      if (lanes_.count == 1) return lanes_.first;
      return ir_.CreateAdd(ir_.CreateVectorSplat(unsigned(lanes_.count), lanes_.first),
                           lane_numbers(ir_.getInt64Ty()));
    }
    case Opcode::load:
      return load(id);
    case Opcode::store:
      store(id, a);
      return nullptr;
    case Opcode::store_add:
      store_add(id, a);
      return nullptr;
    case Opcode::reduced:
      return reduced_[instruction.aux];
    case Opcode::product:
      return product();
    case Opcode::add:
      if (boolean) return ir_.CreateOr(a, b);
      return floating ? ir_.CreateFAdd(a, b) : ir_.CreateAdd(a, b);
    case Opcode::sub:
      return floating ? ir_.CreateFSub(a, b) : ir_.CreateSub(a, b);
    case Opcode::mul:
      if (boolean) return ir_.CreateAnd(a, b);
      return floating ? ir_.CreateFMul(a, b) : ir_.CreateMul(a, b);
    case Opcode::div:
      return math_.divide(dtype, a, b);
    case Opcode::rem:
      return math_.remainder(dtype, a, b);
    case Opcode::fma:
      return ir_.CreateIntrinsic(llvm::Intrinsic::fma, {a->getType()}, {a, b, c});
    case Opcode::neg:
      return floating ? ir_.CreateFNeg(a) : ir_.CreateNeg(a);
    case Opcode::abs:
      if (floating) return unary(llvm::Intrinsic::fabs);
      return is_signed(dtype) ? ir_.CreateBinaryIntrinsic(llvm::Intrinsic::abs, a, ir_.getFalse())
                              : a;
    case Opcode::min:
      return math_.extreme(false, dtype, a, b);
    case Opcode::max:
      return math_.extreme(true, dtype, a, b);
    case Opcode::sqrt:
      return unary(llvm::Intrinsic::sqrt);
    case Opcode::floor:
      return unary(llvm::Intrinsic::floor);
    case Opcode::ceil:
      return unary(llvm::Intrinsic::ceil);
    case Opcode::trunc:
      return unary(llvm::Intrinsic::trunc);
    case Opcode::round:
      return unary(llvm::Intrinsic::roundeven);
    case Opcode::scale2:
      return math_.scale2(a, b);
    case Opcode::eq:
    case Opcode::ne:
    case Opcode::lt:
    case Opcode::le:
      return math_.compare(instruction.op, first, a, b);
    case Opcode::bit_and:
      return ir_.CreateAnd(a, b);
    case Opcode::bit_or:
      return ir_.CreateOr(a, b);
    case Opcode::bit_xor:
      return ir_.CreateXor(a, b);
    case Opcode::bit_not:
      return ir_.CreateNot(a);
    case Opcode::shl:
      return math_.shift_left(a, b);
    case Opcode::shr:
      return math_.shift_right(dtype, a, b);
    case Opcode::mul_high:
      return math_.multiply_high(a, b);
    case Opcode::select:
      return ir_.CreateSelect(a, b, c);
    case Opcode::cast:
      return math_.cast(a, first, dtype);
    case Opcode::bitcast:
      return ir_.CreateBitCast(a, lanes_like(math_.value_type(dtype), a->getType()));
    case Opcode::quantize:
      return math_.from_memory(math_.to_memory(a, DType(instruction.aux)), DType(instruction.aux));
  }
  ENCORE_ASSERT(!"an opcode of the enum");
  return nullptr;
}

/// An instruction's value, as wide as the code that asks for it.
Value* Emitter::operand(ValueId id) {
  Value* value = values_[id];
  if (lanes_.count == 1 || value->getType()->isVectorTy()) return value;
  if (splats_[id]) return splats_[id];
  return ir_.CreateVectorSplat(unsigned(lanes_.count), value);
}

Value* Emitter::size(SizeId id) { return id == none ? index_constant(0) : sizes_[id]; }

/// 0, 1, 2 …
Value* Emitter::lane_numbers(llvm::IntegerType* type) {
  std::vector<llvm::Constant*> numbers;
  for (int lane = 0; lane < lanes_.count; ++lane)
    numbers.push_back(llvm::ConstantInt::get(type, uint64_t(lane)));
  return llvm::ConstantVector::get(numbers);
}

/// Memory on the stack.
Value* Emitter::reserve(llvm::Type* type, uint64_t count, const char* name) {
  llvm::IRBuilder<> at(reserved_, reserved_->begin());
  llvm::AllocaInst* memory = at.CreateAlloca(type, at.getInt64(count), name);
  memory->setAlignment(llvm::Align(64));
  return memory;
}

}  // namespace encore::jit
