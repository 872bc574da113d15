// Are gradients right, and does a backward consume exactly the tape that it walked?
#include <encore/autograd/transform.h>
#include <encore/core/settings.h>
#include <encore/lazy/contraction.h>
#include <encore/lazy/create.h>
#include <encore/lazy/elementwise.h>
#include <encore/lazy/indexing.h>
#include <encore/lazy/movement.h>
#include <encore/lazy/reduction.h>
#include <gmock/gmock.h>
#include <pthread.h>

#include <functional>
#include <random>

namespace encore {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Tensor numbers(std::vector<double> values, Shape shape) { return from_vector(values, shape); }

/// Runs `action`, which must throw an Error at `line` whose text has `part`.
void expect_error(const std::function<void()>& action, int line, const std::string& part) {
  try {
    action();
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(int(error.where().line), line);
    EXPECT_THAT(error.what(), HasSubstr(part));
  }
}

TEST(Backward, GivesTheDerivativeOfASquare) {
  Parameter p(full({}, 3.0));
  Tensor loss = p * p;
  loss.backward();
  EXPECT_FLOAT_EQ(p.grad().item<float>(), 6);
  EXPECT_FLOAT_EQ(loss.item<float>(), 9);
}

TEST(Backward, SumsOverBroadcastAxes) {
  Parameter row(numbers({1, 2, 3}, {3})), column(numbers({1, 2}, {2, 1})),
      scalar(full({}, 5.0, {f64}));
  Tensor x = numbers({1, 2, 3, 4, 5, 6}, {2, 3});
  (x * row * column * scalar).sum().backward();
  // d/d row[j] = 5 * sum_i x[i,j] column[i]
  EXPECT_THAT(row.grad().to_vector<double>(), ElementsAre(45, 60, 75));
  EXPECT_THAT(column.grad().to_vector<double>(), ElementsAre(5 * 14, 5 * 32));
  EXPECT_EQ(column.grad().shape(), Shape({2, 1}));
  EXPECT_THAT(scalar.grad().to_vector<double>(), ElementsAre(14 + 2 * 32));
  EXPECT_EQ(scalar.grad().shape(), Shape());
}

TEST(Backward, AddsToTheGradientUntilItIsZeroed) {
  Parameter p(full({2}, 1.0));
  backward((p * 3.0).sum());
  backward((p * 4.0).sum());
  EXPECT_THAT(p.grad().to_vector<float>(), ElementsAre(7, 7));
  p.zero_grad();
  EXPECT_FALSE(p.grad().defined());
  backward((p * 4.0).sum());
  EXPECT_THAT(p.grad().to_vector<float>(), ElementsAre(4, 4));
}

TEST(Backward, GradientHasTheParametersDtype) {
  Parameter p(full({2}, 1.5, {.dtype = bf16}));
  backward((p * full({2}, 3.0)).sum());
  EXPECT_EQ(p.grad().dtype(), bf16);
  EXPECT_THAT(p.grad().to_vector<float>(), ElementsAre(3, 3));
}

TEST(Backward, TakesAnOutputGradientThatBroadcasts) {
  Parameter p(numbers({1, 2, 3, 4}, {2, 2}));
  backward(p * p, numbers({1, 10}, {2}));
  EXPECT_THAT(p.grad().to_vector<double>(), ElementsAre(2, 40, 6, 80));
}

TEST(Backward, StopsAtDetachAndNoGrad) {
  Parameter p(full({}, 3.0));
  Tensor constant;
  {
    NoGrad off;
    constant = p * p;
  }
  EXPECT_FALSE(constant.requires_grad());
  Tensor square = p * p;
  backward(square.detach() * p + constant * p);
  EXPECT_FLOAT_EQ(p.grad().item<float>(), 18);
}

TEST(Backward, RefusesOtherThanOneElement) {
  Parameter p(full({2, 3}, 1.0));
  Tensor y = p * 2.0;
  expect_error([&] { y.backward(); }, __LINE__, "[2, 3]");
  EXPECT_TRUE(y.requires_grad());
}

TEST(Backward, RefusesALossThatNeedsNoGradient) {
  expect_error([&] { full({}, 1.0).backward(); }, __LINE__, "needs a gradient");
}

TEST(Backward, ConsumesTheTape) {
  Parameter p(full({2}, 1.0));
  Tensor hidden = p * 3.0;
  Tensor loss = (hidden * hidden).sum();
  loss.backward();
  EXPECT_FALSE(loss.requires_grad());
  EXPECT_FALSE(hidden.requires_grad());
  eval(loss, hidden);
  EXPECT_EQ(hidden.node()->input_count, 0u);
  expect_error([&] { loss.backward(); }, __LINE__, "consumed");
  EXPECT_THAT(p.grad().to_vector<float>(), ElementsAre(18, 18));
}

TEST(Backward, MaterializedTapeKeepsItsInputsUntilItIsConsumed) {
  Parameter p(full({2}, 2.0));
  Tensor hidden = p * 3.0;
  eval(hidden);
  ASSERT_EQ(hidden.node()->input_count, 1u);
  Tensor loss = (hidden * hidden).sum();
  eval(loss);
  backward(loss);
  EXPECT_EQ(hidden.node()->input_count, 0u);
  EXPECT_THAT(p.grad().to_vector<float>(), ElementsAre(36, 36));
}

TEST(Backward, RefusesAConsumedPartAndChangesNothing) {
  Parameter p(full({2}, 1.0)), q(full({2}, 1.0));
  Tensor hidden = p * 3.0;
  Tensor early = (hidden * q).sum();
  backward(hidden.sum());
  Tensor late = (hidden * q).sum();
  for (Tensor* loss : {&early, &late}) {
    expect_error([&] { loss->backward(); }, __LINE__, "consumed");
    EXPECT_FALSE(q.grad().defined());
    EXPECT_TRUE(loss->requires_grad());
  }
  EXPECT_THAT(p.grad().to_vector<float>(), ElementsAre(3, 3));
}

TEST(Backward, RetainsTheGraphOnDemand) {
  Parameter p(full({2}, 1.0));
  Tensor loss = (p * p).sum();
  backward(loss, {.retain_graph = true});
  eval(loss);
  backward(loss);
  EXPECT_THAT(p.grad().to_vector<float>(), ElementsAre(4, 4));
}

TEST(Backward, AHeldUseOfAParameterSurvives) {
  Parameter p(full({2}, 1.0));
  Tensor use = p;
  backward((use * 2.0).sum());
  backward((use * 3.0).sum());
  EXPECT_THAT(p.grad().to_vector<float>(), ElementsAre(5, 5));
}

TEST(Backward, GradientNodesStandAtTheirForwardLine) {
  Parameter p(full({2}, 1.0));
  Tensor x = full({2}, 2.0);
  Tensor product = p * x;
  int line = __LINE__ - 1;
  Tensor loss = product.sum();
  loss.backward();
  EXPECT_EQ(int(p.grad().node()->location.line), line);
  EXPECT_THAT(p.grad().node()->location.file, HasSubstr("backward_test"));
}

TEST(Backward, RecordsNoTapeItselfUnlessAsked) {
  Parameter p(full({2}, 3.0));
  backward((p * p).sum());
  EXPECT_FALSE(p.grad().requires_grad());
  p.zero_grad();
  backward((p * p * p).sum(), {.create_graph = true});
  ASSERT_TRUE(p.grad().requires_grad());
  Tensor first = p.grad();
  p.zero_grad();
  backward(first.sum());
  EXPECT_THAT(p.grad().to_vector<float>(), ElementsAre(18, 18));
}

TEST(Backward, WalksAMillionNodesOnASmallStack) {
  int64_t cut = std::exchange(settings().cut_nodes, 0);
  int64_t bytes = std::exchange(settings().cut_bytes, 0);
  auto run = [](void*) -> void* {
    Parameter p(full({}, 1.0));
    Tensor x = p;
    for (int i = 0; i < 1'000'000; ++i) x = -x;
    x.backward();
    EXPECT_TRUE(p.grad().defined());
    p.zero_grad();
    return nullptr;
  };
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 256 << 10);
  pthread_t thread;
  ASSERT_EQ(pthread_create(&thread, &attributes, run, nullptr), 0);
  pthread_join(thread, nullptr);
  pthread_attr_destroy(&attributes);
  settings().cut_nodes = cut;
  settings().cut_bytes = bytes;
}

