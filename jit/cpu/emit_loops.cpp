// Loops over the points of a role.
#include <encore/jit/cpu/emitter.h>

namespace encore::jit {

using llvm::BasicBlock;
using llvm::Value;

/// for (i = begin; i < end; i += step), tested before the first and after every round.
void Emitter::loop(Value* begin, Value* end, int64_t step, const Body& body) {
  auto& context = ir_.getContext();
  BasicBlock* before = ir_.GetInsertBlock();
  BasicBlock* head = BasicBlock::Create(context, "loop", function_);
  BasicBlock* after = BasicBlock::Create(context, "done", function_);
  ir_.CreateCondBr(ir_.CreateICmpSLT(begin, end), head, after);
  ir_.SetInsertPoint(head);
  llvm::PHINode* i = ir_.CreatePHI(ir_.getInt64Ty(), 2);
  i->addIncoming(begin, before);
  body(i);
  Value* next = ir_.CreateNSWAdd(i, index_constant(step));
  i->addIncoming(next, ir_.GetInsertBlock());
  ir_.CreateCondBr(ir_.CreateICmpSLT(next, end), head, after);
  ir_.SetInsertPoint(after);
}

void Emitter::guarded(Value* condition, const std::function<void()>& body) {
  if (auto* constant = llvm::dyn_cast<llvm::ConstantInt>(condition)) {
    if (constant->isOne()) body();
    return;
  }
  BasicBlock* inside = BasicBlock::Create(ir_.getContext(), "inside", function_);
  BasicBlock* after = BasicBlock::Create(ir_.getContext(), "after", function_);
  ir_.CreateCondBr(condition, inside, after);
  ir_.SetInsertPoint(inside);
  body();
  ir_.CreateBr(after);
  ir_.SetInsertPoint(after);
}

std::vector<uint32_t> Emitter::axes_of(Role role) const {
  std::vector<uint32_t> axes;
  for (uint32_t axis = 0; axis < kernel_.axes.size(); ++axis)
    if (kernel_.axes[axis].role == role) axes.push_back(axis);
  return axes;
}

/// Sets the positions on `axes` from a linear number.
void Emitter::decompose(Value* number, const std::vector<uint32_t>& axes) {
  for (size_t i = axes.size(); i-- > 1;) {
    position_[axes[i]] = ir_.CreateURem(number, extent(axes[i]));
    number = ir_.CreateUDiv(number, extent(axes[i]));
  }
  if (!axes.empty()) position_[axes[0]] = number;
}

/// Moves the positions on `axes` to the next point.
void Emitter::advance(const std::vector<uint32_t>& axes) {
  Value* carry = ir_.getTrue();
  for (size_t i = axes.size(); i-- > 0;) {
    Value*& position = position_[axes[i]];
    Value* next = ir_.CreateAdd(position, ir_.CreateZExt(carry, ir_.getInt64Ty()));
    if (i == 0) {
      position = next;
      return;
    }
    carry = ir_.CreateICmpEQ(next, extent(axes[i]));
    position = ir_.CreateSelect(carry, index_constant(0), next);
  }
}

/// Visits the points of `role` with linear numbers in [begin, end), with their positions set.
void Emitter::for_each_point(Role role, Value* begin, Value* end, const Body& body) {
  std::vector<uint32_t> axes = axes_of(role);
  if (axes.size() <= 1) {
    loop(begin, end, 1, [&](Value* number) {
      if (!axes.empty()) position_[axes[0]] = number;
      body(number);
    });
    return;
  }
  guarded(ir_.CreateICmpSLT(begin, end), [&] {
    decompose(begin, axes);
    BasicBlock* before = ir_.GetInsertBlock();
    std::vector<llvm::PHINode*> positions;
    loop(begin, end, 1, [&](Value* number) {
      for (uint32_t axis : axes) {
        llvm::PHINode* phi = ir_.CreatePHI(ir_.getInt64Ty(), 2);
        phi->addIncoming(position_[axis], before);
        positions.push_back(phi);
        position_[axis] = phi;
      }
      body(number);
      for (size_t i = 0; i < axes.size(); ++i) position_[axes[i]] = positions[i];
      advance(axes);
      for (size_t i = 0; i < axes.size(); ++i)
        positions[i]->addIncoming(position_[axes[i]], ir_.GetInsertBlock());
    });
  });
}

/// Visits the points of `role` with numbers in [begin, end) as runs [first, last) along the role's
/// last axis; `number` is the linear number that position 0 of the run has.
void Emitter::for_each_run(Role role, Value* begin, Value* end, const RunBody& body) {
  std::vector<uint32_t> axes = axes_of(role);
  if (axes.size() <= 1) {
    body(begin, end, index_constant(0));
    return;
  }
  uint32_t last = axes.back();
  axes.pop_back();
  Value* length = extent(last);
  guarded(ir_.CreateICmpSLT(begin, end), [&] {
    Value* first_line = ir_.CreateUDiv(begin, length);
    Value* end_line =
        ir_.CreateUDiv(ir_.CreateAdd(end, ir_.CreateSub(length, index_constant(1))), length);
    decompose(first_line, axes);
    BasicBlock* before = ir_.GetInsertBlock();
    std::vector<llvm::PHINode*> positions;
    loop(first_line, end_line, 1, [&](Value* line) {
      for (uint32_t axis : axes) {
        llvm::PHINode* phi = ir_.CreatePHI(ir_.getInt64Ty(), 2);
        phi->addIncoming(position_[axis], before);
        positions.push_back(phi);
        position_[axis] = phi;
      }
      Value* number = ir_.CreateMul(line, length);
      Value *from = index_constant(0), *to = length;
      if (role != Role::inner || !traits_.row_accumulators) {
        from = ir_.CreateBinaryIntrinsic(llvm::Intrinsic::smax, ir_.CreateSub(begin, number), from);
        to = ir_.CreateBinaryIntrinsic(llvm::Intrinsic::smin, ir_.CreateSub(end, number), to);
      }
      body(from, to, number);
      for (size_t i = 0; i < axes.size(); ++i) position_[axes[i]] = positions[i];
      advance(axes);
      for (size_t i = 0; i < axes.size(); ++i)
        positions[i]->addIncoming(position_[axes[i]], ir_.GetInsertBlock());
    });
  });
}

}  // namespace encore::jit
