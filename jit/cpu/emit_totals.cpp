// Accumulators: the lanes of a row's totals, in memory or carried through a loop, and the running
// totals of columns.
#include <encore/jit/cpu/emitter.h>

#include <limits>
#include <utility>

namespace encore::jit {

using llvm::Value;

namespace {

bool is_extreme_index(Reduce reduce) {
  return reduce == Reduce::argmax || reduce == Reduce::argmin;
}

constexpr int64_t no_index = std::numeric_limits<int64_t>::max();

}  // namespace

/// Takes memory for the lanes of a row accumulator and sets them to the identity.
void Emitter::reserve_row_total(uint32_t index) {
  const Accumulator& accumulator = kernel_.accumulators[index];
  DType dtype = kernel_.instructions[accumulator.value].dtype;
  int lanes = int(lane_count(dtype));
  auto count = llvm::ElementCount::getFixed(unsigned(lanes));
  RowTotal total{index, dtype, lanes, reserve(math_.memory_type(dtype, lanes), 1, "lanes"),
                 nullptr};
  llvm::Constant* bits =
      ir_.getIntN(unsigned(8 * size_of(dtype)), identity_bits(accumulator.reduce, dtype));
  llvm::Constant* identity = llvm::ConstantExpr::getBitCast(bits, math_.memory_type(dtype));
  ir_.CreateStore(llvm::ConstantVector::getSplat(count, identity), total.values);
  if (is_extreme_index(accumulator.reduce)) {
    llvm::Type* indices = math_.memory_type(DType::i64, lanes);
    total.indices = reserve(indices, 1, "indices");
    ir_.CreateStore(llvm::ConstantInt::get(indices, no_index), total.indices);
  }
  row_totals_.push_back(total);
}

Emitter::Partial Emitter::load_partial(const RowTotal& total, Value* lane) {
  Partial partial;
  Value* stored =
      ir_.CreateAlignedLoad(math_.memory_type(total.dtype, vector_lanes_),
                            ir_.CreateGEP(math_.memory_type(total.dtype), total.values, lane),
                            llvm::Align(size_of(total.dtype)));
  partial.value = math_.from_memory(stored, total.dtype);
  if (total.indices)
    partial.index =
        ir_.CreateAlignedLoad(math_.memory_type(DType::i64, vector_lanes_),
                              ir_.CreateGEP(ir_.getInt64Ty(), total.indices, lane), llvm::Align(8));
  return partial;
}

void Emitter::store_partial(const RowTotal& total, Value* lane, const Partial& partial) {
  ir_.CreateAlignedStore(math_.to_memory(partial.value, total.dtype),
                         ir_.CreateGEP(math_.memory_type(total.dtype), total.values, lane),
                         llvm::Align(size_of(total.dtype)));
  if (total.indices)
    ir_.CreateAlignedStore(partial.index, ir_.CreateGEP(ir_.getInt64Ty(), total.indices, lane),
                           llvm::Align(8));
}

/// Where the lane is inside the run and the predicate holds; null: everywhere.
Value* Emitter::wanted_lanes(ValueId predicate) {
  if (predicate == none) return lanes_.mask;
  Value* wanted = operand(predicate);
  return lanes_.mask ? ir_.CreateAnd(lanes_.mask, wanted) : wanted;
}

void Emitter::feed_row_total(const RowTotal& total, Partial& partial) {
  const Accumulator& accumulator = kernel_.accumulators[total.accumulator];
  Value* wanted = wanted_lanes(accumulator.predicate);
  Value* value = operand(accumulator.value);
  if (!total.indices) {
    Value* sum = math_.combine(accumulator.reduce, total.dtype, partial.value, value);
    partial.value = wanted ? ir_.CreateSelect(wanted, sum, partial.value) : sum;
    return;
  }
  Value* index = ir_.CreateAdd(run_number_, lanes_.first);
  if (lanes_.count > 1)
    index = ir_.CreateAdd(ir_.CreateVectorSplat(unsigned(lanes_.count), index),
                          lane_numbers(ir_.getInt64Ty()));
  Value* take =
      math_.beats(accumulator.reduce, total.dtype, partial.value, partial.index, value, index);
  if (wanted) take = ir_.CreateAnd(take, wanted);
  partial.value = ir_.CreateSelect(take, value, partial.value);
  partial.index = ir_.CreateSelect(take, index, partial.index);
}

/// Where the totals of the inner points that the lanes stand for lie; of a row scalar, the total.
Value* Emitter::total_pointer(const Accumulator& accumulator) {
  int64_t number = &accumulator - kernel_.accumulators.data();
  Value* offset = ir_.CreateMul(index_constant(number), bounds_.totals_stride);
  Value* totals = ir_.CreateGEP(ir_.getInt8Ty(), bounds_.totals, offset);
  if (!lanes_.first) return totals;
  Value* point = ir_.CreateSub(ir_.CreateAdd(run_number_, lanes_.first), bounds_.inner_begin);
  return ir_.CreateGEP(math_.memory_type(accumulator.dtype), totals, point);
}

void Emitter::feed_column_total(uint32_t index) {
  const Accumulator& accumulator = kernel_.accumulators[index];
  Value* pointer = total_pointer(accumulator);
  llvm::Type* type = math_.memory_type(accumulator.dtype, lanes_.count);
  Value* value = operand(accumulator.value);
  Value* old = math_.from_memory(load_from(pointer, type, lanes_.mask), accumulator.dtype);
  Value* total = math_.combine(accumulator.reduce, accumulator.dtype, old, value);
  if (accumulator.predicate != none)
    total = ir_.CreateSelect(operand(accumulator.predicate), total, old);
  store_to(pointer, math_.to_memory(total, accumulator.dtype), lanes_.mask);
}

/// Lane j takes in lane j + h for h = lanes / 2 … 1.
Value* Emitter::finish_row_total(const RowTotal& total) {
  Reduce reduce = kernel_.accumulators[total.accumulator].reduce;
  int saved = std::exchange(vector_lanes_, total.lanes);
  Partial all = load_partial(total, index_constant(0));
  vector_lanes_ = saved;
  auto half = [&](Value* lanes, int begin, int count) -> Value* {
    if (count == 1) return ir_.CreateExtractElement(lanes, uint64_t(begin));
    std::vector<int> chosen;
    for (int lane = begin; lane < begin + count; ++lane) chosen.push_back(lane);
    return ir_.CreateShuffleVector(lanes, chosen);
  };
  for (int count = total.lanes / 2; count > 0; count /= 2) {
    Value *low = half(all.value, 0, count), *high = half(all.value, count, count);
    if (!all.index) {
      all.value = math_.combine(reduce, total.dtype, low, high);
      continue;
    }
    Value *low_index = half(all.index, 0, count), *high_index = half(all.index, count, count);
    Value* take = math_.beats(reduce, total.dtype, low, low_index, high, high_index);
    all.value = ir_.CreateSelect(take, high, low);
    all.index = ir_.CreateSelect(take, high_index, low_index);
  }
  if (!all.index) return all.value;
  Value* empty = ir_.CreateICmpEQ(all.index, index_constant(no_index));
  return ir_.CreateSelect(empty, index_constant(0), all.index);
}

}  // namespace encore::jit