TEST(Grad, OfTensorsAndParametersLeavesCellsAlone) {
  Parameter p(full({}, 3.0));
  Tensor x = variable(full({}, 2.0));
  Tensor loss = p * p * x + x;
  std::vector<Tensor> gradients = grad(loss, {x, p});
  EXPECT_FLOAT_EQ(gradients[0].item<float>(), 10);
  EXPECT_FLOAT_EQ(gradients[1].item<float>(), 12);
  EXPECT_FALSE(p.grad().defined());
}

TEST(Grad, OfAnIntermediateTensorLeavesTheTapeBelowIt) {
  Parameter p(full({}, 3.0));
  Tensor hidden = p * 2.0;
  Tensor loss = hidden * hidden;
  EXPECT_FLOAT_EQ(grad(loss, {hidden})[0].item<float>(), 12);
  EXPECT_TRUE(hidden.requires_grad());
  backward(hidden);
  EXPECT_FLOAT_EQ(p.grad().item<float>(), 2);
}

TEST(Grad, RefusesWhatTheLossDoesNotDependOn) {
  Tensor x = variable(full({}, 2.0)), y = variable(full({3}, 2.0)), plain = full({}, 1.0);
  Tensor loss = x * x * plain;
  expect_error([&] { (void)grad(loss, {x, y}); }, __LINE__, "does not depend on target 1");
  expect_error([&] { (void)grad(loss, {plain}); }, __LINE__, "needs no gradient");
  std::vector<Tensor> gradients = grad(loss, {x, y}, {.allow_unused = true});
  EXPECT_FLOAT_EQ(gradients[0].item<float>(), 4);
  EXPECT_THAT(gradients[1].to_vector<float>(), ElementsAre(0, 0, 0));
}

