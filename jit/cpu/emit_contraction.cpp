// Contractions as plain loops: right for every dtype and operand. Fast ones take their products
// from tiles instead (contraction_seam.h).
#include <encore/core/error.h>
#include <encore/jit/cpu/contraction_seam.h>
#include <encore/jit/cpu/emitter.h>

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

}  // namespace encore::jit
