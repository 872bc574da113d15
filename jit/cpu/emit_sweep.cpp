// Sweeps: a vector loop along the last inner axis, then a masked tail.
//
// The lanes of row accumulators live in stack memory, in order; the main loop, whose rounds cover
// all lanes a whole number of times, keeps them in registers.
#include <encore/jit/cpu/emitter.h>

#include <algorithm>
#include <utility>

namespace encore::jit {

using llvm::Value;

namespace {

/// Instructions of a sweep whose vectors are computed in step.
constexpr uint32_t most_in_step = 48;

bool is_constant_false(Value* condition) {
  auto* constant = llvm::dyn_cast<llvm::ConstantInt>(condition);
  return constant && constant->isZero();
}

}  // namespace

/// As many lanes as the widest type that is loaded, stored, or computed with other than as an
/// index has in a register.
int Emitter::choose_lanes(const Stage& stage) const {
  if (vector_axis_ == none || fixed_or(kernel_, kernel_.axes[vector_axis_].extent, 2) == 1)
    return 1;
  size_t widest = 1;
  int most = vector_bytes(isa_);
  for (uint32_t id = stage.begin; id < stage.end; ++id) {
    const Instruction& instruction = kernel_.instructions[id];
    bool memory = instruction.op == Opcode::load || instruction.op == Opcode::store ||
                  instruction.op == Opcode::store_add;
    if (memory) {
      DType dtype = kernel_.arguments[kernel_.accesses[instruction.aux].argument].dtype;
      widest = std::max(widest, size_of(dtype));
    }
    if (memory || instruction.dtype != DType::i64)
      widest = std::max(widest, size_of(instruction.dtype));
  }
  for (uint32_t i = stage.first_accumulator; i < stage.last_accumulator; ++i) {
    DType dtype = kernel_.instructions[kernel_.accumulators[i].value].dtype;
    widest = std::max(widest, size_of(dtype));
    if (!kernel_.accumulators[i].column) most = std::min(most, int(lane_count(dtype)));
  }
  return std::min(most, vector_bytes(isa_) / int(widest));
}

int Emitter::unroll_of(const Stage& stage) const {
  int lanes = 0;
  for (const RowTotal& total : row_totals_) lanes = std::max(lanes, total.lanes);
  if (lanes) return lanes / vector_lanes_;
  return stage.end - stage.begin <= most_in_step ? 2 : 1;
}

void Emitter::vectorize_along(uint32_t axis) {
  vector_axis_ = axis;
  varying_ = axis == none ? std::vector<bool>(values_.size(), true) : varying_along(kernel_, axis);
}

void Emitter::emit_sweep(const Stage& stage) {
  vectorize_along(last_axis(kernel_, Role::inner));
  vector_lanes_ = choose_lanes(stage);
  row_totals_.clear();
  for (uint32_t i = stage.first_accumulator; i < stage.last_accumulator; ++i)
    if (!kernel_.accumulators[i].column) reserve_row_total(i);
  for_each_run(
      Role::inner, bounds_.inner_begin, bounds_.inner_end,
      [&](Value* begin, Value* end, Value* number) { emit_run(stage, begin, end, number); });
  lanes_ = Lanes{};
  for (const RowTotal& total : row_totals_) reduced_[total.accumulator] = finish_row_total(total);
  vector_axis_ = none;
}

/// What does not vary along the vector axis, and the addresses of what does.
void Emitter::emit_hoisted(uint32_t begin, uint32_t end) {
  lanes_ = Lanes{};
  for (ValueId id = begin; id < end; ++id) {
    const Instruction& instruction = kernel_.instructions[id];
    if (!varying_[id]) {
      values_[id] = emit_instruction(id);
      continue;
    }
    bool memory = instruction.op == Opcode::load || instruction.op == Opcode::store ||
                  instruction.op == Opcode::store_add;
    if (memory) pointers_[id] = base_pointer(id);
  }
  if (vector_lanes_ == 1) return;
  auto splat = [&](ValueId id) {
    if (id == none || varying_[id] || splats_[id] || !values_[id]) return;
    splats_[id] = ir_.CreateVectorSplat(unsigned(vector_lanes_), values_[id]);
  };
  for (ValueId id = begin; id < end; ++id) {
    if (!varying_[id]) continue;
    for (ValueId used : kernel_.instructions[id].operands) splat(used);
  }
}

void Emitter::emit_run(const Stage& stage, Value* begin, Value* end, Value* number) {
  run_number_ = number;
  if (vector_axis_ == none || vector_lanes_ == 1) {
    // One point along the last axis: no loop, only a test that it is wanted.
    guarded(ir_.CreateICmpSLT(begin, end), [&] {
      emit_hoisted(stage.begin, stage.end);
      emit_vector(stage, Lanes{1, begin, nullptr});
    });
  } else {
    guarded(ir_.CreateICmpSLT(begin, end), [&] {
      emit_hoisted(stage.begin, stage.end);
      int64_t step = int64_t(vector_lanes_) * unroll_of(stage);
      Value* whole = ir_.CreateAnd(ir_.CreateSub(end, begin), index_constant(-step));
      Value* main_end = ir_.CreateAdd(begin, whole);
      emit_main_loops(stage, begin, main_end);
      uint32_t axis = vector_axis_;
      int64_t length = fixed_or(kernel_, kernel_.axes[axis].extent, -1);
      bool whole_rounds = length >= 0 && length % step == 0 && aligned_runs_;
      if (!whole_rounds) emit_tail(stage, main_end, end);
    });
  }
  std::fill(splats_.begin(), splats_.end(), nullptr);
  std::fill(pointers_.begin(), pointers_.end(), nullptr);
  lanes_ = Lanes{};
}

/// Where stores may bypass the caches there are two loops; the launch and the alignment choose.
void Emitter::emit_main_loops(const Stage& stage, Value* begin, Value* end) {
  Value* may = bounds_.streaming;
  bool any = false;
  for (ValueId id = stage.begin; may && id < stage.end; ++id) {
    const Instruction& instruction = kernel_.instructions[id];
    if (!may_stream(kernel_, id)) continue;
    any = true;
    DType dtype = kernel_.arguments[kernel_.accesses[instruction.aux].argument].dtype;
    Value* address = ir_.CreatePtrToInt(
        ir_.CreateGEP(math_.memory_type(dtype), pointers_[id], begin), ir_.getInt64Ty());
    Value* offset =
        ir_.CreateAnd(address, index_constant(int64_t(size_of(dtype)) * vector_lanes_ - 1));
    may = ir_.CreateAnd(may, ir_.CreateICmpEQ(offset, index_constant(0)));
  }
  if (!any) return emit_main_loop(stage, begin, end, false);
  Value* streamed_end = ir_.CreateSelect(may, end, begin);
  Value* cached_end = ir_.CreateSelect(may, begin, end);
  emit_main_loop(stage, begin, streamed_end, true);
  emit_main_loop(stage, begin, cached_end, false);
}

/// Whole rounds of vectors, no masks. Row accumulators are in registers.
void Emitter::emit_main_loop(const Stage& stage, Value* begin, Value* end, bool streaming) {
  if (is_constant_false(ir_.CreateICmpSLT(begin, end))) return;
  streaming_ = streaming;
  int unroll = unroll_of(stage);
  std::vector<std::vector<Partial>> registers;  // of each total, its vectors
  for (const RowTotal& total : row_totals_) {
    registers.emplace_back();
    for (int lane = 0; lane < total.lanes; lane += vector_lanes_)
      registers.back().push_back(load_partial(total, index_constant(lane)));
  }
  llvm::BasicBlock *before = ir_.GetInsertBlock(), *latch = nullptr;
  struct Carried {
    Value** value;
    Value* initial;
    llvm::PHINode* phi;
  };
  std::vector<Carried> carried;
  for (auto& vectors : registers)
    for (Partial& partial : vectors)
      for (Value** value : {&partial.value, &partial.index})
        if (*value) carried.push_back({value, *value, nullptr});
  loop(begin, end, int64_t(vector_lanes_) * unroll, [&](Value* i) {
    for (Carried& each : carried) {
      each.phi = ir_.CreatePHI(each.initial->getType(), 2);
      each.phi->addIncoming(each.initial, before);
      *each.value = each.phi;
    }
    std::vector<Vector> round;
    for (int vector = 0; vector < unroll; ++vector) {
      Value* first = vector ? ir_.CreateNSWAdd(i, index_constant(vector * vector_lanes_)) : i;
      round.push_back({Lanes{vector_lanes_, first, nullptr}, {}});
      for (auto& vectors : registers)
        round.back().partials.push_back(&vectors[size_t(vector) % vectors.size()]);
    }
    emit_round(stage, round);
    latch = ir_.GetInsertBlock();
    for (Carried& each : carried) each.phi->addIncoming(*each.value, latch);
  });
  for (Carried& each : carried) {
    llvm::PHINode* phi = ir_.CreatePHI(each.initial->getType(), 2);
    phi->addIncoming(each.initial, before);
    phi->addIncoming(*each.value, latch);
    *each.value = phi;
  }
  for (size_t i = 0; i < row_totals_.size(); ++i)
    for (size_t vector = 0; vector < registers[i].size(); ++vector)
      store_partial(row_totals_[i], index_constant(int64_t(vector) * vector_lanes_),
                    registers[i][vector]);
  streaming_ = false;
}

/// One evaluation with the row accumulators in memory.
void Emitter::emit_vector(const Stage& stage, const Lanes& lanes) {
  std::vector<Partial> partials;
  std::vector<Partial*> pointers;
  auto lane = [&](const RowTotal& total) {
    return ir_.CreateAnd(lanes.first, index_constant(total.lanes - 1));
  };
  for (const RowTotal& total : row_totals_) partials.push_back(load_partial(total, lane(total)));
  for (Partial& partial : partials) pointers.push_back(&partial);
  emit_round(stage, {{lanes, pointers}});
  for (size_t i = 0; i < partials.size(); ++i)
    store_partial(row_totals_[i], lane(row_totals_[i]), partials[i]);
}

/// What is left at the end of a run, vector by vector, with masks.
void Emitter::emit_tail(const Stage& stage, Value* begin, Value* end) {
  auto vector = [&](Value* first) {
    emit_vector(stage, Lanes{vector_lanes_, first, tail_mask(ir_.CreateSub(end, first))});
  };
  auto* count = llvm::dyn_cast<llvm::ConstantInt>(ir_.CreateSub(end, begin));
  if (count && count->isZero()) return;
  if (count && count->getSExtValue() <= vector_lanes_) return vector(begin);
  loop(begin, end, vector_lanes_, vector);
}

/// Lanes below `remaining`, which may be more than there are.
Value* Emitter::tail_mask(Value* remaining) {
  auto* type = vector_lanes_ <= 16 ? ir_.getInt32Ty() : ir_.getInt8Ty();
  Value* most = index_constant(vector_lanes_);
  Value* count = ir_.CreateSelect(ir_.CreateICmpSLT(remaining, most), remaining, most);
  lanes_.count = vector_lanes_;
  return ir_.CreateICmpULT(lane_numbers(type), ir_.CreateVectorSplat(unsigned(vector_lanes_),
                                                                     ir_.CreateTrunc(count, type)));
}

/// Evaluates vectors instruction by instruction rather than one after the other: long chains of
/// arithmetic then wait less for themselves. Large bodies would run out of registers.
void Emitter::emit_round(const Stage& stage, const std::vector<Vector>& vectors) {
  bool in_step = stage.end - stage.begin <= most_in_step;
  for (ValueId id = stage.begin; id < stage.end; ++id)
    in_step &= kernel_.instructions[id].op != Opcode::store_add;
  size_t together = in_step ? vectors.size() : 1;
  std::vector<std::vector<Value*>> values(together, values_);
  for (size_t begin = 0; begin < vectors.size(); begin += together) {
    auto each = [&](const std::function<void(const Vector&)>& visit) {
      for (size_t i = 0; i < together; ++i) {
        std::swap(values_, values[i]);
        lanes_ = vectors[begin + i].lanes;
        visit(vectors[begin + i]);
        std::swap(values_, values[i]);
      }
    };
    for (ValueId id = stage.begin; id < stage.end; ++id)
      if (varying_[id]) each([&](const Vector&) { values_[id] = emit_instruction(id); });
    each([&](const Vector& vector) {
      for (size_t i = 0; i < row_totals_.size(); ++i)
        feed_row_total(row_totals_[i], *vector.partials[i]);
      for (uint32_t i = stage.first_accumulator; i < stage.last_accumulator; ++i)
        if (kernel_.accumulators[i].column) feed_column_total(i);
      if (deliver_) deliver_();
    });
  }
}

}  // namespace encore::jit
