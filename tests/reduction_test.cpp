// What combines elements along axes: shapes, dtypes, values, gradients and refusals.
#include <encore/lazy/reduction.h>

#include <limits>

#include "graph_oracle.h"

namespace encore {
namespace {

using namespace testing;

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

TEST(Reduction, ShapesFollowAxes) {
  Tensor x = leaf_like({2, 3, 4});
  EXPECT_EQ(x.sum().rank(), 0);
  EXPECT_EQ(x.sum({1}).shape(), (Shape{2, 4}));
  EXPECT_EQ(x.sum({-1, 0}).shape(), Shape{3});
  EXPECT_EQ(x.sum({-1, 0}, true).shape(), (Shape{1, 3, 1}));
  EXPECT_EQ(x.max({}, true).shape(), (Shape{1, 1, 1}));
  EXPECT_EQ(x.argmax().rank(), 0);
  EXPECT_EQ(x.argmax({}, true).shape(), (Shape{1, 1, 1}));
  EXPECT_EQ(x.argmax(1).shape(), (Shape{2, 4}));
  EXPECT_EQ(x.argmin(-1, true).shape(), (Shape{2, 3, 1}));
  EXPECT_EQ(x.mean({0}).shape(), (Shape{3, 4}));
  EXPECT_EQ(var(x, {0, 2}).shape(), Shape{3});
  EXPECT_EQ(leaf_like({}).sum().rank(), 0);
}

TEST(Reduction, KeepsOneMaskOfAxes) {
  Tensor y = leaf_like({2, 3, 4}).sum({-1, 0}, true);
  EXPECT_EQ(y.node()->op, OpId::reduce_sum);
  EXPECT_EQ(y.node()->attributes, std::vector<int64_t>{5});
}

TEST(Reduction, DTypes) {
  Tensor half = leaf<BFloat16>({BFloat16(1), BFloat16(2)}, {2}),
         bytes = leaf<uint8_t>({200, 100}, {2}), flags = leaf<bool>({true, true}, {2});
  EXPECT_EQ(half.sum().dtype(), bf16);
  EXPECT_EQ(half.mean().dtype(), bf16);
  EXPECT_EQ(bytes.sum().dtype(), i64);
  EXPECT_EQ(bytes.max().dtype(), u8);
  EXPECT_EQ(bytes.mean().dtype(), f32);
  EXPECT_EQ(var(bytes).dtype(), f32);
  EXPECT_EQ(flags.sum().dtype(), i64);
  EXPECT_EQ(half.any().dtype(), boolean);
  EXPECT_EQ(half.argmax().dtype(), i64);
  expect_values(bytes.sum(), {300});
  expect_values(bytes.mean(), {150});
  expect_values(flags.sum(), {2});
}

TEST(Reduction, MeanOfHalvesDoesNotOverflow) {
  Tensor x = leaf<Half>(std::vector<Half>(4, Half(60000.0f)), {4});
  expect_values(x.mean(), {double(float(Half(60000.0f)))});
  expect_values(var(x), {0});
}

TEST(Reduction, OverSingleElementsComputesNothing) {
  Tensor x = leaf_like({1, 3});
  EXPECT_EQ(x.sum({0}, true).node(), x.node());
  EXPECT_EQ(x.max({0}, true).node(), x.node());
  EXPECT_EQ(x.mean({0}, true).node(), x.node());
  expect_values(x.argmax(0), {0, 0, 0});
  EXPECT_EQ(leaf<int32_t>({3}, {1}).sum({0}, true).dtype(), i64);
  expect_values(leaf<double>({0, nan, 3}, {1, 3}).any({0}), {0, 1, 1});
}

TEST(Reduction, OverNothing) {
  Tensor x = leaf(Doubles{}, {0, 3});
  expect_values(x.sum({0}), {0, 0, 0});
  expect_values(x.prod(), {1});
  expect_values(x.any({0}), {0, 0, 0});
  expect_values(x.all(), {1});
  expect_values(x.mean(), {nan});
  EXPECT_EQ(x.max({1}).shape(), Shape{0});
  EXPECT_REFUSED(x.max(), "max", "[0, 3]");
  EXPECT_REFUSED(x.min({0}), "min", "[0, 3]");
  EXPECT_REFUSED(x.argmax(0), "argmax", "[0, 3]");
  EXPECT_REFUSED(argmin(x), "argmin");
}

TEST(Reduction, Values) {
  Tensor x = leaf(Doubles{3, -1, 4, 1, -5, 9}, {2, 3});
  expect_values(x.sum({1}), {6, 5});
  expect_values(x.prod({0}), {3, 5, 36});
  expect_values(x.max({0}), {3, -1, 9});
  expect_values(min(x), {-5});
  expect_values(x.mean({1}), {2, 5.0 / 3}, 1e-15);
  expect_values(x.argmax(1), {2, 2});
  expect_values(x.argmin(), {4});
  expect_values((x > 0).all({1}), {0, 0});
  expect_values((x > 8).any({1}), {0, 1});
  expect_values(var(x, {1}), {7, 148.0 / 3}, 1e-13);
  expect_values(var(x, {1}, 0), {14.0 / 3, 296.0 / 9}, 1e-13);
  expect_values(standard_deviation(x, {1}), {std::sqrt(7.0), std::sqrt(148.0 / 3)}, 1e-14);
}

TEST(Reduction, VarianceIsStableFarFromZero) {
  Doubles values;
  for (int i = 0; i < 1000; ++i) values.push_back(1e9 + i % 2);
  expect_values(var(leaf(values, {1000}), {}, 0), {0.25}, 1e-12);
}

TEST(Reduction, OfAFilledTensor) {
  Tensor x = ones({3, 4}, {.dtype = f64}) * 2.5;
  expect_values(x.sum({1}), {10, 10, 10});
  expect_values(var(x, {1}), {0, 0, 0});
  expect_values(x.argmax(0), {0, 0, 0, 0});
}

TEST(Reduction, VarianceOfTooFewIsNotANumber) {
  expect_values(var(leaf(Doubles{2}, {1})), {nan});
  expect_values(var(leaf(Doubles{2, 4}, {2}), {}, 2), {std::numeric_limits<double>::infinity()});
  EXPECT_REFUSED(var(leaf(Doubles{2}, {1}), {}, -1), "correction -1");
}

TEST(Reduction, RefusesAxes) {
  Tensor x = leaf_like({2, 3});
  EXPECT_REFUSED(x.sum({2}), "sum", "axis 2", "2 axes");
  EXPECT_REFUSED(x.sum({0, -2}), "sum", "twice");
  EXPECT_REFUSED(x.mean({-3}), "mean", "axis -3");
  EXPECT_REFUSED(x.argmax(2), "argmax", "axis 2");
  EXPECT_REFUSED(var(x, {5}), "var", "axis 5");
  EXPECT_REFUSED(leaf_like({}).sum({0}), "axis 0", "0 axes");
  EXPECT_REFUSED((x > 0).max(), "max", "bool");
}

TEST(Reduction, KeepsTheLineOfTheCaller) {
  Tensor x = leaf_like({2, 3});
  const uint32_t line = __LINE__ + 1;
  std::vector<Tensor> made = {x.sum({0}), mean(x), var(x), x.argmax(), standard_deviation(x)};
  for (const Tensor& y : made) EXPECT_EQ(y.node()->location.line, line) << name_of(y.node()->op);
  EXPECT_STREQ(made[1].node()->scope, "mean");
}

TEST(ReductionGradient, AgreesWithDifferences) {
  std::vector<std::pair<const char*, Function>> cases = {
      {"sum", [](auto& v) { return v[0].sum({1}); }},
      {"prod", [](auto& v) { return v[0].prod({0}); }},
      {"prod of all", [](auto& v) { return v[0].prod(); }},
      {"max", [](auto& v) { return v[0].max({1}, true); }},
      {"min", [](auto& v) { return v[0].min(); }},
      {"mean", [](auto& v) { return v[0].mean({0}); }},
      {"var", [](auto& v) { return var(v[0], {1}); }},
      {"standard deviation", [](auto& v) { return standard_deviation(v[0], {}, 0); }},
  };
  for (const auto& [name, function] : cases) {
    SCOPED_TRACE(name);
    expect_gradients(function, {leaf_like({3, 4})});
  }
}

TEST(ReductionGradient, ProductsWithZeros) {
  Tensor x = leaf(Doubles{2, 3, 4, 2, 0, 4, 0, 3, 0}, {3, 3});
  expect_gradients([](auto& v) { return v[0].prod({1}); }, {x});
}

Doubles gradient_of(const Function& f, const Tensor& x) {
  Tensor at = variable(x);
  return values(grad(sum(f({at})), {at})[0]);
}

TEST(ReductionGradient, EqualExtremesShare) {
  Doubles shared = gradient_of([](auto& v) { return v[0].max(); }, leaf(Doubles{1, 3, 3, 2}, {4}));
  EXPECT_EQ(shared, (Doubles{0, 0.5, 0.5, 0}));
  Doubles with_nan = gradient_of([](auto& v) { return v[0].min(); }, leaf(Doubles{1, nan, 3}, {3}));
  EXPECT_EQ(with_nan, (Doubles{0, 1, 0}));
}

TEST(ReductionGradient, OfNothingIsEmpty) {
  EXPECT_EQ(gradient_of([](auto& v) { return v[0].sum({0}); }, leaf(Doubles{}, {0, 3})), Doubles{});
  EXPECT_EQ(gradient_of([](auto& v) { return v[0].prod({0}); }, leaf(Doubles{}, {0, 3})),
            Doubles{});
}

}  // namespace
}  // namespace encore
