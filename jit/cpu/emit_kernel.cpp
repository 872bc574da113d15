// The function around the stages: reads its arguments, visits outer points and rows, keeps the
// totals of column accumulators.
#include <encore/core/error.h>
#include <encore/jit/cpu/contraction_seam.h>
#include <encore/jit/cpu/emitter.h>
#include <llvm/IR/IntrinsicsX86.h>

#include <algorithm>
#include <cstddef>

namespace encore::jit {

using llvm::BasicBlock;
using llvm::Value;

Emitter::Emitter(const Kernel& kernel, Isa isa, llvm::Module& module)
    : kernel_(kernel),
      isa_(isa),
      traits_(traits_of(kernel)),
      module_(module),
      ir_(module.getContext()),
      math_(ir_, isa),
      prefetches_(loads_that_prefetch(kernel)),
      position_(kernel.axes.size()),
      values_(kernel.instructions.size()),
      splats_(kernel.instructions.size()),
      pointers_(kernel.instructions.size()),
      varying_(kernel.instructions.size()),
      reduced_(kernel.accumulators.size()) {}

llvm::Function* Emitter::begin_function(const char* name, int parameters) {
  auto& context = module_.getContext();
  std::vector<llvm::Type*> types(size_t(parameters), ir_.getPtrTy());
  auto* type = llvm::FunctionType::get(ir_.getVoidTy(), types, false);
  function_ = llvm::Function::Create(type, llvm::Function::ExternalLinkage, name, module_);
  function_->setDoesNotThrow();
  std::string width = std::to_string(8 * vector_bytes(isa_));
  function_->addFnAttr("target-cpu", feature_level(isa_));
  function_->addFnAttr("tune-cpu", host_cpu());
  function_->addFnAttr("prefer-vector-width", width);
  function_->addFnAttr("min-legal-vector-width", width);
  reserved_ = BasicBlock::Create(context, "entry", function_);
  ir_.SetInsertPoint(BasicBlock::Create(context, "start", function_));
  zeros_ = reserve(ir_.getInt64Ty(), 1, "zeros");
  discard_ = reserve(ir_.getInt64Ty(), 1, "discard");
  ir_.CreateStore(index_constant(0), zeros_);
  return function_;
}

void Emitter::end_function() {
  ir_.CreateRetVoid();
  ir_.SetInsertPoint(reserved_);
  ir_.CreateBr(reserved_->getNextNode());
}

Value* Emitter::field(Value* pointer, size_t offset, llvm::Type* type) {
  llvm::LoadInst* value =
      ir_.CreateLoad(type, ir_.CreateConstGEP1_64(ir_.getInt8Ty(), pointer, offset));
  value->setMetadata(llvm::LLVMContext::MD_invariant_load,
                     llvm::MDNode::get(module_.getContext(), {}));
  return value;
}

void Emitter::load_arguments(Value* arguments, Value* sizes, Value* scalars) {
  arguments_.clear(), sizes_.clear(), scalars_.clear();
  for (size_t i = 0; i < kernel_.arguments.size(); ++i)
    arguments_.push_back(field(arguments, 8 * i, ir_.getPtrTy()));
  for (size_t i = 0; i < kernel_.sizes.size(); ++i)
    sizes_.push_back(kernel_.sizes[i].fixed ? index_constant(kernel_.sizes[i].value)
                                            : field(sizes, 8 * i, ir_.getInt64Ty()));
  for (size_t i = 0; i < kernel_.scalars.size(); ++i) {
    DType dtype = kernel_.scalars[i];
    scalars_.push_back(math_.from_memory(field(scalars, 8 * i, math_.memory_type(dtype)), dtype));
  }
}

void Emitter::emit_kernel() {
  begin_function(kernel_symbol, 2);
  Value *segment = function_->getArg(0), *range = function_->getArg(1);
  auto* pointer = ir_.getPtrTy();
  auto* number = ir_.getInt64Ty();
  load_arguments(field(segment, offsetof(Segment, arguments), pointer),
                 field(segment, offsetof(Segment, sizes), pointer),
                 field(segment, offsetof(Segment, scalars), pointer));
  Bounds bounds{};
  bounds.outer_begin = field(range, offsetof(Range, outer_begin), number);
  bounds.outer_end = field(range, offsetof(Range, outer_end), number);
  bounds.row_begin = field(range, offsetof(Range, row_begin), number);
  bounds.row_end = field(range, offsetof(Range, row_end), number);
  if (traits_.splits_inner) {
    bounds.inner_begin = field(range, offsetof(Range, inner_begin), number);
    bounds.inner_end = field(range, offsetof(Range, inner_end), number);
  } else {
    bounds.inner_begin = index_constant(0);
    bounds.inner_end = index_constant(1);
    for (uint32_t axis : axes_of(Role::inner))
      bounds.inner_end = ir_.CreateMul(bounds.inner_end, extent(axis));
  }
  bounds.chunk = field(range, offsetof(Range, chunk), number);
  bounds.totals = field(range, offsetof(Range, totals), pointer);
  bounds.totals_stride = field(range, offsetof(Range, totals_stride), number);
  bounds.kept = field(range, offsetof(Range, kept), pointer);
  bounds.kept_stride = field(range, offsetof(Range, kept_stride), number);
  if (traits_.streamed_bytes)
    bounds.streaming =
        ir_.CreateICmpNE(field(range, offsetof(Range, streaming), number), index_constant(0));
  aligned_runs_ = true;
  emit_points(bounds);
  if (traits_.streamed_bytes) ir_.CreateIntrinsic(llvm::Intrinsic::x86_sse_sfence, {}, {});
  end_function();
}

void Emitter::emit_points(const Bounds& bounds) {
  bounds_ = bounds;
  for (const Stage& stage : kernel_.stages)
    if (stage.kind == StageKind::setup) emit_instructions(stage.begin, stage.end);
  for_each_point(Role::outer, bounds.outer_begin, bounds.outer_end, [&](Value*) {
    if (traits_.column_accumulators) begin_chunk();
    for_each_point(Role::row, bounds.row_begin, bounds.row_end, [&](Value* row) {
      row_number_ = row;
      emit_row();
    });
    if (traits_.column_accumulators) end_chunk();
  });
}

void Emitter::emit_row() {
  for (const Stage& stage : kernel_.stages) {
    if (stage.kind == StageKind::row) emit_row_stage(stage);
    if (stage.kind == StageKind::sweep) emit_sweep(stage);
  }
}

/// Scalars. What it stores and accumulates must happen once a row, so only beside inner point 0.
void Emitter::emit_row_stage(const Stage& stage) {
  lanes_ = Lanes{};
  vector_axis_ = none;
  Value* first = ir_.CreateICmpEQ(bounds_.inner_begin, index_constant(0));
  for (ValueId id = stage.begin; id < stage.end; ++id) {
    Opcode op = kernel_.instructions[id].op;
    if (op == Opcode::store || op == Opcode::store_add)
      guarded(first, [&] { emit_instruction(id); });
    else
      values_[id] = emit_instruction(id);
  }
  if (stage.first_accumulator == stage.last_accumulator) return;
  guarded(first, [&] {
    for (uint32_t i = stage.first_accumulator; i < stage.last_accumulator; ++i)
      feed_column_total(i);
  });
}

/// Calls `visit` for every column accumulator, with the lanes set that its totals are due for.
void Emitter::for_each_column_total(const std::function<void(const Accumulator&)>& visit) {
  for (const Stage& stage : kernel_.stages) {
    for (uint32_t i = stage.first_accumulator; i < stage.last_accumulator; ++i) {
      const Accumulator& accumulator = kernel_.accumulators[i];
      if (!accumulator.column) continue;
      if (stage.kind == StageKind::row) {
        lanes_ = Lanes{};
        guarded(ir_.CreateICmpEQ(bounds_.inner_begin, index_constant(0)),
                [&] { visit(accumulator); });
        continue;
      }
      // A sweep without instructions.
      Stage sweep{StageKind::sweep, 0, 0, i, i};
      vectorize_along(last_axis(kernel_, Role::inner));
      row_totals_.clear();
      vector_lanes_ = vector_axis_ == none
                          ? 1
                          : std::min(16, vector_bytes(isa_) / int(size_of(accumulator.dtype)));
      deliver_ = [&] { visit(accumulator); };
      for_each_run(
          Role::inner, bounds_.inner_begin, bounds_.inner_end,
          [&](Value* begin, Value* end, Value* number) { emit_run(sweep, begin, end, number); });
      deliver_ = nullptr;
      vector_axis_ = none;
    }
  }
}

/// The first call of a chunk starts from the identities.
void Emitter::begin_chunk() {
  Value* chunk_begin = ir_.CreateMul(bounds_.chunk, size(kernel_.rows_per_chunk));
  guarded(ir_.CreateICmpEQ(bounds_.row_begin, chunk_begin), [&] {
    for_each_column_total([&](const Accumulator& accumulator) {
      Value* identity =
          math_.literal(accumulator.dtype, identity_bits(accumulator.reduce, accumulator.dtype));
      if (lanes_.count > 1) identity = ir_.CreateVectorSplat(unsigned(lanes_.count), identity);
      store_to(total_pointer(accumulator), math_.to_memory(identity, accumulator.dtype),
               lanes_.mask);
    });
  });
}

/// The last call of a chunk writes its totals where they go.
void Emitter::end_chunk() {
  Value* rows = index_constant(1);
  for (uint32_t axis : axes_of(Role::row)) rows = ir_.CreateMul(rows, extent(axis));
  Value* next = ir_.CreateAdd(bounds_.chunk, index_constant(1));
  Value* chunk_end = ir_.CreateMul(next, size(kernel_.rows_per_chunk));
  chunk_end = ir_.CreateBinaryIntrinsic(llvm::Intrinsic::smin, chunk_end, rows);
  guarded(ir_.CreateICmpEQ(bounds_.row_end, chunk_end), [&] {
    for_each_column_total([&](const Accumulator& accumulator) {
      llvm::Type* type = math_.memory_type(accumulator.dtype, lanes_.count);
      Value* total = load_from(total_pointer(accumulator), type, lanes_.mask);
      const Access& access = kernel_.accesses[accumulator.access];
      store(access, base_pointer(access), math_.from_memory(total, accumulator.dtype));
    });
  });
}

}  // namespace encore::jit
