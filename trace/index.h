// Where in a tensor a kernel's point looks: one expression a dim.
#pragma once
#include <encore/lazy/shape.h>
#include <encore/trace/kernel_builder.h>

#include <array>
#include <cstdint>
#include <vector>

namespace encore::trace {

inline constexpr int max_axes = 16;

/// sum(coefficients[axis] * index(axis)) + constant. Coefficients and constants depend on extents,
/// so they enter the kernel as sizes.
struct LinearIndex {
  std::array<int64_t, max_axes> coefficients{};
  int64_t constant = 0;

  bool operator==(const LinearIndex&) const = default;
};

/// coefficient * ((source / divisor) % modulus); a modulus of 0 takes no remainder. What a reshape
/// splits is kept in this form until it is needed, so that the next reshape can join it again.
struct IndexPart {
  int64_t coefficient, divisor, modulus;
  LinearIndex source;

  bool operator==(const IndexPart&) const = default;
};

/// A linear index + parts + dynamic.
struct IndexExpression : LinearIndex {
  std::vector<IndexPart> parts;
  Value dynamic;  // i64; may be absent

  bool operator==(const IndexExpression& other) const {
    return LinearIndex(*this) == LinearIndex(other) && parts == other.parts &&
           dynamic.id == other.dynamic.id;
  }
};

using Index = std::vector<IndexExpression>;

/// Arithmetic on expressions, for a kernel with the given axis extents.
class Indexer {
 public:
  Indexer(KernelBuilder& builder, const std::vector<int64_t>& extents)
      : builder_(builder), extents_(extents) {}

  IndexExpression axis(int axis) const;
  static IndexExpression scaled(const IndexExpression& a, int64_t by, KernelBuilder& builder);
  IndexExpression sum(const IndexExpression& a, const IndexExpression& b) const;
  /// a * step + start
  IndexExpression affine(const IndexExpression& a, int64_t step, int64_t start) const;
  /// As one i64 value.
  Value value(const IndexExpression& a) const;
  /// The same with its parts in `dynamic`.
  IndexExpression resolved(IndexExpression a) const;
  /// 0 <= a < extent, or nothing when that always holds.
  Value in_bounds(const IndexExpression& a, int64_t extent) const;
  /// The index of a tensor of shape `to` at the same row-major position as `index` in `from`.
  Index reshape(const Index& index, const Shape& from, const Shape& to) const;

 private:
  struct Range {
    bool known;
    int64_t low, high;
  };
  Range range(const IndexExpression& a) const;
  Range range(const IndexPart& part) const;
  Value value(const IndexPart& part) const;
  IndexExpression part(const LinearIndex& source, int64_t divisor, int64_t modulus) const;
  bool split_exactly(const IndexExpression& a, int64_t by, IndexExpression& quotient,
                     IndexExpression& remainder) const;
  void split(IndexExpression a, int64_t by, IndexExpression& quotient,
             IndexExpression& remainder) const;

  KernelBuilder& builder_;
  const std::vector<int64_t>& extents_;
};

}  // namespace encore::trace
