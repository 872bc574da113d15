// Do optimizers take PyTorch's steps? Compared with its formulas written out in plain double.
#include <encore/autograd/backward.h>
#include <encore/lazy/create.h>
#include <encore/lazy/reduction.h>
#include <encore/optim/adam.h>
#include <encore/optim/clip.h>
#include <encore/optim/sgd.h>
#include <gmock/gmock.h>

#include <cmath>
#include <functional>

namespace encore {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const std::vector<double> start = {1.0, -2.0, 0.5, 3.0};
constexpr int step_count = 7;

/// The gradient of the test's loss: sum of (p - 1)^2 * weight, weight = 1, 2, 3, 4.
double slope(size_t i, double p) { return 2 * double(i + 1) * (p - 1); }

Tensor loss_of(const ParameterRef& p) {
  Tensor away = p - 1.0;
  return (away * away * from_vector<double>({1, 2, 3, 4}, {4})).sum();
}

/// One element's state under a rule written in plain C++.
struct Plain {
  double p, first = 0, second = 0;
  int64_t t = 0;
};

void plain_sgd(Plain& s, double g, const SgdOptions& o) {
  g += o.weight_decay * s.p;
  if (o.momentum != 0) {
    s.first = s.t == 0 ? g : o.momentum * s.first + (1 - o.dampening) * g;
    g = o.nesterov ? g + o.momentum * s.first : s.first;
  }
  ++s.t;
  s.p -= o.lr * g;
}

void plain_adam(Plain& s, double g, const AdamOptions& o, bool decoupled) {
  ++s.t;
  if (decoupled)
    s.p -= o.lr * o.weight_decay * s.p;
  else
    g += o.weight_decay * s.p;
  s.first = o.beta1 * s.first + (1 - o.beta1) * g;
  s.second = o.beta2 * s.second + (1 - o.beta2) * g * g;
  double mean = s.first / (1 - std::pow(o.beta1, double(s.t)));
  double square = s.second / (1 - std::pow(o.beta2, double(s.t)));
  s.p -= o.lr * mean / (std::sqrt(square) + o.eps);
}

void expect_same_path(Optimizer& optimizer, const ParameterRef& p,
                      const std::function<void(Plain&, double)>& rule) {
  std::vector<Plain> plain;
  for (double value : start) plain.push_back({value});
  for (int step = 0; step < step_count; ++step) {
    optimizer.zero_grad();
    Tensor loss = loss_of(p);
    loss.backward();
    optimizer.step();
    for (size_t i = 0; i < plain.size(); ++i) rule(plain[i], slope(i, plain[i].p));
    std::vector<double> values = p.value().to_vector<double>();
    for (size_t i = 0; i < plain.size(); ++i)
      ASSERT_NEAR(values[i], plain[i].p, 1e-12) << "step " << step << ", element " << i;
  }
  EXPECT_EQ(optimizer.steps(), step_count);
}

struct SgdCase {
  const char* name;
  SgdOptions options;
};
class SgdPath : public testing::TestWithParam<SgdCase> {};
TEST_P(SgdPath, EqualsTheFormula) {
  const SgdOptions& options = GetParam().options;
  Parameter p(from_vector(start, {4}));
  Sgd optimizer({p}, options);
  expect_same_path(optimizer, p, [&](Plain& s, double g) { plain_sgd(s, g, options); });
}
INSTANTIATE_TEST_SUITE_P(
    Options, SgdPath,
    testing::Values(SgdCase{"plain", {.lr = 0.05}},
                    SgdCase{"decay", {.lr = 0.05, .weight_decay = 0.1}},
                    SgdCase{"momentum", {.lr = 0.02, .momentum = 0.9}},
                    SgdCase{"dampening", {.lr = 0.02, .momentum = 0.9, .dampening = 0.3}},
                    SgdCase{"nesterov",
                            {.lr = 0.02, .momentum = 0.9, .weight_decay = 0.01, .nesterov = true}}),
    [](const auto& info) { return info.param.name; });

struct AdamCase {
  const char* name;
  AdamOptions options;
  bool decoupled;
};
class AdamPath : public testing::TestWithParam<AdamCase> {};
TEST_P(AdamPath, EqualsTheFormula) {
  const AdamOptions& o = GetParam().options;
  Parameter p(from_vector(start, {4}));
  std::unique_ptr<Optimizer> optimizer;
  if (GetParam().decoupled)
    optimizer = std::make_unique<AdamW>(
        std::vector<ParameterRef>{p}, AdamWOptions{o.lr, o.beta1, o.beta2, o.eps, o.weight_decay});
  else
    optimizer = std::make_unique<Adam>(std::vector<ParameterRef>{p}, o);
  expect_same_path(*optimizer, p,
                   [&](Plain& s, double g) { plain_adam(s, g, o, GetParam().decoupled); });
}
INSTANTIATE_TEST_SUITE_P(
    Options, AdamPath,
    testing::Values(
        AdamCase{"adam", {.lr = 0.1}, false},
        AdamCase{"adam_decay", {.lr = 0.1, .beta1 = 0.8, .weight_decay = 0.1}, false},
        AdamCase{"adamw", {.lr = 0.1, .weight_decay = 0.01}, true},
        AdamCase{"adamw_eps", {.lr = 0.1, .beta2 = 0.9, .eps = 1e-2, .weight_decay = 0.3}, true},
        AdamCase{"adamw_no_decay", {.lr = 0.1}, true}),
    [](const auto& info) { return info.param.name; });

TEST(Optimizer, RateMayChangeEveryStep) {
  Parameter p(from_vector<double>({1.0}, {1}));
  Sgd optimizer({p}, {.lr = 1});
  double expected = 1;
  for (int step = 1; step <= 4; ++step) {
    optimizer.set_learning_rate(0.1 / step);
    optimizer.zero_grad();
    (p * p).sum().backward();
    optimizer.step();
    expected -= 0.1 / step * 2 * expected;
  }
  EXPECT_NEAR(p.value().item<double>(), expected, 1e-14);
}

TEST(Optimizer, LeavesParametersWithoutGradientAndCountsTheirStepsApart) {
  Parameter p(full({1}, 1.0, {.dtype = f64})), late(full({1}, 1.0, {.dtype = f64}));
  Adam optimizer({p, late}, {.lr = 0.1});
  backward((p * 2.0).sum());
  optimizer.step();
  EXPECT_EQ(late.value().item<double>(), 1.0);
  optimizer.zero_grad();
  backward((late * 2.0).sum());
  optimizer.step();
  // Adam's first step has the length lr, whatever the gradient.
  EXPECT_NEAR(late.value().item<double>(), 0.9, 1e-8);
}

TEST(Optimizer, StepComputesLossAndParameters) {
  Parameter p(from_vector<double>({1.0, 2.0}, {2}));
  Sgd optimizer({p}, {.lr = 0.1});
  Tensor loss = (p * p).sum();
  loss.backward();
  optimizer.step();
  EXPECT_TRUE(loss.node()->materialized());
  EXPECT_TRUE(p.value().node()->materialized());
  EXPECT_EQ(loss.node()->input_count, 0u);
  EXPECT_DOUBLE_EQ(loss.item<double>(), 5);
}

TEST(Optimizer, MinimizeTakesTheSameStepAndKeepsNoGradient) {
  Parameter p(from_vector(start, {4})), q(from_vector(start, {4}));
  AdamW one({p}, {.lr = 0.1}), other({q}, {.lr = 0.1});
  for (int step = 0; step < 3; ++step) {
    one.zero_grad();
    loss_of(p).backward();
    one.step();
    other.minimize(loss_of(q));
    EXPECT_THAT(q.value().to_vector<double>(),
                testing::Pointwise(testing::DoubleNear(1e-14), p.value().to_vector<double>()));
  }
  EXPECT_TRUE(p.grad().defined());
  EXPECT_FALSE(q.grad().defined());
}

TEST(Optimizer, ValuesKeepTheirDtype) {
  Parameter p(full({4}, 1.0, {.dtype = bf16}));
  AdamW optimizer({p}, {.lr = 0.5});
  backward((p * 2.0).sum());
  optimizer.step();
  EXPECT_EQ(p.dtype(), bf16);
}

TEST(Optimizer, RefusesAGradientThatDoesNotFit) {
  Parameter p(full({4}, 1.0), "fc.weight"), q(full({4}, 1.0));
  Sgd optimizer({q, p}, {.lr = 0.5});
  q.set_grad(full({4}, 1.0));
  p.set_grad(full({3}, 1.0));
  try {
    optimizer.step();
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("fc.weight"));
    EXPECT_THAT(error.what(), HasSubstr("[3]"));
  }
  EXPECT_THAT(q.value().to_vector<float>(), ElementsAre(1, 1, 1, 1));
  EXPECT_EQ(optimizer.steps(), 0);
}

