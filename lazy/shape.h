// Extents of a tensor, at most eight axes, held inline so that recording allocates nothing.
#pragma once
#include <encore/core/error.h>

#include <cstdint>
#include <initializer_list>
#include <iosfwd>
#include <span>
#include <string>

namespace encore {

inline constexpr int max_rank = 8;

class Shape {
 public:
  constexpr Shape() = default;
  constexpr Shape(std::initializer_list<int64_t> extents,
                  Location at = std::source_location::current())
      : Shape(std::span(extents.begin(), extents.size()), at) {}
  constexpr explicit Shape(std::span<const int64_t> extents, Location at = {}) {
    if (extents.size() > size_t(max_rank)) throw_rank(int(extents.size()), at);
    for (int64_t extent : extents) extents_[rank_++] = extent;
  }

  constexpr int rank() const { return rank_; }
  constexpr int64_t operator[](int axis) const { return extents_[axis]; }
  constexpr int64_t& operator[](int axis) { return extents_[axis]; }
  constexpr const int64_t* begin() const { return extents_; }
  constexpr const int64_t* end() const { return extents_ + rank_; }
  constexpr std::span<const int64_t> span() const { return {extents_, size_t(rank_)}; }
  constexpr void push_back(int64_t extent) {
    if (rank_ == max_rank) throw_rank(max_rank + 1, {});
    extents_[rank_++] = extent;
  }
  /// Number of elements; 1 for a scalar.
  constexpr int64_t numel() const {
    int64_t count = 1;
    for (int64_t extent : *this) count *= extent;
    return count;
  }
  constexpr bool operator==(const Shape& other) const {
    if (rank_ != other.rank_) return false;
    for (int axis = 0; axis < rank_; ++axis)
      if (extents_[axis] != other.extents_[axis]) return false;
    return true;
  }
  /// Like "[64, 784]".
  std::string text() const;

 private:
  [[noreturn]] static void throw_rank(int rank, Location at);

  uint8_t rank_ = 0;
  int64_t extents_[max_rank];
};

/// Like `text`.
std::ostream& operator<<(std::ostream& to, const Shape& shape);

/// `axis` in [-rank, rank) as an axis in [0, rank); throws with `what` naming the op.
int normalize_axis(int64_t axis, int rank, const char* what, Location where);

/// The shape that both broadcast to under NumPy's rule; throws with both shapes.
Shape broadcast(const Shape& a, const Shape& b, const char* what, Location where);

/// Whether `from` broadcasts to exactly `to`.
bool broadcasts_to(const Shape& from, const Shape& to);

}  // namespace encore
