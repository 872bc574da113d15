// Moves operands of a contraction into the layouts that micro-kernels read.
//
// Threads: pure functions of their arguments.
#pragma once
#include <encore/jit/cpu/contraction_seam.h>
#include <encore/jit/cpu/micro_kernel.h>

#include <cstddef>
#include <cstdint>

namespace encore::jit {

/// Axes of one role as one operand sees them: extents and strides in bytes, the last fastest.
/// Extents of 1 are dropped and axes that follow each other in memory are joined.
class Steps {
 public:
  static constexpr int max_axes = 6;

  /// Adds a faster axis.
  void append(int64_t extent, int64_t stride);
  int64_t offset(int64_t position) const;
  /// Whether equal steps lead from each position to the next.
  bool is_linear() const { return count_ <= 1; }
  /// The step along the fastest axis; `otherwise` where there is just one position.
  int64_t stride(int64_t otherwise) const { return count_ ? strides_[count_ - 1] : otherwise; }
  /// Positions from `position` to the end of the fastest axis.
  int64_t run(int64_t position) const {
    return count_ ? extents_[count_ - 1] - position % extents_[count_ - 1] : 1;
  }

 private:
  int count_ = 0;
  int64_t extents_[max_axes], strides_[max_axes];
};

/// An operand of a contraction: an affine load, or a compiled evaluator.
struct Operand {
  int64_t element = 4;  // bytes
  const std::byte* base = nullptr;
  Steps outer, lines, depth;  // lines: rows of a, columns of b
  OperandEvaluator evaluator;
  const Segment* segment = nullptr;

  bool is_strided() const { return !evaluator.evaluate && lines.is_linear() && depth.is_linear(); }
  int64_t line_stride() const { return lines.stride(element); }
  int64_t depth_stride() const { return depth.stride(element); }
  const std::byte* at(int64_t outer_position, int64_t line, int64_t depth_position) const {
    return base + outer.offset(outer_position) + lines.offset(line) + depth.offset(depth_position);
  }
  /// The direction in which `fill` likes to write lines.
  bool along_depth() const;
};

/// Copies or evaluates a block with its lines in the direction of `operand.along_depth()`.
void fill(const Operand& operand, const OperandBlock& block);

/// Stores `count` contiguous elements at positions `begin` and on of `steps`, from `to`.
void scatter(int64_t element, const Steps& steps, std::byte* to, int64_t begin, int64_t count,
             const std::byte* from);

/// to[k * to_stride + j] = from[j * from_stride + k] for j < lines, k < depths; strides in bytes.
/// Whole vectors are written: up to lanes - 1 elements after the last line are overwritten.
void transpose(Isa isa, int64_t element, const std::byte* from, int64_t from_stride, int64_t lines,
               int64_t depths, std::byte* to, int64_t to_stride);

}  // namespace encore::jit