TEST(Transform, GradientsOfGradients) {
  auto cube = [](const Tensor& x) { return x * x * x; };
  Tensor x = full({}, 2.0);
  EXPECT_FLOAT_EQ(grad(cube)(x).item<float>(), 12);
  EXPECT_FLOAT_EQ(grad(grad(cube))(x).item<float>(), 12);
  EXPECT_FLOAT_EQ(grad(grad(grad(cube)))(x).item<float>(), 6);
  EXPECT_FALSE(grad(cube)(x).requires_grad());
}

TEST(Transform, SeveralInputsAndTheValue) {
  auto f = [](const Tensor& x, const Tensor& y) { return x * x * y; };
  auto [value, gradients] = value_and_grad(f)(full({}, 3.0), full({}, 5.0));
  EXPECT_FLOAT_EQ(value.item<float>(), 45);
  EXPECT_FLOAT_EQ(gradients[0].item<float>(), 30);
  EXPECT_FLOAT_EQ(gradients[1].item<float>(), 9);
}

TEST(Transform, WhatTheFunctionCapturesStaysDifferentiable) {
  // The penalty (d/dx p x^2)^2 = 4 p^2 x^2 has the derivative 8 p x^2 in p.
  Parameter p(full({}, 3.0));
  Tensor slope = grad([&](const Tensor& x) { return p * x * x; })(full({}, 2.0));
  (slope * slope).backward();
  EXPECT_FLOAT_EQ(p.grad().item<float>(), 96);
}

TEST(Transform, WorksInsideNoGradAndOfAConstantFunction) {
  NoGrad off;
  Tensor slope = grad([](const Tensor& x) { return x * x; })(full({}, 2.0));
  EXPECT_FLOAT_EQ(slope.item<float>(), 4);
  EXPECT_FALSE(slope.requires_grad());
  EXPECT_FLOAT_EQ(grad([](const Tensor&) { return full({}, 1.0); })(full({}, 2.0)).item<float>(),
                  0);
}

TEST(Transform, PullbackMayBeCalledAgain) {
  auto [value, pullback] = vjp([](const Tensor& x) { return x * x; }, numbers({1, 2, 3}, {3}));
  EXPECT_THAT(value.to_vector<double>(), ElementsAre(1, 4, 9));
  EXPECT_THAT(pullback(numbers({1, 1, 1}, {3})).to_vector<double>(), ElementsAre(2, 4, 6));
  EXPECT_THAT(pullback(numbers({0, 10, 0}, {3})).to_vector<double>(), ElementsAre(0, 40, 0));
}

TEST(Transform, JacobianTimesVector) {
  auto [value, change] =
      jvp([](const Tensor& x) { return x * x; }, numbers({1, 2, 3}, {3}), numbers({1, 0, 10}, {3}));
  EXPECT_THAT(value.to_vector<double>(), ElementsAre(1, 4, 9));
  EXPECT_THAT(change.to_vector<double>(), ElementsAre(2, 0, 60));
  EXPECT_FALSE(value.requires_grad() || change.requires_grad());

  auto f = [](const Tensor& a, const Tensor& b) { return matmul(a, b); };
  Tensor a = numbers({1, 2}, {1, 2}), b = numbers({3, 4}, {2, 1});
  auto [product, along] =
      jvp(f, std::array{a, b}, std::array{numbers({10, 0}, {1, 2}), numbers({0, 100}, {2, 1})});
  EXPECT_EQ(product.item<double>(), 11);
  EXPECT_EQ(along.item<double>(), 30 + 200);
  Tensor none = jvp([](const Tensor&) { return full({}, 1.0); }, a, a).second;
  EXPECT_EQ(none.item<float>(), 0);
}

