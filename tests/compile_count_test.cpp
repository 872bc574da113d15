// Does compiling grow with what is different, not with what is written, and no faster than the
// program? Kernels are counted, and, as work that takes no clock, allocations.
#include <encore/encore.h>
#include <encore/trace/runtime.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <cstdlib>
#include <new>

namespace {
std::atomic<int64_t> allocations;
}

// The library's allocations come here as well.
[[gnu::noinline]] void* operator new(size_t bytes) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  if (void* memory = std::malloc(bytes ? bytes : 1)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void* operator new(size_t bytes, const std::nothrow_t&) noexcept {
  allocations.fetch_add(1, std::memory_order_relaxed);
  return std::malloc(bytes ? bytes : 1);
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, size_t) noexcept { std::free(memory); }

namespace encore {
namespace {

/// Kernels that a network of `layers` equal layers compiles for its first training step.
int64_t kernels_of(int layers, int64_t width) {
  trace::runtime().clear_caches();
  manual_seed(2);
  Sequential model;
  for (int i = 0; i < layers; ++i) {
    model.append(Linear(width, width));
    model.append(LayerNorm(width));
    model.append(ReLU());
  }
  Sgd optimizer(model.parameters(), {.lr = 0.01});
  Tensor x = randn({8, width});
  eval(x);
  int64_t before = stats().kernels_compiled;
  backward(model(x).mean());
  optimizer.step();
  return stats().kernels_compiled - before;
}

TEST(CompileCount, SixtyFourEqualLayersCompileEachKernelOnce) {
  int64_t few = kernels_of(4, 24), many = kernels_of(64, 24);
  std::printf("4 layers: %lld kernels, 64 layers: %lld\n", (long long)few, (long long)many);
  EXPECT_EQ(many, few);
}

// Weights and biases of layers that were made alike are one value at first.
TEST(CompileCount, TheSecondStepOfTrainingCompilesNothing) {
  auto model = [] {
    return Sequential{Linear(6, 8), LayerNorm(8), GELU(), Linear(8, 8), LayerNorm(8), Linear(8, 3)};
  };
  auto missed_after_the_first = [](Sequential& model, auto&& optimizer) {
    Tensor x = randn({16, 6}), labels = randint(0, 3, {16});
    eval(x, labels);
    int64_t after_first = 0;
    for (int step = 0; step < 4; ++step) {
      optimizer.minimize(cross_entropy(model(x), labels));
      if (step == 0) after_first = stats().trace_misses;
    }
    return stats().trace_misses - after_first;
  };
  Sequential first = model(), second = model();
  EXPECT_EQ(missed_after_the_first(first, Sgd(first.parameters(), {.lr = 0.01, .momentum = 0.9})),
            0);
  EXPECT_EQ(missed_after_the_first(second, AdamW(second.parameters(), {.lr = 0.01})), 0);
  for (const ParameterRef& parameter : second.parameters())
    for (float value : parameter.value().to_vector<float>()) EXPECT_TRUE(std::isfinite(value));
}

TEST(CompileCount, TwiceTheOpsCompileAtMostTwiceTheKernels) {
  for (int layers : {2, 4, 8, 16}) {
    int64_t once = kernels_of(layers, 16), twice = kernels_of(2 * layers, 16);
    EXPECT_LE(double(twice), 2.3 * double(once)) << layers;
  }
}

TEST(CompileCount, DifferentOpsGrowLinearly) {
  auto kernels = [](int count) {
    trace::runtime().clear_caches();
    Tensor x = from_vector<float>({0.25, 0.5});
    eval(x);
    int64_t before = stats().kernels_compiled;
    Tensor y = x;
    for (int i = 0; i < count; ++i) {
      for (int k = 0; k <= i % 8; ++k) y = tanh(y) + 0.5;
      y = y.sum({0}, true) * x + y;
    }
    eval(y);
    return stats().kernels_compiled - before;
  };
  int64_t once = kernels(16), twice = kernels(32), fourfold = kernels(64);
  EXPECT_LE(double(twice), 2.3 * double(once));
  EXPECT_LE(double(fourfold), 2.3 * double(twice));
}

/// Allocations of the first training step of a network of equal layers.
int64_t allocations_of(int layers) {
  int64_t before = allocations;
  kernels_of(layers, 16);
  return allocations - before;
}

TEST(CompileCount, TwiceTheLayersTakeAtMostTwiceTheWork) {
  kernels_of(2, 16);  // what is done once a process
  for (int layers : {8, 16, 32, 64}) {
    int64_t once = allocations_of(layers), twice = allocations_of(2 * layers);
    EXPECT_GT(once, 1000 * layers) << "the library's allocations are not seen";
    EXPECT_LE(double(twice), 2.3 * double(once)) << layers;
  }
}

TEST(CompileCount, TwiceTheNodesTakeAtMostTwiceTheWork) {
  auto work = [](int nodes) {
    trace::runtime().clear_caches();
    Tensor x = from_vector<float>({0.25, 0.5, 4}), y = x;
    int64_t before = allocations;
    for (int i = 0; i < nodes / 2; ++i) y = i % 7 == 6 ? y * x + y.sum({0}, true) : y * x + 0.5;
    eval(y);
    return allocations - before;
  };
  work(100);
  for (int nodes : {500, 1000, 2000}) {
    int64_t once = work(nodes), twice = work(2 * nodes);
    EXPECT_LE(double(twice), 2.3 * double(once)) << nodes;
  }
}

}  // namespace
}  // namespace encore
