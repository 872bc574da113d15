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

/// With the arithmetic that programs share, in f32.
class ArithmeticMaker : public KernelMaker {
 public:
  ValueId number(double value) { return constant(f32, value); }
  ValueId op(Opcode opcode, std::initializer_list<ValueId> operands) {
    return emit(opcode, f32, operands);
  }
  ValueId add(ValueId a, ValueId b) { return op(Opcode::add, {a, b}); }
  ValueId sub(ValueId a, ValueId b) { return op(Opcode::sub, {a, b}); }
  ValueId mul(ValueId a, ValueId b) { return op(Opcode::mul, {a, b}); }
  ValueId div(ValueId a, ValueId b) { return op(Opcode::div, {a, b}); }
  ValueId fma(ValueId a, ValueId b, ValueId c) { return op(Opcode::fma, {a, b, c}); }

  /// e^x: 2^n times a polynomial in what is left.
  ValueId exponential(ValueId x) {
    x = op(Opcode::min, {op(Opcode::max, {x, number(-104)}), number(89)});
    ValueId n = op(Opcode::round, {mul(x, number(1.4426950408889634))});
    ValueId r = fma(n, number(-0.693145751953125), x);
    r = fma(n, number(-1.42860682030941723212e-6), r);
    ValueId p = number(1.0 / 5040);
    for (double factorial : {720., 120., 24., 6., 2., 1., 1.}) p = fma(p, r, number(1 / factorial));
    return op(Opcode::scale2, {p, n});
  }
};

}  // namespace encore::jit
