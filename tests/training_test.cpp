// Is a training step one trace that is compiled once, whatever the rate, the count and the loss?
#include <encore/encore.h>
#include <gmock/gmock.h>

#include <cmath>
#include <thread>
#include <utility>

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

/// Weights after some steps, from given initial ones; `between` runs after the forward pass.
template <class Between>
std::vector<float> trained(Net net, const Spirals& data, Between between) {
  Sgd optimizer(net.parameters(), {.lr = 0.1});
  for (int step = 0; step < 5; ++step) {
    Tensor loss = cross_entropy(net(data.x), data.y);
    between(loss);
    optimizer.minimize(loss);
  }
  return net.fc1.weight.value().to_vector<float>();
}

void expect_near(const std::vector<float>& found, const std::vector<float>& expected) {
  EXPECT_THAT(found, testing::Pointwise(testing::FloatNear(1e-5f), expected));
}

TEST(Training, ReadingTheLossFirstChangesNothing) {
  manual_seed(9);
  Spirals data(16);
  Net net;
  std::vector<float> expected = trained(net, data, [](Tensor&) {});
  expect_near(trained(net, data, [](Tensor& loss) { (void)loss.item<float>(); }), expected);
  expect_near(trained(net, data, [](Tensor& loss) { eval(loss); }), expected);
}

TEST(Training, AutomaticCutsChangeNothing) {
  manual_seed(10);
  Spirals data(16);
  Net net;
  std::vector<float> expected = trained(net, data, [](Tensor&) {});
  int64_t cuts = stats().cuts;
  for (int64_t budget : {5, 13, 40}) {
    int64_t before = std::exchange(settings().cut_nodes, budget);
    std::vector<float> found = trained(net, data, [](Tensor&) {});
    settings().cut_nodes = before;
    expect_near(found, expected);
  }
  EXPECT_GT(stats().cuts, cuts + 10);
}

TEST(Training, ThreadsTrainTheirOwnModels) {
  manual_seed(11);
  Spirals data(16);
  std::vector<Net> nets(4);
  std::vector<std::vector<float>> expected, found(nets.size());
  for (const Net& net : nets) expected.push_back(trained(net, data, [](Tensor&) {}));
  std::vector<std::thread> threads;
  for (size_t i = 0; i < nets.size(); ++i)
    threads.emplace_back([&, i] { found[i] = trained(nets[i], data, [](Tensor&) {}); });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(found, expected);
}

TEST(Stats, AreTabledOneLineACounter) {
  Stats before = stats();
  eval(full({3}, 1.0) + full({3}, 2.0));
  Stats after = stats();
  EXPECT_EQ(after.syncs, before.syncs + 1);
  EXPECT_GE(after.launches, before.launches + 1);
  std::string text = stats_table(after);
  EXPECT_THAT(text, testing::HasSubstr("trace hits"));
  EXPECT_THAT(text, testing::HasSubstr("peak bytes"));
}

}  // namespace
}  // namespace encore
