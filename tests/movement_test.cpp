// What moves elements: shapes, folding, values, gradients and refusals.
#include <encore/core/settings.h>
#include <encore/lazy/movement.h>

#include "graph_oracle.h"

namespace encore {
namespace {

using namespace testing;

Doubles counting(int64_t count) {
  Doubles result(count);
  for (int64_t i = 0; i < count; ++i) result[i] = double(i);
  return result;
}
Tensor numbers(Shape shape) { return leaf(counting(shape.numel()), shape); }

TEST(Reshape, InfersOneExtentAndKeepsOrder) {
  Tensor x = numbers({2, 3, 4});
  EXPECT_EQ(x.reshape({-1, 4}).shape(), (Shape{6, 4}));
  EXPECT_EQ(x.reshape({24}).shape(), Shape{24});
  expect_values(x.reshape({4, -1}), counting(24));
  EXPECT_EQ(numbers({0, 3}).reshape({3, 0}).shape(), (Shape{3, 0}));
  EXPECT_EQ(numbers({1, 1}).reshape({}).rank(), 0);
}

TEST(Reshape, ToTheSameShapeIsTheInput) {
  Tensor x = numbers({2, 3});
  EXPECT_EQ(x.reshape({2, -1}).node(), x.node());
  EXPECT_EQ(x.expand({2, 3}).node(), x.node());
  EXPECT_EQ(x.permute({0, -1}).node(), x.node());
  EXPECT_EQ(slice(x, {{}, {.start = 0, .stop = 99}}).node(), x.node());
  EXPECT_EQ(pad(x, {0, 0}, {0, 0}).node(), x.node());
  EXPECT_EQ(concat({x}).node(), x.node());
  EXPECT_EQ(flip(numbers({1, 1})).node()->op, OpId::leaf);
}

TEST(Reshape, RefusesOtherCounts) {
  Tensor x = numbers({2, 3});
  EXPECT_REFUSED(x.reshape({4, 2}), "[2, 3]", "[4, 2]", "6 elements", "8 elements");
  EXPECT_REFUSED(x.reshape({-1, 4}), "[2, 3]", "[-1, 4]");
  EXPECT_REFUSED(x.reshape({-1, -1}), "[-1, -1]");
  EXPECT_REFUSED(x.reshape({-1, 0}), "[-1, 0]");
  EXPECT_REFUSED(reshape(x, {7}), "[7]");
}

TEST(Flatten, MergesAxes) {
  Tensor x = numbers({2, 3, 4, 5});
  EXPECT_EQ(x.flatten().shape(), Shape{120});
  EXPECT_EQ(x.flatten(1).shape(), (Shape{2, 60}));
  EXPECT_EQ(x.flatten(1, -2).shape(), (Shape{2, 12, 5}));
  EXPECT_EQ(numbers({}).flatten().shape(), Shape{1});
  EXPECT_REFUSED(x.flatten(2, 1), "axes 2 to 1");
  EXPECT_REFUSED(x.flatten(4), "axis 4");
}

TEST(Permute, MovesAxes) {
  Tensor x = numbers({2, 3, 4});
  Tensor y = x.permute({2, 0, -2});
  EXPECT_EQ(y.shape(), (Shape{4, 2, 3}));
  EXPECT_EQ(y.node()->attributes, (std::vector<int64_t>{2, 0, 1}));
  Doubles expected;
  for (int c = 0; c < 4; ++c)
    for (int a = 0; a < 2; ++a)
      for (int b = 0; b < 3; ++b) expected.push_back(a * 12 + b * 4 + c);
  expect_values(y, expected);
  EXPECT_EQ(x.transpose().shape(), (Shape{2, 4, 3}));
  EXPECT_EQ(x.transpose(0, -1).shape(), (Shape{4, 3, 2}));
  EXPECT_EQ(move_axis(x, 0, -1).shape(), (Shape{3, 4, 2}));
  EXPECT_EQ(move_axis(x, 2, 0).shape(), (Shape{4, 2, 3}));
  EXPECT_REFUSED(x.permute({0, 1}), "[2, 3, 4]", "[0, 1]");
  EXPECT_REFUSED(x.permute({0, 1, 1}), "twice");
  EXPECT_REFUSED(numbers({3}).transpose(), "axis -2", "1 axes");
}

TEST(Expand, RepeatsAxesOfOne) {
  expect_values(numbers({2, 1}).expand({2, 2, 3}), {0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 1});
  EXPECT_EQ(numbers({2, 1}).expand({4, -1, 3}).shape(), (Shape{4, 2, 3}));
  EXPECT_EQ(broadcast_to(numbers({}), {0, 2}).shape(), (Shape{0, 2}));
  EXPECT_REFUSED(numbers({2, 3}).expand({2, 4}), "[2, 3]", "[2, 4]");
  EXPECT_REFUSED(numbers({2, 3}).expand({3}), "[2, 3]", "[3]");
  EXPECT_REFUSED(numbers({3}).expand({-1, 3}), "[-1, 3]");
}

TEST(Squeeze, DropsAxesOfOne) {
  Tensor x = numbers({1, 3, 1});
  EXPECT_EQ(x.squeeze().shape(), Shape{3});
  EXPECT_EQ(x.squeeze({0}).shape(), (Shape{3, 1}));
  EXPECT_EQ(x.squeeze({-1, 0}).shape(), Shape{3});
  EXPECT_EQ(numbers({3}).unsqueeze(0).shape(), (Shape{1, 3}));
  EXPECT_EQ(numbers({3}).unsqueeze(-1).shape(), (Shape{3, 1}));
  EXPECT_REFUSED(x.squeeze({1}), "[1, 3, 1]", "extent 3");
  EXPECT_REFUSED(x.unsqueeze(4), "axis 4");
  EXPECT_REFUSED(numbers({1, 1, 1, 1, 1, 1, 1, 1}).unsqueeze(0), "9 axes");
}

/// Python's range(start, stop, step) over an axis, written with a loop instead of a formula.
Doubles python_slice(const Slice& part, int64_t extent) {
  bool forward = part.step > 0;
  auto clip = [&](int64_t bound) {
    if (bound < 0) bound += extent;
    return std::max(forward ? 0 : -1l, std::min(bound, forward ? extent : extent - 1));
  };
  int64_t start = part.start ? clip(*part.start) : forward ? 0 : extent - 1;
  int64_t stop = part.stop ? clip(*part.stop) : forward ? extent : -1;
  Doubles result;
  for (int64_t i = start; forward ? i < stop : i > stop; i += part.step)
    result.push_back(double(i));
  return result;
}

TEST(Slicing, AgreesWithPython) {
  std::vector<std::optional<int64_t>> bounds = {std::nullopt, -9, -5, -2, -1, 0, 1, 3, 4, 5, 9};
  for (int64_t extent : {0, 1, 5})
    for (auto start : bounds)
      for (auto stop : bounds)
        for (int64_t step : {1, 2, 3, 7, -1, -2, -3, -7}) {
          Slice part{start, stop, step};
          expect_values(slice(numbers({extent}), {part}), python_slice(part, extent));
        }
}

TEST(Slicing, TakesExtremeBounds) {
  constexpr int64_t least = INT64_MIN, most = INT64_MAX;
  expect_values(slice(numbers({5}), {{least, most, 1}}), {0, 1, 2, 3, 4});
  expect_values(slice(numbers({5}), {{1, {}, most}}), {1});
  expect_values(slice(numbers({5}), {{{}, {}, least}}), {4});
  EXPECT_REFUSED(slice(numbers({5}), {{{}, {}, 0}}), "step is zero");
  EXPECT_REFUSED(slice(numbers({5}), {{}, {}}), "2 slices", "[5]");
}

TEST(Slicing, NarrowSelectFlip) {
  Tensor x = numbers({2, 3});
  expect_values(narrow(x, -1, 1, 2), {1, 2, 4, 5});
  expect_values(narrow(x, 1, -1, 1), {2, 5});
  expect_values(select(x, 0, -1), {3, 4, 5});
  EXPECT_EQ(select(x, 0, -1).shape(), Shape{3});
  expect_values(flip(x), {5, 4, 3, 2, 1, 0});
  expect_values(x.flip({1}), {2, 1, 0, 5, 4, 3});
  EXPECT_REFUSED(narrow(x, 1, 2, 2), "2 positions from 2", "[2, 3]");
  EXPECT_REFUSED(select(x, 1, 3), "index 3", "axis 1", "[2, 3]");
  EXPECT_REFUSED(select(x, 1, -4), "index -4");
  EXPECT_REFUSED(select(numbers({0}), 0, 0), "index 0");
  EXPECT_REFUSED(x.flip({0, -2}), "twice");
}

TEST(Pad, FillsWithNumbersAndTensors) {
  expect_values(pad(numbers({2}), {1}, {2}, 7), {7, 0, 1, 7, 7});
  expect_values(pad(numbers({1, 2}), {0, 1}, {1, 0}), {0, 0, 1, 0, 0, 0});
  expect_values(pad(numbers({0}), {1}, {1}, leaf(Doubles{3}, {})), {3, 3});
  EXPECT_EQ(pad(leaf<int32_t>({1}, {1}), {1}, {0}, 2).dtype(), i32);
  EXPECT_REFUSED(pad(numbers({2}), {-1}, {0}), "[-1]");
  EXPECT_REFUSED(pad(numbers({2}), {1, 0}, {0}), "[1, 0]", "[2]");
  EXPECT_REFUSED(pad(numbers({2}), {1}, {0}, numbers({2})), "[2]");
}

TEST(Concat, JoinsAndPromotes) {
  Tensor x = numbers({2, 2});
  expect_values(concat({x, numbers({2, 1})}, 1), {0, 1, 0, 2, 3, 1});
  expect_values(concat({x, numbers({0, 2}), x}), {0, 1, 2, 3, 0, 1, 2, 3});
  Tensor mixed = concat({leaf<int32_t>({1, 2}, {2}), leaf<float>({0.5f}, {1})});
  EXPECT_EQ(mixed.dtype(), f32);
  expect_values(mixed, {1, 2, 0.5});
  expect_values(stack({numbers({2}), numbers({2})}, -1), {0, 0, 1, 1});
  EXPECT_EQ(stack({numbers({}), numbers({})}).shape(), Shape{2});
  EXPECT_REFUSED(concat({x, numbers({3, 3})}), "[2, 2]", "[3, 3]", "axis 0");
  EXPECT_REFUSED(concat({x, numbers({2})}), "[2, 2]", "[2]");
  EXPECT_REFUSED(concat({numbers({}), numbers({})}), "without axes");
  EXPECT_REFUSED(concat({}), "no tensors");
  EXPECT_REFUSED(stack({x, numbers({2})}), "[2, 2]", "[2]");
}

TEST(Split, CutsIntoParts) {
  Tensor x = numbers({7, 2});
  std::vector<Tensor> parts = split(x, 3);
  ASSERT_EQ(parts.size(), 3u);
  EXPECT_EQ(parts[2].shape(), (Shape{1, 2}));
  expect_values(parts[1], {6, 7, 8, 9, 10, 11});
  EXPECT_EQ(split(x, {0, 5, 2}, 0)[1].shape(), (Shape{5, 2}));
  EXPECT_EQ(chunk(x, 3).size(), 3u);
  EXPECT_EQ(chunk(x, 5).size(), 4u);  // of two rows each, as torch.chunk
  EXPECT_EQ(chunk(numbers({0}), 3).size(), 1u);
  EXPECT_EQ(concat(split(x, 1, 1), 1).shape(), x.shape());
  EXPECT_REFUSED(split(x, 0), "size 0");
  EXPECT_REFUSED(split(x, {3, 3}), "[3, 3]", "[7, 2]");
  EXPECT_REFUSED(chunk(x, 0), "0 parts");
}

TEST(Repeat, TilesBlocks) {
  expect_values(repeat(numbers({2, 2}), {1, 2}), {0, 1, 0, 1, 2, 3, 2, 3});
  expect_values(repeat(numbers({2}), {2, 2}), {0, 1, 0, 1, 0, 1, 0, 1});
  EXPECT_EQ(repeat(numbers({2}), {3, 0}).shape(), (Shape{3, 0}));
  expect_values(repeat(numbers({1, 2}), {3, 1}), {0, 1, 0, 1, 0, 1});
  expect_values(tile(numbers({2, 2}), {2}), {0, 1, 0, 1, 2, 3, 2, 3});
  expect_values(repeat_interleave(numbers({2, 2}), 2, 1), {0, 0, 1, 1, 2, 2, 3, 3});
  expect_values(repeat_interleave(numbers({2, 2}), 2, 0), {0, 1, 0, 1, 2, 3, 2, 3});
  EXPECT_REFUSED(repeat(numbers({2, 2}), {2}), "[2]", "[2, 2]");
  EXPECT_REFUSED(repeat(numbers({2}), {-1}), "[-1]");
}

TEST(Roll, Rotates) {
  expect_values(roll(numbers({5}), {2}, {0}), {3, 4, 0, 1, 2});
  expect_values(roll(numbers({5}), {-7}, {0}), {2, 3, 4, 0, 1});
  expect_values(roll(numbers({2, 3}), {1}), {5, 0, 1, 2, 3, 4});
  expect_values(roll(numbers({2, 3}), {1, 1}, {0, 1}), {5, 3, 4, 2, 0, 1});
  EXPECT_EQ(roll(numbers({0}), {3}).shape(), Shape{0});
  EXPECT_REFUSED(roll(numbers({2, 3}), {1, 2}, {0}), "2 shifts", "1 axes");
}

TEST(Spread, PutsAPartBack) {
  Tensor part = numbers({3});
  Window window = Window::whole({9});
  window.set(0, 7, -3, 3);
  expect_values(spread_window(part, window, {9}), {0, 2, 0, 0, 1, 0, 0, 0, 0});
  window.set(0, 1, 4, 2);
  expect_values(spread_window(numbers({2}) + lit(1.0), window, {9}), {0, 1, 0, 0, 0, 2, 0, 0, 0});
}

TEST(Movement, KeepsTheLineOfTheCaller) {
  Tensor x = numbers({2, 3});
  const uint32_t line = __LINE__ + 1;
  std::vector<Tensor> made = {x.permute({1, 0}), roll(x, {1}), repeat(x, {2, 2}), stack({x, x})};
  for (const Tensor& y : made) EXPECT_EQ(y.node()->location.line, line) << name_of(y.node()->op);
}

TEST(Movement, WorksOnScalarsAndLiterals) {
  Tensor x = literal_node(4, f64, default_device()).expand({4, 3});
  expect_values(slice(x, {{1, 2}}).reshape({3}), {4, 4, 4});
  expect_values(pad(literal_node(2, f64, default_device()).reshape({1}), {1}, {1}, 5), {5, 2, 5});
  expect_values(concat({x.flatten(), scalar_node(3, f64, default_device()).expand({1})}).max(),
                {4});
}

TEST(Movement, LongChainsAreDestroyedWithoutEvaluation) {
  Settings before = settings();
  settings().cut_nodes = settings().cut_bytes = 0;
  Tensor x = numbers({4}), y = x;
  for (int i = 0; i < 100000; ++i) x = concat(split(x, 2));
  for (int i = 0; i < 300000; ++i) y = 2 * y;
  x = y = Tensor();
  settings() = before;
}

TEST(MovementGradient, AgreesWithDifferences) {
  Tensor x = leaf_like({3, 4});
  std::vector<std::pair<const char*, Function>> cases = {
      {"reshape", [](auto& v) { return v[0].reshape({2, 6}); }},
      {"permute", [](auto& v) { return v[0].permute({1, 0}); }},
      {"expand", [](auto& v) { return v[0].reshape({3, 1, 4}).expand({2, 3, 2, 4}); }},
      {"slice", [](auto& v) { return slice(v[0], {{1, 3}, {0, 4, 2}}); }},
      {"slice backwards", [](auto& v) { return slice(v[0], {{2, {}, -2}, {3, 0, -2}}); }},
      {"slice of nothing", [](auto& v) { return slice(v[0], {{2, 2}}); }},
      {"flip", [](auto& v) { return v[0].flip({0}); }},
      {"pad", [](auto& v) { return pad(v[0], {1, 0}, {0, 2}, 3.0); }},
      {"concat", [](auto& v) { return concat({v[0], v[0] * v[0], slice(v[0], {{0, 1}})}); }},
      {"stack", [](auto& v) { return stack({v[0], v[0] * v[0]}, 1); }},
      {"repeat", [](auto& v) { return repeat(v[0], {2, 1, 3}); }},
      {"interleave", [](auto& v) { return repeat_interleave(v[0], 3, 0); }},
      {"roll", [](auto& v) { return roll(v[0], {1, -1}, {0, 1}); }},
      {"split", [](auto& v) { return split(v[0], 3, 1)[1] * split(v[0], 1, 1)[0]; }},
  };
  for (const auto& [name, function] : cases) {
    SCOPED_TRACE(name);
    expect_gradients(function, {x});
  }
}

TEST(MovementGradient, ReachesTheFillOfAPad) {
  expect_gradients([](auto& v) { return pad(v[0], {1, 0}, {1, 1}, v[1]); },
                   {leaf_like({2, 2}), leaf_like({})});
}

}  // namespace
}  // namespace encore
