// Loads and stores: contiguous vectors where the last stride is 1, scalars where nothing varies,
// gathers and scatters for the rest.
#include <encore/jit/cpu/emitter.h>

namespace encore::jit {

using llvm::Align;
using llvm::Value;

Emitter::Pattern Emitter::pattern_of(const Access& access) const {
  if (varies(access.offset)) return Pattern::strided;
  SizeId stride = vector_axis_ == none ? none : stride_along(kernel_, access, vector_axis_);
  if (stride == none) return Pattern::uniform;
  int64_t fixed = fixed_or(kernel_, stride, 2);
  if (fixed == 1) return Pattern::contiguous;
  return fixed == -1 ? Pattern::reversed : Pattern::strided;
}

/// The address less what varies along the vector axis.
Value* Emitter::base_pointer(const Access& access) {
  Value* element = size(access.base);
  for (uint32_t axis = 0; axis < kernel_.axes.size(); ++axis) {
    SizeId stride = stride_along(kernel_, access, axis);
    if (axis == vector_axis_ || stride == none) continue;
    element = ir_.CreateAdd(element, ir_.CreateMul(position_[axis], size(stride)));
  }
  if (access.chunk_stride != none)
    element = ir_.CreateAdd(element, ir_.CreateMul(bounds_.chunk, size(access.chunk_stride)));
  if (access.offset != none && !varies(access.offset))
    element = ir_.CreateAdd(element, values_[access.offset]);
  llvm::Type* type = math_.memory_type(kernel_.arguments[access.argument].dtype);
  return ir_.CreateGEP(type, arguments_[access.argument], element);
}

/// Where inner point 0 of the run would lie in a buffer for rows.
Value* Emitter::kept_row_pointer(int64_t number) {
  Value* offset = ir_.CreateMul(index_constant(number), bounds_.kept_stride);
  Value* row = ir_.CreateGEP(ir_.getInt8Ty(), bounds_.kept, offset);
  DType dtype = kernel_.arguments[traits_.kept_rows[size_t(number)].argument].dtype;
  return ir_.CreateGEP(math_.memory_type(dtype), row,
                       ir_.CreateSub(run_number_, bounds_.inner_begin));
}

Value* Emitter::base_pointer(ValueId id) {
  const Access& access = kernel_.accesses[kernel_.instructions[id].aux];
  for (size_t i = 0; i < traits_.kept_rows.size(); ++i) {
    const KeptRow& kept = traits_.kept_rows[i];
    if (kept.argument == access.argument && kept.last_store != id)
      return kept_row_pointer(int64_t(i));
  }
  return base_pointer(access);
}

Value* Emitter::access_pointer(ValueId id) {
  return pointers_[id] ? pointers_[id] : base_pointer(id);
}

/// The address of each lane; with one lane, a scalar.
Value* Emitter::element_pointers(const Access& access, Value* pointer) {
  llvm::Type* type = math_.memory_type(kernel_.arguments[access.argument].dtype);
  SizeId stride = vector_axis_ == none ? none : stride_along(kernel_, access, vector_axis_);
  if (stride != none && lanes_.first)
    pointer = ir_.CreateGEP(type, pointer, ir_.CreateMul(lanes_.first, size(stride)));
  if (lanes_.count == 1)
    return varies(access.offset) ? ir_.CreateGEP(type, pointer, values_[access.offset]) : pointer;
  Value* lane = lane_numbers(ir_.getInt64Ty());
  Value* step = stride == none ? index_constant(0) : size(stride);
  Value* offset = ir_.CreateMul(lane, ir_.CreateVectorSplat(unsigned(lanes_.count), step));
  if (varies(access.offset)) offset = ir_.CreateAdd(offset, operand(access.offset));
  return ir_.CreateGEP(type, pointer, offset);
}

/// Which lanes happen; null: all.
Value* Emitter::access_mask(const Access& access) {
  if (access.predicate == none) return lanes_.mask;
  Value* predicate = operand(access.predicate);
  return lanes_.mask ? ir_.CreateAnd(lanes_.mask, predicate) : predicate;
}

Value* Emitter::reversed(Value* vector) {
  std::vector<int> order;
  for (int lane = lanes_.count; lane-- > 0;) order.push_back(lane);
  return ir_.CreateShuffleVector(vector, order);
}

Value* Emitter::load_from(Value* pointer, llvm::Type* type, Value* mask) {
  Align align(type->getScalarSizeInBits() / 8);
  if (!mask) return ir_.CreateAlignedLoad(type, pointer, align);
  return ir_.CreateMaskedLoad(type, pointer, align, mask, llvm::Constant::getNullValue(type));
}

void Emitter::store_to(Value* pointer, Value* stored, Value* mask) {
  Align align(stored->getType()->getScalarSizeInBits() / 8);
  if (mask)
    ir_.CreateMaskedStore(stored, pointer, align, mask);
  else
    ir_.CreateAlignedStore(stored, pointer, align);
}

/// A whole vector to an aligned address, past the caches.
void Emitter::stream_to(Value* pointer, Value* stored) {
  Align align(stored->getType()->getPrimitiveSizeInBits() / 8);
  auto* one = llvm::ConstantAsMetadata::get(ir_.getInt32(1));
  ir_.CreateAlignedStore(stored, pointer, align)
      ->setMetadata(llvm::LLVMContext::MD_nontemporal, llvm::MDNode::get(ir_.getContext(), {one}));
}

/// A scalar access goes elsewhere when its predicate is false; a branch would cost more.
Value* Emitter::wanted_or(Value* elsewhere, const Access& access, Value* pointer) {
  if (access.predicate == none) return pointer;
  return ir_.CreateSelect(values_[access.predicate], pointer, elsewhere);
}

Value* Emitter::load(ValueId id) {
  const Access& access = kernel_.accesses[kernel_.instructions[id].aux];
  DType dtype = kernel_.arguments[access.argument].dtype;
  llvm::Type* element = math_.memory_type(dtype);
  llvm::Type* type = math_.memory_type(dtype, lanes_.count);
  if (lanes_.count == 1) {
    Value* pointer = wanted_or(zeros_, access, element_pointers(access, access_pointer(id)));
    return math_.from_memory(load_from(pointer, type, nullptr), dtype);
  }
  Value* mask = access_mask(access);
  Value* zero = llvm::Constant::getNullValue(type);
  Value* stored = nullptr;
  switch (pattern_of(access)) {
    case Pattern::contiguous:
      stored = load_from(ir_.CreateGEP(element, access_pointer(id), lanes_.first), type, mask);
      if (!mask && prefetches_.contains(id)) prefetch(id);
      break;
    case Pattern::reversed: {
      Value* lowest = ir_.CreateAdd(lanes_.first, index_constant(lanes_.count - 1));
      Value* pointer = ir_.CreateGEP(element, access_pointer(id), ir_.CreateNeg(lowest));
      stored = reversed(load_from(pointer, type, mask ? reversed(mask) : nullptr));
      break;
    }
    case Pattern::uniform: {
      Value* pointer = access_pointer(id);
      if (mask) pointer = ir_.CreateSelect(ir_.CreateOrReduce(mask), pointer, zeros_);
      Value* splat =
          ir_.CreateVectorSplat(unsigned(lanes_.count), load_from(pointer, element, nullptr));
      stored = mask ? ir_.CreateSelect(mask, splat, zero) : splat;
      break;
    }
    case Pattern::strided:
      stored = ir_.CreateMaskedGather(type, element_pointers(access, access_pointer(id)),
                                      Align(size_of(dtype)), mask, zero);
      break;
  }
  return math_.from_memory(stored, dtype);
}

/// Asks for the same place of the next row, into the second cache because the nearest one is full
/// of this row; or for what comes soon.
void Emitter::prefetch(ValueId id) {
  constexpr int64_t soon_bytes = 4096;
  constexpr int read = 0, nearest = 3, second = 2, data = 1;
  const Access& access = kernel_.accesses[kernel_.instructions[id].aux];
  DType dtype = kernel_.arguments[access.argument].dtype;
  bool soon = ahead_of(kernel_) == Ahead::soon;
  Value* distance = soon ? index_constant(soon_bytes / int64_t(size_of(dtype)))
                         : size(stride_along(kernel_, access, line_axis(kernel_)));
  llvm::Type* element = math_.memory_type(dtype);
  Value* later = ir_.CreateGEP(element, access_pointer(id), distance);
  ir_.CreateIntrinsic(llvm::Intrinsic::prefetch, {ir_.getPtrTy()},
                      {ir_.CreateGEP(element, later, lanes_.first), ir_.getInt32(read),
                       ir_.getInt32(soon ? nearest : second), ir_.getInt32(data)});
}

void Emitter::store(ValueId id, Value* value) {
  const Instruction& instruction = kernel_.instructions[id];
  const Access& access = kernel_.accesses[instruction.aux];
  if (!streaming_ || !may_stream(kernel_, id)) return store(access, access_pointer(id), value);
  DType dtype = kernel_.arguments[access.argument].dtype;
  Value* pointer = ir_.CreateGEP(math_.memory_type(dtype), access_pointer(id), lanes_.first);
  stream_to(pointer, math_.to_memory(value, dtype));
}

void Emitter::store(const Access& access, Value* pointer, Value* value) {
  DType dtype = kernel_.arguments[access.argument].dtype;
  llvm::Type* element = math_.memory_type(dtype);
  Value* stored = math_.to_memory(value, dtype);
  if (lanes_.count == 1) {
    store_to(wanted_or(discard_, access, element_pointers(access, pointer)), stored, nullptr);
    return;
  }
  Value* mask = access_mask(access);
  switch (pattern_of(access)) {
    case Pattern::contiguous:
      store_to(ir_.CreateGEP(element, pointer, lanes_.first), stored, mask);
      return;
    case Pattern::reversed: {
      Value* lowest = ir_.CreateAdd(lanes_.first, index_constant(lanes_.count - 1));
      pointer = ir_.CreateGEP(element, pointer, ir_.CreateNeg(lowest));
      store_to(pointer, reversed(stored), mask ? reversed(mask) : nullptr);
      return;
    }
    case Pattern::uniform:  // the last lane wins, as it should
    case Pattern::strided:
      ir_.CreateMaskedScatter(stored, element_pointers(access, pointer), Align(size_of(dtype)),
                              mask);
      return;
  }
}

/// Lanes may add to the same element, so they go one by one unless they are contiguous.
void Emitter::store_add(ValueId id, Value* value) {
  const Access& access = kernel_.accesses[kernel_.instructions[id].aux];
  DType storage = kernel_.arguments[access.argument].dtype;
  DType dtype = kernel_.instructions[id].dtype;
  auto add_to = [&](Value* pointer, Value* addend, Value* mask) {
    Value* old = load_from(pointer, math_.memory_type(storage, int(lanes_.count)), mask);
    Value* sum = math_.combine(Reduce::sum, dtype, math_.from_memory(old, storage), addend);
    store_to(pointer, math_.to_memory(sum, storage), mask);
  };
  if (lanes_.count == 1)
    return add_to(wanted_or(discard_, access, element_pointers(access, access_pointer(id))), value,
                  nullptr);
  Value* mask = access_mask(access);
  if (pattern_of(access) == Pattern::contiguous)
    return add_to(ir_.CreateGEP(math_.memory_type(storage), access_pointer(id), lanes_.first),
                  value, mask);
  Lanes vector = lanes_;
  llvm::Type* type = math_.value_type(dtype);
  Value* pointers = element_pointers(access, access_pointer(id));
  auto spill = [&](Value* lanes) {
    Value* memory = reserve(lanes->getType(), 1, "lanes");
    ir_.CreateStore(lanes, memory);
    return memory;
  };
  bool boolean = dtype == DType::boolean;
  Value* values = spill(boolean ? math_.to_memory(value, dtype) : value);
  Value* addresses = spill(pointers);
  Value* wanted = mask ? spill(math_.to_memory(mask, DType::boolean)) : nullptr;
  loop(index_constant(0), index_constant(vector.count), 1, [&](Value* lane) {
    auto at = [&](Value* memory, llvm::Type* element) {
      return ir_.CreateLoad(element, ir_.CreateGEP(element, memory, lane));
    };
    lanes_ = Lanes{};
    Value* addend =
        boolean ? math_.from_memory(at(values, ir_.getInt8Ty()), dtype) : at(values, type);
    Value* pointer = at(addresses, ir_.getPtrTy());
    if (wanted)
      pointer = ir_.CreateSelect(math_.from_memory(at(wanted, ir_.getInt8Ty()), DType::boolean),
                                 pointer, discard_);
    add_to(pointer, addend, nullptr);
    lanes_ = vector;
  });
}

}  // namespace encore::jit