TEST(Transform, ForwardOverReverseIsAHessianTimesAVector) {
  // f = sum x^3: Hessian diag(6 x).
  auto slope = grad([](const Tensor& x) { return (x * x * x).sum(); });
  Tensor change = jvp(slope, numbers({1, 2}, {2}), numbers({1, 10}, {2})).second;
  EXPECT_THAT(change.to_vector<double>(), ElementsAre(6, 120));
  Tensor back = grad([&](const Tensor& x) {
    return jvp([](const Tensor& y) { return y * y * y; }, x, numbers({1, 10}, {2})).second.sum();
  })(numbers({1, 2}, {2}));
  EXPECT_THAT(back.to_vector<double>(), ElementsAre(6, 120));
}

// Gradients of small programs against central differences, in f64.
struct Program {
  const char* name;
  Shape shape;
  Tensor (*run)(const Tensor& x);
};

const Program programs[] = {
    {"sum of squares", {4}, [](const Tensor& x) { return (x * x).sum(); }},
    {"reused value",
     {3},
     [](const Tensor& x) {
       Tensor y = x * x;
       return (y * x + y / (x + 3.0)).sum();
     }},
    {"matmul with itself", {3, 3}, [](const Tensor& x) { return matmul(x, x.transpose()).sum(); }},
    {"linear, mean square",
     {2, 3},
     [](const Tensor& x) {
       Tensor w = numbers({1, -2, 3, 0.5, 0.25, -1, 2, 2, -3, 1, 1, 1}, {4, 3});
       Tensor y = linear(x, w, numbers({1, 2, 3, 4}, {4}));
       return (y * y).mean();
     }},
    {"broadcast against its own row sum",
     {3, 4},
     [](const Tensor& x) { return (x / (x.sum({1}, true) + 9.0) * x.sum({0})).sum(); }},
    {"maximum of rows",
     {3, 4},
     [](const Tensor& x) { return (max(x, {1}) * max(x, {0}).sum()).sum(); }},
    {"slices and concat",
     {4, 2},
     [](const Tensor& x) {
       Tensor y = concat({x[{Slice{1, 4}}], x[{Slice{.step = 2}}]}, 0);
       return (y * y * y).sum();
     }},
    {"transposed flat view",
     {2, 3},
     [](const Tensor& x) {
       Tensor y = x.transpose().flatten();
       return (y * y.flip()).sum();
     }},
    {"take with a repeat",
     {4, 2},
     [](const Tensor& x) {
       Tensor y = take(x, from_vector<int64_t>({1, 3, 1}), 0);
       return (y * y).sum();
     }},
    {"square root of positive", {4}, [](const Tensor& x) { return sqrt(x * x + 1.0).sum(); }},
    {"where", {5}, [](const Tensor& x) { return where(x < 0.1, x * x, x * 3.0).sum(); }},
};

class AgainstDifferences : public testing::TestWithParam<Program> {};

TEST_P(AgainstDifferences, Agree) {
  const Program& program = GetParam();
  std::mt19937 engine(7);
  std::uniform_real_distribution<double> draw(-2, 2);
  std::vector<double> at(size_t(program.shape.numel()));
  for (double& value : at) value = draw(engine);
  auto value_at = [&](const std::vector<double>& values) {
    return program.run(numbers(values, program.shape)).item<double>();
  };
  std::vector<double> gradient = grad(program.run)(numbers(at, program.shape)).to_vector<double>();
  for (size_t i = 0; i < at.size(); ++i) {
    constexpr double h = 1e-5;
    std::vector<double> above = at, below = at;
    above[i] += h;
    below[i] -= h;
    double difference = (value_at(above) - value_at(below)) / (2 * h);
    EXPECT_NEAR(gradient[i], difference, 1e-6 * (1 + std::abs(difference)))
        << program.name << " element " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Programs, AgainstDifferences, testing::ValuesIn(programs));

}  // namespace
}  // namespace encore