TEST(Optimizer, RefusesNothingToTrain) {
  EXPECT_THROW(Sgd({}, {}), Error);
  Parameter p(full({4}, 1.0)), whole(full({4}, 1, {.dtype = i32}));
  EXPECT_THROW(Sgd({whole}, {}), Error);
  EXPECT_THROW(Sgd({p}, {.nesterov = true}), Error);
}

TEST(Clip, NormScalesAllGradientsTogether) {
  Parameter p(full({2}, 0.0)), q(full({1}, 0.0)), idle(full({1}, 0.0));
  p.set_grad(from_vector<float>({3, 0}, {2}));
  q.set_grad(from_vector<float>({4}, {1}));
  Tensor norm = clip_grad_norm_({p, q, idle}, 1.0);
  EXPECT_FLOAT_EQ(norm.item<float>(), 5);
  EXPECT_NEAR(p.grad().to_vector<float>()[0], 0.6, 1e-6);
  EXPECT_NEAR(q.grad().to_vector<float>()[0], 0.8, 1e-6);
  EXPECT_FALSE(idle.grad().defined());
}

TEST(Clip, NormBelowTheBoundChangesNothing) {
  Parameter p(full({2}, 0.0));
  p.set_grad(from_vector<float>({0.3f, 0.4f}, {2}));
  EXPECT_FLOAT_EQ(clip_grad_norm_({p}, 1.0).item<float>(), 0.5);
  EXPECT_THAT(p.grad().to_vector<float>(), ElementsAre(0.3f, 0.4f));
}

TEST(Clip, OtherNorms) {
  Parameter p(full({2}, 0.0));
  p.set_grad(from_vector<float>({3, -4}, {2}));
  EXPECT_FLOAT_EQ(clip_grad_norm_({p}, 100.0, {.order = 1}).item<float>(), 7);
  EXPECT_FLOAT_EQ(clip_grad_norm_({p}, 100.0, {.order = INFINITY}).item<float>(), 4);
  EXPECT_NEAR(clip_grad_norm_({p}, 100.0, {.order = 3}).item<float>(), std::cbrt(91.0), 1e-5);
}

TEST(Clip, ValueBoundsEachElement) {
  Parameter p(full({3}, 0.0));
  p.set_grad(from_vector<float>({3, -4, 0.25f}, {3}));
  clip_grad_value_({p}, 0.5);
  EXPECT_THAT(p.grad().to_vector<float>(), ElementsAre(0.5f, -0.5f, 0.25f));
}

}  // namespace
}  // namespace encore
