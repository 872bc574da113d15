// Contractions as plain loops: right for every dtype and operand. Fast ones take their products
// from tiles instead (contraction_seam.h).
#include <encore/core/error.h>
#include <encore/jit/cpu/contraction_seam.h>
#include <encore/jit/cpu/emitter.h>

#include <cstddef>
#include <utility>

namespace encore::jit {

using llvm::Value;

Value* Emitter::product() { return bounds_.product ? product_from_tile() : product_by_loop(); }

Value* Emitter::product_from_tile() {
  llvm::Type* element = math_.memory_type(kernel_.contraction->dtype);
  Value* row = ir_.CreateMul(ir_.CreateSub(row_number_, bounds_.row_begin), bounds_.product_stride);
  Value* column = ir_.CreateSub(ir_.CreateAdd(run_number_, lanes_.first), bounds_.inner_begin);
  Value* pointer = ir_.CreateGEP(element, bounds_.product, ir_.CreateAdd(row, column));
  return load_from(pointer, math_.memory_type(kernel_.contraction->dtype, lanes_.count),
                   lanes_.mask);
}

/// An operand at the current contracted point: as wide as its value varies.
Value* Emitter::contraction_operand(uint32_t begin, uint32_t end, ValueId result) {
  Lanes wide = lanes_;
  for (ValueId id = begin; id < end; ++id) {
    lanes_ = varying_[id] ? wide : Lanes{};
    values_[id] = emit_instruction(id);
  }
  lanes_ = wide;
  return operand(result);
}

Value* Emitter::product_by_loop() {
  const Contraction& contraction = *kernel_.contraction;
  llvm::Type* type = math_.value_type(contraction.dtype, lanes_.count);
  Value* points = index_constant(1);
  for (uint32_t axis : axes_of(Role::contracted)) points = ir_.CreateMul(points, extent(axis));
  Value* total = reserve(type, 1, "product");
  ir_.CreateStore(llvm::Constant::getNullValue(type), total);
  for_each_point(Role::contracted, index_constant(0), points, [&](Value*) {
    Value* a = contraction_operand(contraction.a_begin, contraction.a_end, contraction.a);
    Value* b = contraction_operand(contraction.b_begin, contraction.b_end, contraction.b);
    Value* old = ir_.CreateLoad(type, total);
    Value* sum = is_floating(contraction.dtype)
                     ? ir_.CreateIntrinsic(llvm::Intrinsic::fma, {type}, {a, b, old})
                     : ir_.CreateAdd(old, ir_.CreateMul(a, b));
    ir_.CreateStore(sum, total);
  });
  return ir_.CreateLoad(type, total);
}

void Emitter::emit_finisher() {
  begin_function(finisher_symbol, 4);
  Value* tile = function_->getArg(3);
  load_arguments(function_->getArg(0), function_->getArg(1), function_->getArg(2));
  auto number = [&](size_t offset) { return field(tile, offset, ir_.getInt64Ty()); };
  Bounds bounds{};
  bounds.outer_begin = number(offsetof(Tile, outer));
  bounds.outer_end = ir_.CreateAdd(bounds.outer_begin, index_constant(1));
  bounds.row_begin = number(offsetof(Tile, row));
  bounds.row_end = ir_.CreateAdd(bounds.row_begin, number(offsetof(Tile, rows)));
  bounds.inner_begin = number(offsetof(Tile, column));
  bounds.inner_end = ir_.CreateAdd(bounds.inner_begin, number(offsetof(Tile, columns)));
  bounds.chunk = index_constant(0);
  if (traits_.column_accumulators)
    bounds.chunk = ir_.CreateUDiv(bounds.row_begin, size(kernel_.rows_per_chunk));
  bounds.totals = field(tile, offsetof(Tile, totals), ir_.getPtrTy());
  bounds.totals_stride = number(offsetof(Tile, totals_stride));
  bounds.product = field(tile, offsetof(Tile, product), ir_.getPtrTy());
  bounds.product_stride = number(offsetof(Tile, stride));
  aligned_runs_ = false;
  emit_points(bounds);
  end_function();
}

void Emitter::emit_operand(bool a) {
  const Contraction& contraction = *kernel_.contraction;
  Stage program{StageKind::sweep, a ? contraction.a_begin : contraction.b_begin,
                a ? contraction.a_end : contraction.b_end, 0, 0};
  begin_function(a ? operand_a_symbol : operand_b_symbol, 4);
  Value* block = function_->getArg(3);
  load_arguments(function_->getArg(0), function_->getArg(1), function_->getArg(2));
  auto number = [&](size_t offset) { return field(block, offset, ir_.getInt64Ty()); };
  Value* position = number(offsetof(OperandBlock, position));
  Value* position_end = ir_.CreateAdd(position, number(offsetof(OperandBlock, count)));
  Value* depth = number(offsetof(OperandBlock, depth));
  Value* depth_end = ir_.CreateAdd(depth, number(offsetof(OperandBlock, depths)));
  for (const Stage& stage : kernel_.stages)
    if (stage.kind == StageKind::setup) emit_instructions(stage.begin, stage.end);
  decompose(number(offsetof(OperandBlock, outer)), axes_of(Role::outer));
  emit_lines(program, a, {position, position_end}, {depth, depth_end},
             field(block, offsetof(OperandBlock, to), ir_.getPtrTy()),
             number(offsetof(OperandBlock, stride)));
  end_function();
}

/// The lines of an operand's block, each a loop of vectors that ends with storing them.
void Emitter::emit_lines(const Stage& program, bool a, Interval positions, Interval depths,
                         Value* to, Value* stride) {
  const Contraction& contraction = *kernel_.contraction;
  ValueId result = a ? contraction.a : contraction.b;
  llvm::Type* element = math_.memory_type(contraction.dtype);
  Role across = a ? Role::row : Role::inner, along = Role::contracted;
  if (!operand_runs_along_depth(kernel_, a)) {
    std::swap(across, along);
    std::swap(positions, depths);
  }
  aligned_runs_ = false;
  row_totals_.clear();
  for_each_point(across, positions.begin, positions.end, [&](Value* point) {
    Value* line = ir_.CreateMul(ir_.CreateSub(point, positions.begin), stride);
    Value* line_pointer = ir_.CreateGEP(element, to, line);
    vectorize_along(last_axis(kernel_, along));
    vector_lanes_ = choose_lanes(program);
    deliver_ = [&] {
      Value* at = ir_.CreateSub(ir_.CreateAdd(run_number_, lanes_.first), depths.begin);
      store_to(ir_.CreateGEP(element, line_pointer, at), operand(result), lanes_.mask);
    };
    for_each_run(along, depths.begin, depths.end, [&](Value* begin, Value* end, Value* number) {
      emit_run(program, begin, end, number);
    });
    deliver_ = nullptr;
    vector_axis_ = none;
  });
}

}  // namespace encore::jit
