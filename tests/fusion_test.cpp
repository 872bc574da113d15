// How many launches a program costs: the fuser's promises, one a test. Values are checked against
// the same program with fusing off.
#include <encore/autograd/backward.h>
#include <encore/autograd/parameter.h>
#include <encore/core/settings.h>
#include <encore/encore.h>
#include <encore/lazy/composite.h>
#include <encore/optim/adam.h>
#include <encore/trace/statistics.h>
#include <gtest/gtest.h>

namespace encore {
namespace {

struct Run {
  int64_t launches;
  std::vector<std::vector<float>> values;
};

/// Records with `program`, computes its results in one step, and counts.
template <class Program>
Run run(Program program) {
  encore::sync();
  std::vector<Tensor> results = program();
  int64_t before = trace::statistics().launches;
  encore::sync();
  Run result{trace::statistics().launches - before, {}};
  for (const Tensor& tensor : results) result.values.push_back(tensor.to_vector<float>());
  return result;
}

template <class Program>
void expect_launches(int64_t launches, Program program, float tolerance = 2e-5f) {
  Run fused = run(program);
  EXPECT_EQ(fused.launches, launches);
  settings().fuse = false;
  Run apart = run(program);
  settings().fuse = true;
  EXPECT_GT(apart.launches, launches);
  ASSERT_EQ(fused.values.size(), apart.values.size());
  for (size_t i = 0; i < fused.values.size(); ++i)
    for (size_t j = 0; j < fused.values[i].size(); ++j)
      ASSERT_NEAR(fused.values[i][j], apart.values[i][j],
                  tolerance * (1 + std::abs(apart.values[i][j])))
          << "result " << i << " element " << j;
}

Tensor random(Shape shape) {
  Tensor x = randn(shape);
  eval(x);
  return x;
}

TEST(Fusion, GeluChainIsOneLaunch) {
  Tensor a = random({64, 96}), b = random({64, 96}), c = random({64, 96}), bias = random({96});
  expect_launches(1, [&] { return std::vector{gelu(a * b + bias) + c}; });
  expect_launches(1, [&] { return std::vector{gelu(a * b + bias, GeluForm::tanh) + c}; });
}

TEST(Fusion, SoftmaxIsOneLaunch) {
  Tensor x = random({64, 100});
  expect_launches(1, [&] { return std::vector{softmax(x * 0.125, -1)}; });
  expect_launches(1, [&] { return std::vector{log_softmax(x, -1)}; });
}

std::vector<Tensor> layer_norm_step(const Tensor& value, const Tensor& scale, const Tensor& shift,
                                    const Tensor& dy, bool sync_between) {
  Parameter x(value), g(scale), b(shift);
  Tensor y = layer_norm(x, {value.shape()[1]}, g, b);
  if (sync_between) encore::sync();
  backward((y * dy).sum());
  return {x.grad(), g.grad(), b.grad()};
}

TEST(Fusion, LayerNormForwardAndBackwardInOneTraceIsOneLaunchAndAFinish) {
  // Long enough for several chunks of rows.
  Tensor x = random({512, 512}), dy = random({512, 512}), g = random({512}), b = random({512});
  expect_launches(2, [&] { return layer_norm_step(x, g, b, dy, false); }, 1e-4f);
}

TEST(Fusion, LayerNormAcrossASyncIsTwoLaunchesAndAFinish) {
  Tensor x = random({512, 512}), dy = random({512, 512}), g = random({512}), b = random({512});
  encore::sync();
  int64_t before = trace::statistics().launches;
  std::vector<Tensor> results = layer_norm_step(x, g, b, dy, true);
  encore::sync();
  EXPECT_EQ(trace::statistics().launches - before, 3);
}

TEST(Fusion, CrossEntropyForwardAndBackwardIsOneLaunchAndAFinish) {
  Tensor x = random({64, 10}), labels = randint(0, 10, {64});
  eval(labels);
  expect_launches(2, [&] {
    Parameter logits(x);
    Tensor loss = cross_entropy(logits, labels);
    backward(loss);
    return std::vector{loss, logits.grad()};
  });
}

TEST(Fusion, LinearBiasGeluIsOneContraction) {
  Tensor x = random({64, 48}), w = random({80, 48}), b = random({80});
  expect_launches(1, [&] { return std::vector{gelu(linear(x, w, b), GeluForm::tanh)}; }, 1e-4f);
}

TEST(Fusion, TheBiasGradientIsTheContractionsColumnAccumulator) {
  // dy of the first layer is a product with the second weight; its epilogue masks, stores and sums.
  Tensor x = random({64, 48}), w = random({32, 80}), h = random({64, 80}), dy = random({64, 32});
  expect_launches(
      1,
      [&] {
        Tensor d = where(h > 0.0, matmul(dy, w), 0.0);
        return std::vector{d, d.sum({0})};
      },
      1e-4f);
}

TEST(Fusion, AProloguesIntermediateIsNeverStored) {
  std::vector<uint8_t> bytes(64 * 48);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = uint8_t(i * 7);
  Tensor images = from_vector(bytes, {64, 48}), w = random({48, 32});
  expect_launches(1, [&] { return std::vector{matmul(images.to(f32) / 255.0, w)}; }, 1e-4f);
}

TEST(Fusion, AdamWOverTwentyParametersOfSixSizesIsOneLaunch) {
  std::vector<Parameter> parameters;
  for (int i = 0; i < 20; ++i) parameters.emplace_back(random({10 + 7 * (i % 6), 30}));
  AdamW optimizer(std::vector<ParameterRef>(parameters.begin(), parameters.end()));
  for (int step = 0; step < 3; ++step) {
    for (Parameter& p : parameters) p.set_grad(random(p.shape()));
    int64_t before = trace::statistics().launches, compiled = trace::statistics().kernels_compiled;
    optimizer.step();
    EXPECT_EQ(trace::statistics().launches - before, 1);
    if (step > 0) {
      EXPECT_EQ(trace::statistics().kernels_compiled, compiled);
    }
  }
}

TEST(Fusion, AValueFirstNeededInALaterSweepMayWaitForAnother) {
  Tensor x = random({48, 33});
  expect_launches(
      1,
      [&] {
        Tensor dear = tanh(x) * sigmoid(x);
        Tensor centered = dear * x.sum({1}, true);
        return std::vector{centered / centered.sum({1}, true) + dear};
      },
      1e-3f);
}

TEST(Fusion, ADeepChainIsCutIntoFewKernelsThatRepeat) {
  Tensor x = random({64});
  encore::sync();
  int64_t compiled = trace::statistics().kernels_compiled;
  Tensor y = x;
  for (int i = 0; i < 200; ++i) y = tanh(y * 1.01 + 0.1);
  eval(y);
  EXPECT_LE(trace::statistics().kernels_compiled - compiled, 4);
}

}  // namespace
}  // namespace encore
