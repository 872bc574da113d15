// Where in a tensor a kernel's point looks: one expression a dim.
#pragma once
#include <encore/lazy/shape.h>
#include <encore/trace/kernel_builder.h>

#include <array>
#include <cstdint>
#include <vector>

namespace encore::trace {

inline constexpr int max_axes = 16;

/// sum(coefficients[axis] * index(axis)) + constant + dynamic. Coefficients and constants depend on
/// extents, so they enter the kernel as sizes.
struct IndexExpression {
  std::array<int64_t, max_axes> coefficients{};
  int64_t constant = 0;
  Value dynamic;  // i64; may be absent

  bool operator==(const IndexExpression& other) const {
    return coefficients == other.coefficients && constant == other.constant &&
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
  void split(IndexExpression a, int64_t by, IndexExpression& quotient,
             IndexExpression& remainder) const;

  KernelBuilder& builder_;
  const std::vector<int64_t>& extents_;
};

}  // namespace encore::trace
