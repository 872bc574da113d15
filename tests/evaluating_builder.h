// A Builder that computes each instruction as it is emitted, by the interpreter's definitions: what
// an op row lowers to can be called like a function.
#pragma once
#include <encore/jit/reference/evaluate.h>
#include <encore/lazy/op.h>

#include <vector>

namespace encore {

class EvaluatingBuilder : public Builder {
 public:
  Value emit(Opcode op, DType dtype, std::initializer_list<Value> operands, uint32_t aux,
             uint64_t bits) override {
    uint64_t in[3] = {};
    DType operand = dtype;
    int count = 0;
    for (Value value : operands) {
      if (count == 0) operand = value.dtype;
      in[count++] = bits_[value.id];
    }
    bits_.push_back(op == Opcode::constant
                        ? bits
                        : jit::evaluate(op, dtype, operand, in[0], in[1], in[2], aux));
    return {uint32_t(bits_.size() - 1), dtype};
  }
  Value input(DType dtype, uint64_t bits) {
    bits_.push_back(bits);
    return {uint32_t(bits_.size() - 1), dtype};
  }
  uint64_t bits_of(Value value) const { return bits_[value.id]; }

 private:
  std::vector<uint64_t> bits_;
};

}  // namespace encore
