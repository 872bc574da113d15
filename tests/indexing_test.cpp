// Reading and writing at positions, by functions and by x[{…}].
#include <encore/lazy/indexing.h>
#include <encore/lazy/movement.h>

#include "graph_oracle.h"

namespace encore {
namespace {

using namespace testing;

Tensor numbers(Shape shape) {
  Doubles values(shape.numel());
  for (size_t i = 0; i < values.size(); ++i) values[i] = double(i);
  return leaf(values, shape);
}
Tensor index(std::vector<int64_t> values) { return leaf(values, {int64_t(values.size())}); }

TEST(Take, GathersRows) {
  Tensor table = numbers({3, 2});
  expect_values(take(table, index({2, 0, -1})), {4, 5, 0, 1, 4, 5});
  Tensor grid = leaf<int32_t>({0, 1, 1, 0}, {2, 2});
  EXPECT_EQ(take(table, grid).shape(), (Shape{2, 2, 2}));
  EXPECT_EQ(take(table, grid, 1).shape(), (Shape{3, 2, 2}));
  expect_values(take(table, leaf<uint8_t>({1}, {}), -1), {1, 3, 5});
  EXPECT_EQ(take(table, index({})).shape(), (Shape{0, 2}));
}

TEST(Take, OutOfRangeReadsZero) {
  expect_values(take(numbers({3}) + 1, index({3, -4, -3, 2})), {0, 0, 1, 3});
}

TEST(Take, Refuses) {
  Tensor x = numbers({3, 2});
  EXPECT_REFUSED(take(x, x), "take", "f64");
  EXPECT_REFUSED(take(x, x > 1), "take", "bool");
  EXPECT_REFUSED(take(x, index({0}), 2), "axis 2");
  EXPECT_REFUSED(take(numbers({}), index({0})), "axis 0", "0 axes");
  EXPECT_REFUSED(take(x, numbers({1, 1, 1, 1, 1, 1, 1, 1}).to(i64)), "more than 8 axes");
}

TEST(TakeAlong, ReadsOnePositionPerElement) {
  Tensor x = numbers({2, 3});
  expect_values(take_along(x, leaf<int64_t>({2, -3}, {2, 1}), 1), {2, 3});
  expect_values(take_along(x, leaf<int64_t>({1, 0, 5, 2}, {2, 2}), 1), {1, 0, 0, 5});
  expect_values(take_along(x, leaf<int64_t>({1, 1}, {1, 2}), 1), {1, 1, 4, 4});
  expect_values(take_along(x, x.argmax(1, true), 1), {2, 5});
  EXPECT_REFUSED(take_along(x, index({0}), 1), "[2, 3]", "[1]", "rank");
  EXPECT_REFUSED(take_along(x, leaf<int64_t>({0, 0, 0}, {3, 1}), 1), "take_along", "[2, 1]",
                 "[3, 1]");
}

TEST(Gather, ReadsThePartThatTheIndexReaches) {
  Tensor x = numbers({2, 3});
  expect_values(gather(x, 1, leaf<int64_t>({2, 0, 1, 1}, {2, 2})), {2, 0, 4, 4});
  expect_values(gather(x, 1, leaf<int64_t>({2, -3}, {1, 2})), {2, 0});  // of row 0
  expect_values(gather(x, 0, leaf<int64_t>({1, 0}, {1, 2})), {3, 1});
  EXPECT_REFUSED(gather(x, 1, index({0})), "gather", "[2, 3]", "[1]");
  EXPECT_REFUSED(gather(x, 1, leaf<int64_t>({0, 0, 0}, {3, 1})), "gather", "[2, 3]", "[3, 1]");
}

TEST(IndexSelect, TakesAlongAnAxis) {
  Tensor x = numbers({2, 3});
  expect_values(index_select(x, 1, index({2, 0})), {2, 0, 5, 3});
  EXPECT_REFUSED(index_select(x, 1, leaf<int64_t>({0}, {1, 1})), "index_select", "[1, 1]");
}

TEST(IndexAdd, AddsEveryOccurrence) {
  Tensor x = numbers({3, 2});
  expect_values(index_add(x, index({0, 2, 0}), 10), {20, 21, 2, 3, 14, 15});
  expect_values(index_add(x, index({-1, 7}), leaf(Doubles{1, 2}, {2, 1})), {0, 1, 2, 3, 5, 6});
  expect_values(index_add(x, index({1}), leaf(Doubles{1, 2, 3}, {3, 1}), 1), {0, 2, 2, 5, 4, 8});
  EXPECT_EQ(index_add(leaf<BFloat16>({BFloat16(1)}, {1}), index({0}), 0.5).dtype(), bf16);
  EXPECT_REFUSED(index_add(x, index({0, 1}), numbers({3, 2})), "[3, 2]", "[2, 2]");
  EXPECT_REFUSED(index_add(x, leaf<int64_t>({0}, {1, 1}), 1), "[1, 1]");
  EXPECT_REFUSED(index_add(index({1}), index({0}), 0.5), "i64", "kind");
}

TEST(ScatterAdd, IsTheReverseOfTakeAlong) {
  Tensor x = numbers({2, 3});
  expect_values(scatter_add(x, leaf<int64_t>({0, 0, 2, 9}, {2, 2}), 1, 1), {2, 1, 2, 3, 4, 6});
  expect_values(scatter_add(x, leaf<int64_t>({-1}, {1, 1}), leaf(Doubles{5, 6}, {2, 1}), 1),
                {0, 1, 7, 3, 4, 11});
  EXPECT_REFUSED(scatter_add(x, index({0}), 1, 1), "[2, 3]", "[1]");
  EXPECT_REFUSED(scatter_add(x, leaf<int64_t>({0, 0, 0}, {3, 1}), 1, 1), "[2, 3]", "[3, 1]");
}

TEST(IndexPut, TheLastOfEqualPositionsStays) {
  Tensor x = numbers({3, 2});
  expect_values(index_put(x, index({1, -2, 2, 8}), numbers({4, 2}) + 10), {0, 1, 12, 13, 14, 15});
  expect_values(index_put(x, index({0}), -1, 1), {-1, 1, -1, 3, -1, 5});
  EXPECT_EQ(index_put(x, index({}), 1).node(), x.node());
}

TEST(MaskedFill, Replaces) {
  Tensor x = numbers({2, 2});
  expect_values(masked_fill(x, x > 1, -1), {0, 1, -1, -1});
  EXPECT_EQ(masked_fill(leaf<int32_t>({1}, {1}), leaf<bool>({true}, {1}), 3).dtype(), i32);
  EXPECT_REFUSED(masked_fill(x, x, 0), "f64");
  EXPECT_REFUSED(masked_fill(x, numbers({3}) > 1, 0), "[2, 2]", "[3]");
}

TEST(OneHot, MarksTheClass) {
  expect_values(one_hot(index({1, 0, 3, -1}), 3), {0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0});
  EXPECT_EQ(one_hot(index({1}), 3).dtype(), f32);
  EXPECT_EQ(one_hot(leaf<int32_t>({1, 2}, {2, 1}), 4, boolean).shape(), (Shape{2, 1, 4}));
  EXPECT_REFUSED(one_hot(numbers({2}), 3), "f64");
}

TEST(Element, Reads) {
  Tensor x = numbers({3, 4});
  expect_values(x[{1}], {4, 5, 6, 7});
  expect_values(x[{-1, -1}], {11});
  EXPECT_EQ((x[{-1, -1}].rank()), 0);
  expect_values(x[{Slice{0, 3, 2}, 1}], {1, 9});
  expect_values(x[{Slice{}, Slice{{}, {}, -2}}], {3, 1, 7, 5, 11, 9});
  expect_values(x[{index({2, 0}), 1}], {9, 1});
  expect_values(x[{0, index({2, -1})}], {2, 3});
  expect_values(x[{1}] + x[{0}].flip(), {7, 7, 7, 7});
  const Tensor constant = x;
  expect_values(constant[{2, 0}], {8});
  expect_values((x + 1)[{2, 0}], {9});
  EXPECT_EQ(x[{}].shape(), x.shape());
}

TEST(Element, Refuses) {
  Tensor x = numbers({3, 4});
  EXPECT_REFUSED((x[{3}]), "index 3", "axis 0", "[3, 4]");
  EXPECT_REFUSED((x[{0, -5}]), "index -5", "axis 1", "[3, 4]");
  EXPECT_REFUSED((x[{0, 0, 0}]), "3 indices", "[3, 4]");
  EXPECT_REFUSED((x[{Slice{0, 1, 0}}]), "step is zero");
  EXPECT_REFUSED((x[{index({0}), index({0})}]), "more than one");
  EXPECT_REFUSED((x[{x}]), "f64");
  EXPECT_REFUSED((x[{0}] = numbers({3}), 0), "[3]", "[4]");
  EXPECT_REFUSED((x[{0}] += numbers({2}), 0), "[4]", "[2]");
  Tensor counts = index({1, 2});
  EXPECT_REFUSED((counts[{0}] = 0.5, 0), "i64", "kind");
  EXPECT_REFUSED((counts[{0}] *= 1.5, 0), "i64", "kind");
}

TEST(Element, AssignmentRebindsOneHandle) {
  Tensor x = numbers({2, 3}), before = x;
  x[{0}] = 9;
  expect_values(x, {9, 9, 9, 3, 4, 5});
  expect_values(before, {0, 1, 2, 3, 4, 5});
  x[{Slice{}, Slice{{}, {}, -2}}] = numbers({2});
  expect_values(x, {1, 9, 0, 1, 4, 0});
  x[{1, 1}] += 0.5;
  x[{1}] *= 2;
  x[{0, 0}] -= x[{0, 1}];
  x[{0, 2}] /= 4;
  expect_values(x, {-8, 9, 0, 2, 9, 0});
  x[{0}] = x[{1}];
  expect_values(x, {2, 9, 0, 2, 9, 0});
  x[{Slice{1, 1}}] = 7;
  expect_values(x, {2, 9, 0, 2, 9, 0});
  x[{}] = 1;
  expect_values(x, {1, 1, 1, 1, 1, 1});
}

TEST(Element, EveryCompoundAssignmentReachesTheTensor) {
  Tensor x = leaf<int32_t>({7, 7, 7, 7, 7, 7}, {6});
  x[{0}] %= 4;
  x[{1}] &= 12;
  x[{2}] |= 8;
  x[{3}] ^= 2;
  x[{4}] <<= 3;
  x[{5}] >>= 1;
  expect_values(x, {3, 4, 15, 5, 56, 3});
  // What would be lost does not compile: `x[{0}][{1}] = y` assigns to a temporary.
  static_assert(!std::is_assignable_v<Tensor, Tensor> && std::is_assignable_v<Tensor&, Tensor>);
}

TEST(Element, AssignmentKeepsTheDType) {
  Tensor x = leaf<float>({1, 2}, {2});
  x[{0}] = leaf(Doubles{0.1}, {});
  EXPECT_EQ(x.dtype(), f32);
  expect_values(x, {double(0.1f), 2});
  Tensor whole = leaf<int32_t>({1, 2}, {2});
  whole[{1}] = true;
  whole[{0}] += 4;
  EXPECT_EQ(whole.dtype(), i32);
  expect_values(whole, {5, 1});
}

TEST(Element, AStoredReadIsAValue) {
  Tensor x = numbers({3});
  auto part = x[{0}];
  x[{0}] = 5;
  expect_values(part, {0});
  static_assert(!std::is_assignable_v<ElementProxy&, int>);
}

TEST(Element, WritesIntoABroadcast) {
  Tensor x = numbers({2}), wide = x.expand({2, 2});
  wide[{1}] = -1;
  expect_values(wide, {0, 1, -1, -1});
  expect_values(x, {0, 1});
}

TEST(Element, RepeatedIndicesReadOnceAndWriteOnce) {
  Tensor y = numbers({2}) + 1, i = index({0, 0});
  y[{i}] += y[{i}];
  expect_values(y, {2, 2});
}

TEST(Element, FeedsItselfBack) {
  Tensor buffer = numbers({4});
  Doubles expected = {0, 1, 2, 3};
  for (int step = 0; step < 20; ++step) {
    buffer = concat({buffer[{Slice{1}}], buffer[{Slice{0, 1}}] + step});
    expected.push_back(expected[0] + step);
    expected.erase(expected.begin());
  }
  expect_values(buffer, expected);
}

TEST(Element, KeepsTheLineOfTheCaller) {
  Tensor x = numbers({2, 3});
  Tensor y = x[{0}];
  EXPECT_EQ(y.node()->location.line, uint32_t(__LINE__ - 1));
  x[{0, 1}] = 3;
  EXPECT_EQ(x.node()->location.line, uint32_t(__LINE__ - 1));
  EXPECT_STREQ(x.node()->scope, "assign");
  x[{0, 1}] += y[{0}];
  EXPECT_EQ(x.node()->location.line, uint32_t(__LINE__ - 1));
}

TEST(IndexingGradient, AgreesWithDifferences) {
  Tensor i = index({2, 0, -1, 5}), rows = leaf<int64_t>({0, 2, -1}, {3, 1}),
         wide = leaf<int64_t>({0, 0, -1, 9, 3, 2}, {3, 2});
  std::vector<std::pair<const char*, Function>> cases = {
      {"take", [=](auto& v) { return take(v[0], i); }},
      {"take on axis 1", [=](auto& v) { return take(v[0], i.reshape({2, 2}), 1); }},
      {"take_along, one a row", [=](auto& v) { return take_along(v[0], rows, 1); }},
      {"take_along", [=](auto& v) { return take_along(v[0], wide, 1); }},
      {"take_along, broadcast", [=](auto& v) { return take_along(v[0], wide.reshape({1, 6}), 1); }},
      {"index_add",
       [=](auto& v) { return index_add(v[0], i, v[0] * v[0] * 2 + v[1].reshape({4}), 1); }},
      {"scatter_add",
       [=](auto& v) {
         return scatter_add(v[0], wide, v[1].reshape({1, 4})[{Slice{}, Slice{0, 2}}], 1);
       }},
      {"index_put", [=](auto& v) { return index_put(v[0], i, v[1].reshape({4, 1})); }},
      {"masked_fill", [=](auto& v) { return masked_fill(v[0], v[0] > 0, v[1].sum()); }},
      {"assignment",
       [=](auto& v) {
         Tensor x = v[0] * 1;
         x[{Slice{{}, {}, -2}, 1}] = v[1][{Slice{1, 2}, 0}];
         x[{0}] *= v[1].flatten();
         x[{Slice{}, Slice{3, {}, -3}}] += x[{1, 2}];
         return x;
       }},
      {"assignment by index",
       [=](auto& v) {
         Tensor x = v[0] * 1;
         x[{Slice{1}, index({1, 1, 3})}] = v[1].flatten()[{Slice{0, 3}}];
         return x;
       }},
  };
  for (const auto& [name, function] : cases) {
    SCOPED_TRACE(name);
    expect_gradients(function, {leaf_like({3, 4}), leaf_like({2, 2}, 1)});
  }
}

TEST(IndexingGradient, OneIndexARowNeedsNoScatter) {
  Tensor x = variable(leaf_like({3, 4}));
  Tensor picked = take_along(x, leaf<int64_t>({0, 2, -1}, {3, 1}), 1);
  Tensor gradient = grad(picked.sum(), {x})[0];
  EXPECT_EQ(gradient.node()->op, OpId::where);
  expect_values(gradient, {1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1});
}

}  // namespace
}  // namespace encore
