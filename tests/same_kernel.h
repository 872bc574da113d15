// Whether two kernels are the same, told member by member and without their texts. Left open is
// what a text leaves open: names, where fixed sizes stand in the table, how accesses are shared.
#pragma once
#include <encore/jit/kernel.h>
#include <fmt/format.h>

#include <string>

namespace encore::jit {

class KernelComparison {
 public:
  KernelComparison(const Kernel& a, const Kernel& b) : a_(a), b_(b) {}

  /// The first difference in words; empty: none.
  std::string difference() const {
    if (a_.axes.size() != b_.axes.size()) return "count of axes";
    for (size_t i = 0; i < a_.axes.size(); ++i)
      if (a_.axes[i].role != b_.axes[i].role || !same(a_.axes[i].extent, b_.axes[i].extent))
        return fmt::format("axis {}", i);
    if (!same(a_.rows_per_chunk, b_.rows_per_chunk)) return "rows per chunk";
    if (a_.variant != b_.variant) return "variant";
    if (a_.arguments.size() != b_.arguments.size()) return "count of arguments";
    for (size_t i = 0; i < a_.arguments.size(); ++i)
      if (a_.arguments[i].dtype != b_.arguments[i].dtype ||
          a_.arguments[i].use != b_.arguments[i].use)
        return fmt::format("argument {}", i);
    if (a_.scalars != b_.scalars) return "scalars";
    if (a_.instructions.size() != b_.instructions.size()) return "count of instructions";
    for (size_t i = 0; i < a_.instructions.size(); ++i)
      if (!same(a_.instructions[i], b_.instructions[i])) return fmt::format("instruction {}", i);
    if (a_.accumulators.size() != b_.accumulators.size()) return "count of accumulators";
    for (size_t i = 0; i < a_.accumulators.size(); ++i)
      if (!same(a_.accumulators[i], b_.accumulators[i])) return fmt::format("accumulator {}", i);
    if (a_.stages.size() != b_.stages.size()) return "count of stages";
    for (size_t i = 0; i < a_.stages.size(); ++i)
      if (!same(a_.stages[i], b_.stages[i])) return fmt::format("stage {}", i);
    return same_contraction() ? "" : "the contraction";
  }

 private:
  /// Sizes that are not fixed have the same number; of the others the value counts.
  bool same(SizeId a, SizeId b, bool none_is_zero = false) const {
    const bool fixed_a = a == none || a_.sizes[a].fixed, fixed_b = b == none || b_.sizes[b].fixed;
    if (!fixed_a || !fixed_b) return a == b && !fixed_a && !fixed_b && a_.size(a) == b_.size(b);
    return (none_is_zero || (a == none) == (b == none)) && a_.size(a) == b_.size(b);
  }

  bool same_access(uint32_t i, uint32_t j) const {
    const Access &a = a_.accesses[i], &b = b_.accesses[j];
    bool equal = a.argument == b.argument && same(a.base, b.base, true) &&
                 same(a.chunk_stride, b.chunk_stride, true) && a.offset == b.offset &&
                 a.predicate == b.predicate && a.strides.size() == b.strides.size();
    for (size_t axis = 0; equal && axis < a.strides.size(); ++axis)
      equal = same(a.strides[axis], b.strides[axis], true);
    return equal;
  }

  bool same(const Instruction& a, const Instruction& b) const {
    bool equal = a.op == b.op && a.dtype == b.dtype && a.bits == b.bits;
    for (int i = 0; i < 3; ++i) equal &= a.operands[i] == b.operands[i];
    if (!equal) return false;
    if (a.op == Opcode::size) return same(a.aux, b.aux);
    if (a.op == Opcode::load || a.op == Opcode::store || a.op == Opcode::store_add)
      return same_access(a.aux, b.aux);
    return a.aux == b.aux;
  }

  bool same(const Accumulator& a, const Accumulator& b) const {
    return a.reduce == b.reduce && a.dtype == b.dtype && a.value == b.value &&
           a.column == b.column && a.predicate == b.predicate &&
           (a.access == none ? b.access == none : same_access(a.access, b.access));
  }

  static bool same(const Stage& a, const Stage& b) {
    const bool empty = a.begin == a.end && b.begin == b.end;
    const bool feeds_none =
        a.first_accumulator == a.last_accumulator && b.first_accumulator == b.last_accumulator;
    return a.kind == b.kind && (empty || (a.begin == b.begin && a.end == b.end)) &&
           (feeds_none || (a.first_accumulator == b.first_accumulator &&
                           a.last_accumulator == b.last_accumulator));
  }

  bool same_contraction() const {
    if (!a_.contraction || !b_.contraction) return !a_.contraction && !b_.contraction;
    const Contraction &a = *a_.contraction, &b = *b_.contraction;
    return a.dtype == b.dtype && a.a_begin == b.a_begin && a.a_end == b.a_end &&
           a.b_begin == b.b_begin && a.b_end == b.b_end && a.a == b.a && a.b == b.b &&
           a.precision == b.precision;
  }

  const Kernel &a_, &b_;
};

}  // namespace encore::jit
