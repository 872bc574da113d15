// Do initial values have the spread that their formulas promise, and repeat after a seed?
#include <encore/nn/init.h>
#include <encore/nn/linear.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>

namespace encore {
namespace {

struct Moments {
  double mean = 0, deviation = 0, largest = 0;
};
Moments moments_of(const Tensor& x) {
  Moments m;
  std::vector<double> values = x.to_vector<double>();
  for (double value : values) {
    m.mean += value / double(values.size());
    m.largest = std::max(m.largest, std::abs(value));
  }
  for (double value : values)
    m.deviation += (value - m.mean) * (value - m.mean) / double(values.size());
  m.deviation = std::sqrt(m.deviation);
  return m;
}

constexpr int64_t out = 300, in = 200;

/// 60,000 draws: the sample deviation is within 2 % of the true one by many standard errors.
void expect_spread(const Tensor& x, double deviation, bool bounded) {
  Moments m = moments_of(x);
  EXPECT_NEAR(m.mean, 0, 0.03 * deviation);
  EXPECT_NEAR(m.deviation, deviation, 0.02 * deviation);
  if (bounded)
    EXPECT_LE(m.largest, std::sqrt(3.0) * deviation * 1.0000001);
  else
    EXPECT_GT(m.largest, 3 * deviation);
}

TEST(Init, KaimingFollowsTheFan) {
  manual_seed(1);
  expect_spread(init::kaiming_uniform({out, in}), std::sqrt(2.0 / in), true);
  expect_spread(init::kaiming_normal(
                    {out, in}, {.fan = init::Fan::out, .nonlinearity = init::Nonlinearity::relu}),
                std::sqrt(2.0 / out), false);
  expect_spread(init::kaiming_uniform({out, in}, {.slope = std::sqrt(5.0)}),
                std::sqrt(1.0 / 3 / in), true);
}

TEST(Init, XavierFollowsBothFans) {
  manual_seed(2);
  expect_spread(init::xavier_uniform({out, in}), std::sqrt(2.0 / (in + out)), true);
  expect_spread(init::xavier_normal({out, in}, 2.0), 2 * std::sqrt(2.0 / (in + out)), false);
}

TEST(Init, LinearIsUniformInOneOverTheRootOfItsInputs) {
  manual_seed(3);
  Linear layer(in, out);
  expect_spread(layer.weight.value(), 1 / std::sqrt(3.0 * in), true);
}

TEST(Init, FansCountTheReceptiveField) {
  init::Fans fans = init::fans_of({8, 3, 5, 5}, {});
  EXPECT_EQ(fans.in, 75);
  EXPECT_EQ(fans.out, 200);
  EXPECT_THROW((void)init::kaiming_normal({8}), Error);
}

TEST(Init, RepeatsAfterTheSameSeedOnly) {
  auto draw = [](int64_t seed) {
    manual_seed(seed);
    Linear layer(7, 5);
    std::vector<float> values = layer.weight.value().to_vector<float>();
    std::vector<float> bias = layer.bias.value().to_vector<float>();
    values.insert(values.end(), bias.begin(), bias.end());
    return values;
  };
  EXPECT_EQ(draw(11), draw(11));
  EXPECT_NE(draw(11), draw(12));
}

}  // namespace
}  // namespace encore
