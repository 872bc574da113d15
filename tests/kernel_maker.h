// Writes kernels by hand, a line a thing.
#pragma once
#include <encore/jit/kernel.h>

#include <initializer_list>
#include <vector>

namespace encore::jit {

class KernelMaker {
 public:
  Kernel kernel;

  SizeId fixed(int64_t value) { return size(value, true); }
  SizeId free(int64_t value) { return size(value, false); }

  /// Axes must be made before accesses.
  uint32_t axis(Role role, SizeId extent) {
    kernel.axes.push_back({role, extent});
    return uint32_t(kernel.axes.size() - 1);
  }
  uint32_t argument(DType dtype, Use use) {
    kernel.arguments.push_back({dtype, use});
    return uint32_t(kernel.arguments.size() - 1);
  }
  uint32_t scalar(DType dtype) {
    kernel.scalars.push_back(dtype);
    return uint32_t(kernel.scalars.size() - 1);
  }
  uint32_t access(uint32_t argument, std::vector<SizeId> strides, SizeId base = none) {
    strides.resize(kernel.axes.size(), none);
    kernel.accesses.push_back({argument, base, std::move(strides)});
    return uint32_t(kernel.accesses.size() - 1);
  }

  ValueId emit(Opcode op, DType dtype, std::initializer_list<ValueId> operands = {},
               uint32_t aux = 0, uint64_t bits = 0) {
    Instruction instruction{op, dtype, {none, none, none}, aux, bits};
    std::copy(operands.begin(), operands.end(), instruction.operands);
    kernel.instructions.push_back(instruction);
    return ValueId(kernel.instructions.size() - 1);
  }
  ValueId constant(DType dtype, Scalar value) {
    return emit(Opcode::constant, dtype, {}, 0, value.bits_as(dtype));
  }
  ValueId index(uint32_t axis) { return emit(Opcode::index, DType::i64, {}, axis); }
  ValueId load(DType dtype, uint32_t access) { return emit(Opcode::load, dtype, {}, access); }
  ValueId store(ValueId value, uint32_t access, Opcode op = Opcode::store) {
    return emit(op, kernel.instructions[value].dtype, {value}, access);
  }

  /// Closes a stage: what was emitted and accumulated since the last one.
  void stage(StageKind kind) {
    uint32_t end = uint32_t(kernel.instructions.size());
    uint32_t last = uint32_t(kernel.accumulators.size());
    kernel.stages.push_back({kind, next_instruction_, end, next_accumulator_, last});
    next_instruction_ = end;
    next_accumulator_ = last;
  }
  uint32_t accumulate(Reduce reduce, ValueId value, ValueId predicate = none) {
    bool index = reduce == Reduce::argmax || reduce == Reduce::argmin;
    DType dtype = index ? DType::i64 : kernel.instructions[value].dtype;
    kernel.accumulators.push_back({reduce, dtype, value, false, none, predicate});
    return uint32_t(kernel.accumulators.size() - 1);
  }
  uint32_t accumulate_column(Reduce reduce, ValueId value, uint32_t access,
                             SizeId chunk_stride = none, ValueId predicate = none) {
    kernel.accesses[access].chunk_stride = chunk_stride;
    DType dtype = kernel.instructions[value].dtype;
    kernel.accumulators.push_back({reduce, dtype, value, true, access, predicate});
    return uint32_t(kernel.accumulators.size() - 1);
  }
  ValueId reduced(uint32_t accumulator) {
    return emit(Opcode::reduced, kernel.accumulators[accumulator].dtype, {}, accumulator);
  }

  /// Closes operand a, then operand b.
  void operand(ValueId value) {
    if (!kernel.contraction) kernel.contraction.emplace();
    Contraction& contraction = *kernel.contraction;
    uint32_t end = uint32_t(kernel.instructions.size());
    contraction.dtype = kernel.instructions[value].dtype;
    bool first = contraction.a == none;
    (first ? contraction.a : contraction.b) = value;
    (first ? contraction.a_begin : contraction.b_begin) = next_instruction_;
    (first ? contraction.a_end : contraction.b_end) = end;
    next_instruction_ = end;
  }

 private:
  SizeId size(int64_t value, bool fixed) {
    kernel.sizes.push_back({value, fixed});
    return SizeId(kernel.sizes.size() - 1);
  }

  uint32_t next_instruction_ = 0;
  uint32_t next_accumulator_ = 0;
};

}  // namespace encore::jit
