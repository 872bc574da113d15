// Do chains of reshapes give the right position, and join again what they split?
#include <encore/trace/index.h>
#include <gtest/gtest.h>

#include <random>

namespace encore::trace {
namespace {

/// A kernel whose axes are the dims of `shape`.
struct Space {
  explicit Space(const Shape& shape) {
    for (int dim = 0; dim < shape.rank(); ++dim) {
      extents.push_back(shape[dim]);
      builder.add_axis(jit::Role::inner, shape[dim]);
      index.push_back(indexer.axis(dim));
    }
  }
  KernelBuilder builder;
  std::vector<int64_t> extents;
  Indexer indexer{builder, extents};
  Index index;
};

int64_t value_at(const LinearIndex& a, const std::vector<int64_t>& point) {
  int64_t total = a.constant;
  for (size_t axis = 0; axis < point.size(); ++axis) total += a.coefficients[axis] * point[axis];
  return total;
}

int64_t value_at(const IndexExpression& a, const std::vector<int64_t>& point) {
  int64_t total = value_at(LinearIndex(a), point);
  for (const IndexPart& part : a.parts) {
    int64_t value = value_at(part.source, point) / part.divisor;
    total += part.coefficient * (part.modulus ? value % part.modulus : value);
  }
  return total;
}

TEST(Index, ReshapeAndBackIsNothing) {
  Space space(Shape{256, 96});
  const Shape here{256, 96}, there{4, 8, 8, 3, 32};
  const Index split = space.indexer.reshape(space.index, here, there);
  EXPECT_FALSE(split[0].parts.empty());
  EXPECT_EQ(space.indexer.reshape(split, there, here), space.index);
}

// What a contiguous tensor of another shape is read at is linear.
TEST(Index, RowsOfAFlattenedTensorAreStrided) {
  Space space(Shape{12, 10});
  const Index split = space.indexer.reshape(space.index, Shape{12, 10}, Shape{3, 4, 10});
  IndexExpression flat = space.indexer.affine(split[0], 40, 5);
  flat = space.indexer.sum(flat, space.indexer.affine(split[1], 10, 0));
  flat = space.indexer.sum(flat, split[2]);
  EXPECT_TRUE(flat.parts.empty());
  EXPECT_EQ(flat.coefficients[0], 10);
  EXPECT_EQ(flat.coefficients[1], 1);
  EXPECT_EQ(flat.constant, 5);
}

Shape random_shape(int64_t count, std::mt19937& random) {
  Shape shape;
  while (count > 1 && shape.rank() < 5) {
    int64_t extent = shape.rank() == 4 ? count : 1 + int64_t(random() % uint64_t(count));
    while (count % extent != 0) --extent;
    shape.push_back(extent);
    count /= extent;
  }
  if (count > 1) shape[shape.rank() - 1] *= count;
  return shape;
}

TEST(Index, ChainsOfReshapesKeepThePosition) {
  std::mt19937 random(3);
  int compared = 0;
  for (int i = 0; i < 500; ++i) {
    const int64_t count = std::vector<int64_t>{24, 60, 64, 72}[random() % 4];
    const Shape space_shape = random_shape(count, random);
    Space space(space_shape);
    Shape shape = space_shape;
    Index index = space.index;
    for (int step = 0; step < 3; ++step) {
      const Shape next = random_shape(count, random);
      index = space.indexer.reshape(index, shape, next);
      shape = next;
    }
    bool opaque = false;
    for (const IndexExpression& a : index) opaque |= bool(a.dynamic);
    if (opaque) continue;
    ++compared;
    for (int64_t position = 0; position < count; ++position) {
      std::vector<int64_t> point(space.extents.size());
      int64_t rest = position, found = 0;
      for (size_t axis = point.size(); axis-- > 0; rest /= space.extents[axis])
        point[axis] = rest % space.extents[axis];
      for (int dim = 0; dim < shape.rank(); ++dim) {
        const int64_t at = value_at(index[size_t(dim)], point);
        ASSERT_TRUE(at >= 0 && at < shape[dim]);
        found = found * shape[dim] + at;
      }
      ASSERT_EQ(found, position) << "chain " << i;
    }
  }
  EXPECT_GT(compared, 250);
}

}  // namespace
}  // namespace encore::trace
