// A plain tensor of doubles with the ops that program fuzzing needs, written index by index: the
// oracle of the whole pipeline. Slow and obvious on purpose; it shares nothing with the library.
#pragma once
#include <cstdint>
#include <functional>
#include <vector>

namespace encore::testing {

struct Eager {
  std::vector<int64_t> shape;
  std::vector<double> values;

  int rank() const { return int(shape.size()); }
  int64_t numel() const {
    int64_t count = 1;
    for (int64_t extent : shape) count *= extent;
    return count;
  }
  double& at(const std::vector<int64_t>& index) { return values[position(index)]; }
  double at(const std::vector<int64_t>& index) const { return values[position(index)]; }
  int64_t position(const std::vector<int64_t>& index) const {
    int64_t flat = 0;
    for (int axis = 0; axis < rank(); ++axis) flat = flat * shape[axis] + index[axis];
    return flat;
  }
};

using Position = std::vector<int64_t>;

/// Calls `visit` for every index of `shape`, row-major.
inline void for_each(const std::vector<int64_t>& shape,
                     const std::function<void(const Position&)>& visit) {
  int64_t count = 1;
  for (int64_t extent : shape) count *= extent;
  for (int64_t flat = 0; flat < count; ++flat) {
    Position index(shape.size());
    int64_t rest = flat;
    for (size_t axis = shape.size(); axis-- > 0;) {
      index[axis] = rest % shape[axis];
      rest /= shape[axis];
    }
    visit(index);
  }
}

/// A tensor of `shape` whose elements are `value(index)`.
inline Eager build(std::vector<int64_t> shape,
                   const std::function<double(const Position&)>& value) {
  Eager result{std::move(shape), {}};
  for_each(result.shape, [&](const Position& index) { result.values.push_back(value(index)); });
  return result;
}

inline std::vector<int64_t> broadcast_shape(const std::vector<int64_t>& a,
                                            const std::vector<int64_t>& b) {
  std::vector<int64_t> result(std::max(a.size(), b.size()));
  for (size_t i = 0; i < result.size(); ++i) {
    int64_t x = i < a.size() ? a[a.size() - 1 - i] : 1, y = i < b.size() ? b[b.size() - 1 - i] : 1;
    result[result.size() - 1 - i] = x == 1 ? y : x;
  }
  return result;
}

/// The element of `a` that position `index` of a larger, right-aligned shape reads.
inline double broadcast_at(const Eager& a, const Position& index) {
  Position mine(a.shape.size());
  size_t shift = index.size() - a.shape.size();
  for (size_t axis = 0; axis < mine.size(); ++axis)
    mine[axis] = a.shape[axis] == 1 ? 0 : index[axis + shift];
  return a.at(mine);
}

inline Eager map(const Eager& a, const Eager& b, const std::function<double(double, double)>& f) {
  return build(broadcast_shape(a.shape, b.shape), [&](const Position& index) {
    return f(broadcast_at(a, index), broadcast_at(b, index));
  });
}

inline Eager map(const Eager& a, const std::function<double(double)>& f) {
  return build(a.shape, [&](const Position& index) { return f(a.at(index)); });
}

/// Reduces over the axes in `mask`, which keep extent 1.
inline Eager reduce(const Eager& a, uint32_t mask, double start,
                    const std::function<double(double, double)>& f) {
  std::vector<int64_t> shape = a.shape;
  for (int axis = 0; axis < a.rank(); ++axis)
    if (mask >> axis & 1) shape[axis] = 1;
  Eager result = build(shape, [&](const Position&) { return start; });
  for_each(a.shape, [&](const Position& index) {
    Position target = index;
    for (int axis = 0; axis < a.rank(); ++axis)
      if (mask >> axis & 1) target[axis] = 0;
    result.at(target) = f(result.at(target), a.at(index));
  });
  return result;
}

}  // namespace encore::testing
