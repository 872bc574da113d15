// Is a training step one trace that is compiled once, whatever the rate, the count and the loss?
#include <encore/encore.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace encore {
namespace {

struct Net : Module {
  Linear fc1{2, 32}, fc2{32, 32}, fc3{32, 2};
  Tensor forward(const Tensor& x) { return fc3(tanh(fc2(tanh(fc1(x))))); }
  ENCORE_MEMBERS(fc1, fc2, fc3)
};

/// Two interleaved spirals, `count` points each.
struct Spirals {
  explicit Spirals(int count) {
    std::vector<float> points;
    std::vector<int64_t> classes;
    for (int i = 0; i < 2 * count; ++i) {
      double share = double(i / 2) / count, angle = 5 * share + (i % 2) * 3.14159265;
      points.push_back(float((share + 0.1) * std::cos(angle)));
      points.push_back(float((share + 0.1) * std::sin(angle)));
      classes.push_back(i % 2);
    }
    x = from_vector(points, {2 * count, 2});
    y = from_vector(classes);
  }
  Tensor x, y;
};

Tensor train_step(Net& net, Optimizer& optimizer, const Tensor& x, const Tensor& y) {
  optimizer.zero_grad();
  Tensor loss = cross_entropy(net(x), y);
  loss.backward();
  optimizer.step();
  return loss;
}

TEST(Training, LearnsSpiralsAndCompilesNothingAfterTheSecondStep) {
  manual_seed(3);
  Spirals data(64);
  Net net;
  AdamW optimizer(net.parameters(), {.lr = 0.01});
  constexpr int steps = 400;
  OneCycle cycle{.maximum = 0.03, .steps = steps + 1};
  Scheduler schedule(optimizer, one_cycle(cycle), one_cycle_momentum(cycle));
  Stats settled;
  Tensor loss;
  for (int step = 0; step < steps; ++step) {
    loss = train_step(net, optimizer, data.x, data.y);
    schedule.step();
    if (step == 1) settled = stats();
  }
  Stats after = stats();
  EXPECT_EQ(after.trace_misses, settled.trace_misses);
  EXPECT_EQ(after.kernels_compiled, settled.kernels_compiled);
  EXPECT_EQ(after.syncs - settled.syncs, steps - 2);
  EXPECT_EQ(after.live_bytes, settled.live_bytes);
  EXPECT_LT(loss.item<float>(), 0.05f);
}

TEST(Training, ANewPatternOfSyncsCompilesOnce) {
  manual_seed(4);
  Spirals data(16);
  Net net;
  Sgd optimizer(net.parameters(), {.lr = 0.1, .momentum = 0.9});
  Tensor total = zeros({});
  Stats settled;
  for (int step = 0; step < 60; ++step) {
    Tensor loss = train_step(net, optimizer, data.x, data.y);
    if (step % 10 == 0) {
      NoGrad off;
      total += loss * 2.0;
      EXPECT_TRUE(std::isfinite(total.item<float>()));
    }
    if (step == 20) settled = stats();
  }
  EXPECT_EQ(stats().trace_misses, settled.trace_misses);
}

TEST(Training, AShortLastBatchCompilesOnceMore) {
  manual_seed(5);
  Spirals data(16);
  Net net;
  AdamW optimizer(net.parameters());
  Tensor head = data.x[{Slice{0, 7}}], head_y = data.y[{Slice{0, 7}}];
  eval(head, head_y);
  auto epoch = [&] {
    for (int step = 0; step < 3; ++step) train_step(net, optimizer, data.x, data.y);
    train_step(net, optimizer, head, head_y);
  };
  epoch();
  epoch();
  int64_t settled = stats().trace_misses;
  epoch();
  EXPECT_EQ(stats().trace_misses, settled);
}

TEST(Training, HoldsNoMoreThanParametersStatesAndGradients) {
  manual_seed(6);
  constexpr int64_t size = 512;
  Linear layer(size, size, {.bias = false});
  AdamW optimizer(layer.parameters());
  Tensor x = ones({8, size});
  eval(x);
  auto step = [&] {
    optimizer.zero_grad();
    layer(x).sum().backward();
    optimizer.step();
  };
  for (int i = 0; i < 3; ++i) step();
  trace::reset_peak_bytes();
  for (int i = 0; i < 3; ++i) step();
  // Weight, two states and the gradient, each of 1 MiB; updated in place, so never a second copy.
  constexpr double matrix = double(size * size * 4);
  EXPECT_LE(double(stats().peak_bytes), 4.3 * matrix);
}

TEST(Training, TwoRunsFromOneSeedAreEqual) {
  auto run = [] {
    manual_seed(8);
    Spirals data(16);
    Net net;
    AdamW optimizer(net.parameters());
    for (int step = 0; step < 20; ++step) train_step(net, optimizer, data.x, data.y);
    return net.fc2.weight.value().to_vector<float>();
  };
  EXPECT_EQ(run(), run());
}

}  // namespace
}  // namespace encore
