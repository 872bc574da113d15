// Do tensors on a CUDA device do what tensors do? On a GPU where there is one, else on the fake
// driver, whose kernels run on the host.
#include <encore/encore.h>
#include <encore/jit/backend.h>
#include <encore/jit/cuda/driver.h>
#include <encore/trace/runtime.h>
#include <gmock/gmock.h>

#include <cmath>
#include <numeric>
#include <random>
#include <sstream>
#include <thread>

#include "fake_cuda_driver.h"

namespace encore {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

bool on_real_gpu = false;

std::vector<float> random_values(size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

Tensor on_gpu(const std::vector<float>& values, Shape shape) {
  return from_vector(values, shape, cuda(0));
}
Tensor on_cpu(const std::vector<float>& values, Shape shape) {
  return from_vector(values, shape, cpu);
}

int64_t live_on_gpu() { return cuda.memory(0).held; }

class CudaTensorTest : public ::testing::Test {
 protected:
  void TearDown() override { jit::cuda::fail_call(0, 0); }
};

TEST_F(CudaTensorTest, QueriesTellOfTheDevice) {
  EXPECT_TRUE(cuda.is_available());
  EXPECT_GE(cuda.device_count(), 1);
  DeviceBytes before = cuda.memory(0);
  EXPECT_GT(before.total, 0);
  EXPECT_LE(before.free, before.total);
  Tensor x = on_gpu(random_values(1000, 1), {1000});
  EXPECT_EQ(cuda.memory(0).held, before.held + 4000);
  EXPECT_GE(cuda.memory(0).reserved, 4000);
}

TEST_F(CudaTensorTest, ValuesComeBack) {
  std::vector<float> values = random_values(1000, 1);
  Tensor x = on_gpu(values, {10, 100});
  EXPECT_EQ(x.device(), cuda(0));
  EXPECT_EQ(x.to_vector<float>(), values);
  EXPECT_EQ(from_vector<int64_t>({7}, {1}, cuda(0)).item<int64_t>(), 7);
  EXPECT_TRUE(from_vector<bool>({true}, {1}, cuda(0)).item<bool>());
  EXPECT_THAT(from_vector<float>({}, {0, 3}, cuda(0)).to_vector<float>(), ElementsAre());
  std::ostringstream text;
  text << from_vector<float>({1, 2.5}, {2}, cuda(0));
  EXPECT_EQ(text.str(), "[1.  2.5]");
}

TEST_F(CudaTensorTest, LargeValuesComeBack) {
  std::vector<float> values(10'000'003);
  std::iota(values.begin(), values.end(), 0.f);
  Tensor x = on_gpu(values, {10'000'003});
  std::fill(values.begin(), values.end(), -1.f);  // what was copied is free again
  std::vector<float> back = x.to_vector<float>();
  std::iota(values.begin(), values.end(), 0.f);
  EXPECT_TRUE(back == values);
}

TEST_F(CudaTensorTest, ElementwiseProgramsHaveTheCpusBits) {
  std::vector<float> a = random_values(1025, 2), b = random_values(1025, 3);
  auto compute = [&](Device device) {
    Tensor x = from_vector(a, {1025}, device), y = from_vector(b, {1025}, device);
    return (tanh(x) * exp(y * 0.5) + sqrt(abs(x)) / (y * y + 1.0)).to_vector<float>();
  };
  EXPECT_EQ(compute(cuda(0)), compute(cpu));
}

TEST_F(CudaTensorTest, FactoriesAndRandomNumbersAreTheCpus) {
  auto all = [](Device device) {
    Options options{.device = device};
    std::vector<std::vector<float>> results;
    results.push_back(full({3, 2}, 1.5, options).to_vector<float>());
    results.push_back((zeros({5}, options) + ones({5}, options)).to_vector<float>());
    results.push_back(arange(0, 10, 3, options).to_vector<float>());
    manual_seed(11);
    results.push_back(rand({100}, options).to_vector<float>());
    results.push_back(randn({100}, options).to_vector<float>());
    return results;
  };
  EXPECT_EQ(all(cuda(0)), all(cpu));
}

TEST_F(CudaTensorTest, ReductionsAgree) {
  std::vector<float> values = random_values(64 * 300, 4);
  Tensor x = on_gpu(values, {64, 300});
  std::vector<float> sums = x.sum({1}).to_vector<float>(), most = x.max({0}).to_vector<float>();
  for (size_t row = 0; row < 64; ++row) {
    double sum = 0;
    for (size_t i = 0; i < 300; ++i) sum += values[row * 300 + i];
    EXPECT_NEAR(sums[row], sum, 1e-4);
  }
  EXPECT_EQ(most, on_cpu(values, {64, 300}).max({0}).to_vector<float>());
  std::vector<float> weights = softmax(x, 1).to_vector<float>();
  EXPECT_NEAR(std::accumulate(weights.begin(), weights.end(), 0.0), 64, 1e-4);
}

TEST_F(CudaTensorTest, ViewsAndIndexing) {
  std::vector<float> values = random_values(6 * 8, 5);
  auto compute = [&](Device device) {
    Tensor x = from_vector(values, {6, 8}, device);
    x[{Slice{1, 3}}] = x[{Slice{3, 5}}] * 2.0;
    Tensor index = from_vector<int64_t>({5, 0, -1}, {3}, device);
    return concat({x.transpose(0, 1).reshape({48}), take(x, index, 0).reshape({24})}, 0)
        .to_vector<float>();
  };
  EXPECT_EQ(compute(cuda(0)), compute(cpu));
}

TEST_F(CudaTensorTest, MovesBetweenDevices) {
  std::vector<float> values = random_values(10, 6);
  Tensor x = on_cpu(values, {10});
  Tensor there = (x * 2.0).to(cuda(0));
  EXPECT_EQ(there.device(), cuda(0));
  Tensor back = (there + 1.0).to(cpu);
  EXPECT_EQ(back.device(), cpu);
  EXPECT_EQ(back.to_vector<float>(), (x * 2.0 + 1.0).to_vector<float>());
  EXPECT_EQ(x.to(cpu).node(), x.node());
  if (cuda.device_count() < 2) return;
  Tensor second = there.to(cuda(1));
  EXPECT_EQ((second + 1.0).to_vector<float>(), back.to_vector<float>());
}

TEST_F(CudaTensorTest, GradientsMoveBack) {
  std::vector<float> values = random_values(10, 7);
  auto gradient = [&](Device device) {
    Parameter p(on_cpu(values, {10}));
    Tensor x = p.tensor() * 3.0;
    Tensor y = x.to(device);
    Tensor z = (y * y).to(cpu);
    backward((z * 2.0).sum());
    EXPECT_EQ(p.grad().device(), cpu);
    return p.grad().to_vector<float>();
  };
  EXPECT_EQ(gradient(cuda(0)), gradient(cpu));
}

TEST_F(CudaTensorTest, AnOpOverTwoDevicesIsRefusedAtItsLine) {
  Tensor a = ones({2}, {.device = cpu}), b = ones({2}, {.device = cuda(0)});
  const int line = __LINE__ + 2;
  try {
    a + b;
    FAIL() << "it was recorded";
  } catch (const Error& error) {
    EXPECT_EQ(error.where().line, line);
    EXPECT_THAT(error.message(), HasSubstr("cpu and cuda:0"));
  }
  EXPECT_THROW(concat({a, b}, 0), Error);
  EXPECT_THROW(where(a > 0.0, b, b), Error);
}

TEST_F(CudaTensorTest, OneSyncComputesTheWorkOfAllDevices) {
  Tensor a = on_cpu({1, 2}, {2}) * 2.0, b = on_gpu({1, 2}, {2}) * 3.0;
  Tensor c = a + 1.0, d = b + 1.0;
  eval(c, d);
  for (const Tensor& each : {a, b, c, d}) EXPECT_TRUE(each.node()->materialized());
  EXPECT_THAT(c.to_vector<float>(), ElementsAre(3, 5));
  EXPECT_THAT(d.to_vector<float>(), ElementsAre(4, 7));
  Tensor e = c * c, f = d * d;
  sync();
  EXPECT_TRUE(e.node()->materialized());
  EXPECT_TRUE(f.node()->materialized());
  EXPECT_THAT(f.to_vector<float>(), ElementsAre(16, 49));
}

/// A small training loop without products: p follows its targets.
std::vector<float> train(Device device, int steps) {
  Parameter p(from_vector(random_values(300, 8), {3, 100}, device));
  Parameter scale(ones({100}, {.device = device}));
  std::vector<ParameterRef> all = {p, scale};
  Adam optimizer(all, {.lr = 0.01});
  for (int step = 0; step < steps; ++step) {
    Tensor target = from_vector(random_values(300, unsigned(step)), {3, 100}, device);
    Tensor error = p.tensor() * scale.tensor() - target;
    optimizer.zero_grad();
    backward((error * error).sum());
    optimizer.step();
  }
  std::vector<float> result = p.value().to_vector<float>();
  std::vector<float> more = scale.value().to_vector<float>();
  result.insert(result.end(), more.begin(), more.end());
  return result;
}

TEST_F(CudaTensorTest, ATrainingLoopFollowsTheCpus) {
  std::vector<float> here = train(cpu, 12), there = train(cuda(0), 12);
  ASSERT_EQ(here.size(), there.size());
  for (size_t i = 0; i < here.size(); ++i) EXPECT_NEAR(here[i], there[i], 1e-5) << i;
}

TEST_F(CudaTensorTest, ModulesMoveWithTheirGradients) {
  manual_seed(1);
  LayerNorm norm(64);
  norm.to(cuda(0));
  for (const ParameterRef& parameter : norm.parameters()) EXPECT_EQ(parameter.device(), cuda(0));
  std::vector<float> values = random_values(5 * 64, 9);
  auto gradients = [&](Device device) {
    Tensor y = norm(from_vector(values, {5, 64}, device));
    backward((y * y * y).sum());
    norm.to(cpu);
    return norm.parameters()[0].grad().to_vector<float>();
  };
  std::vector<float> there = gradients(cuda(0));
  norm.zero_grad();
  std::vector<float> here = gradients(cpu);
  for (size_t i = 0; i < here.size(); ++i)
    EXPECT_NEAR(here[i], there[i], 1e-4 * std::max(1.f, std::abs(here[i])));
}

TEST_F(CudaTensorTest, ANetworkTrainsAsOnTheCpu) {
  auto losses = [](Device device) {
    manual_seed(3);
    Sequential model(Linear(20, 64), LayerNorm(64), GELU(), Linear(64, 10));
    model.to(device);
    AdamW optimizer(model.parameters(), {.lr = 0.01});
    std::vector<float> values;
    for (int step = 0; step < 30; ++step) {
      Tensor x = from_vector(random_values(32 * 20, unsigned(step % 4)), {32, 20}, device);
      Tensor target = x[{Slice{}, Slice{0, 10}}] * 2.0;
      optimizer.zero_grad();
      Tensor error = model(x) - target, loss = (error * error).mean();
      backward(loss);
      optimizer.step();
      values.push_back(loss.item<float>());
    }
    return values;
  };
  std::vector<float> here = losses(cpu), there = losses(cuda(0));
  EXPECT_LT(here.back(), 0.5f * here.front());
  for (size_t i = 0; i < here.size(); ++i) EXPECT_NEAR(here[i], there[i], 1e-2 * here[i]) << i;
}

TEST_F(CudaTensorTest, ProductsOfManyShapesShareFewKernels) {
  auto product = [](int64_t rows, int64_t depth, int64_t columns) {
    const std::vector<float> a = random_values(size_t(rows * depth), 1);
    const std::vector<float> b = random_values(size_t(depth * columns), 2);
    std::vector<float> result =
        matmul(on_gpu(a, {rows, depth}), on_gpu(b, {depth, columns})).to_vector<float>();
    for (int64_t i = 0; i < rows * columns; i += 7) {
      double sum = 0;
      for (int64_t k = 0; k < depth; ++k)
        sum += double(a[size_t(i / columns * depth + k)]) * b[size_t(k * columns + i % columns)];
      EXPECT_NEAR(result[size_t(i)], sum, 1e-4 * double(depth)) << rows << " " << depth;
    }
  };
  trace::runtime().clear_caches();
  const int64_t before = trace::statistics().kernels_compiled;
  auto compiled = [&] { return trace::statistics().kernels_compiled - before; };
  product(40, 24, 48);
  EXPECT_EQ(compiled(), 1);
  product(44, 28, 52);
  product(24, 20, 40);
  product(30, 44, 70);
  EXPECT_EQ(compiled(), 2);  // sizes as arguments
  product(20, 1000, 36);
  EXPECT_EQ(compiled(), 3);  // another plan: parts of sums
  product(24, 1200, 28);
  product(28, 32, 60);
  EXPECT_EQ(compiled(), 4);
}

/// Three kernels that cannot be one.
Tensor three_launches(const Tensor& x) {
  Tensor a = x - x.mean();
  return a / (a * a).mean();
}

TEST_F(CudaTensorTest, AProgramOfSeveralLaunchesIsReplayedAsOneGraph) {
  const int runs = on_real_gpu ? 1000 : 20;
  std::vector<Tensor> held;  // so that every run has other outputs, and mostly other inputs
  int64_t graphs = stats().graph_launches;
  for (int i = 0; i < runs; ++i) {
    held.push_back(three_launches(on_gpu(random_values(40'000, unsigned(i)), {40'000})));
    eval(held.back());
  }
  if (stats().graph_launches == graphs) GTEST_SKIP() << "the program has too few launches";
  EXPECT_EQ(stats().graph_launches, graphs + runs - 1);
  for (int i = 0; i < runs; ++i) {
    std::vector<float> expected =
        three_launches(on_cpu(random_values(40'000, unsigned(i)), {40'000})).to_vector<float>();
    std::vector<float> found = held[size_t(i)].to_vector<float>();
    for (size_t k = 0; k < expected.size(); k += 997)
      ASSERT_NEAR(found[k], expected[k], 1e-5 * std::max(1.f, std::abs(expected[k])));
  }
}

TEST_F(CudaTensorTest, CompiledFunctionsRunOnTheDevice) {
  auto function = compile([](const Tensor& x, const Tensor& y) { return x * y + 1.0; });
  for (int i = 0; i < 3; ++i) {
    Tensor x = on_gpu(random_values(50, unsigned(i)), {50});
    std::vector<float> expected =
        (on_cpu(random_values(50, unsigned(i)), {50}) * float(i) + 1.0).to_vector<float>();
    EXPECT_EQ(function(x, full({50}, float(i), {.device = cuda(0)})).to_vector<float>(), expected);
    EXPECT_EQ(function(x, float(i)).to_vector<float>(), expected);  // a number takes x's device
  }
}

TEST_F(CudaTensorTest, NothingLeaks) {
  train(cuda(0), 2);
  int64_t baseline = live_on_gpu();
  for (int i = 0; i < 3; ++i) train(cuda(0), 3);
  EXPECT_EQ(live_on_gpu(), baseline);
  EXPECT_GE(stats().live_bytes, baseline);
}

/// Asks for too much, then computes something; what is held afterwards.
int64_t held_after_too_much() {
  Tensor small = ones({4}, {.device = cuda(0)}) * 2.0;
  Tensor huge = zeros({int64_t(1) << 45}, {.device = cuda(0)}) + small.sum();
  const int line = __LINE__ + 2;
  try {
    huge.to_vector<float>();
    ADD_FAILURE() << "there was memory";
  } catch (const OutOfMemory& error) {
    EXPECT_EQ(error.where().line, line);
    EXPECT_EQ(error.requested(), size_t(4) << 45);
    EXPECT_THAT(error.message(), HasSubstr("CUDA device 0"));
  }
  huge = Tensor();
  EXPECT_THAT(small.to_vector<float>(), ElementsAre(2, 2, 2, 2));
  small = Tensor();
  return live_on_gpu();
}

TEST_F(CudaTensorTest, OutOfMemoryIsTypedAtTheUsersLineAndSurvived) {
  int64_t once = held_after_too_much();  // the scratch arena
  EXPECT_EQ(held_after_too_much(), once);
}

TEST_F(CudaTensorTest, CheckNumericsFindsTheCulprit) {
  settings().check_numerics = true;
  Tensor x = on_gpu({1, 0, 2}, {3});
  const int line = __LINE__ + 1;
  Tensor y = 1.0 / x;
  Tensor z = y + 1.0;
  try {
    eval(z);
    ADD_FAILURE() << "nobody noticed";
  } catch (const Error& error) {
    EXPECT_EQ(error.where().line, line);
  }
  settings().check_numerics = false;
  EXPECT_FLOAT_EQ(z.to_vector<float>()[2], 1.5);
}

TEST_F(CudaTensorTest, ThreadsShareTheDevice) {
  std::vector<std::thread> threads;
  std::vector<double> sums(4);
  for (size_t t = 0; t < 4; ++t)
    threads.emplace_back([t, &sums] {
      for (int i = 0; i < 20; ++i) {
        Tensor x = on_gpu(std::vector<float>(2000, float(t + 1)), {2000});
        Tensor y = x * float(i) + 1.0;
        sums[t] += (y - 1.0).max().item<float>();
      }
    });
  for (std::thread& thread : threads) thread.join();
  for (size_t t = 0; t < 4; ++t) EXPECT_EQ(sums[t], 190.0 * double(t + 1));
}

/// Several kernels, an arena, outputs, a gradient, copies both ways.
std::vector<float> small_program() {
  Parameter p(from_vector<float>({1, 2, 3, 4, 5, 6}, {2, 3}, cuda(0)));
  Tensor y = p.tensor() * 2.0;
  Tensor normal = y / (y.sum({1}, true) + 1.0);
  backward((normal * normal).sum());
  Tensor gradient = p.grad();
  eval(normal, gradient);
  std::vector<float> all = normal.to_vector<float>(), more = gradient.to_vector<float>();
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

/// Lets the n-th driver call fail, for n = 1, 2 … as long as there is one that throws; how many
/// did. With `stays` all that follow fail, too: what is tried once more then throws as well.
int fail_each_call(jit::cuda::CUresult code, bool forget, bool stays = false) {
  std::vector<float> expected = small_program();
  int64_t baseline = live_on_gpu();
  for (int n = 1; n < 1000; ++n) {
    if (forget) trace::runtime().clear_caches();
    bool failed = false;
    jit::cuda::fail_call(n, code, {}, stays);
    try {
      EXPECT_EQ(small_program(), expected) << n;
    } catch (const Error& error) {
      failed = true;
      EXPECT_FALSE(error.message().empty());
    }
    jit::cuda::fail_call(0, 0);
    EXPECT_LE(live_on_gpu(), baseline) << "after failure " << n;
    EXPECT_EQ(small_program(), expected) << "after failure " << n;
    EXPECT_LE(live_on_gpu(), baseline) << "after failure " << n;
    baseline = live_on_gpu();  // less where an earlier program's scratch memory had to go
    if (!failed) return n - 1;
  }
  return 1000;
}

TEST_F(CudaTensorTest, AFailureAtEveryDriverCallOfAReplayIsSurvived) {
  int failures = fail_each_call(1, false);
  EXPECT_GE(failures, 5);
  std::printf("%d calls failed in turn\n", failures);
}

TEST_F(CudaTensorTest, AFailureAtEveryDriverCallOfAFirstRunIsSurvived) {
  int failures = fail_each_call(1, true);
  EXPECT_GE(failures, 8);
  std::printf("%d calls failed in turn\n", failures);
}

TEST_F(CudaTensorTest, NoMemoryAtEveryDriverCallOfAFirstRunIsSurvived) {
  EXPECT_GE(fail_each_call(jit::cuda::CUDA_ERROR_OUT_OF_MEMORY, true, true), 8);
}

}  // namespace
}  // namespace encore

int main(int count, char** arguments) {
  ::testing::InitGoogleTest(&count, arguments);
  encore::on_real_gpu = encore::fake_cuda::use_gpu_or_fake();
  std::printf("on %s\n", encore::on_real_gpu ? "a GPU" : "the fake driver");
  return RUN_ALL_TESTS();
}
