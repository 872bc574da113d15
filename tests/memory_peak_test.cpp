// Does donation work? The peak of a training step, next to what a program written by hand, in
// place, must hold.
#include <encore/encore.h>
#include <encore/trace/statistics.h>
#include <gtest/gtest.h>

namespace encore {
namespace {

TEST(MemoryPeak, ATrainingStepHoldsNothingTwice) {
  constexpr int64_t batch = 512, in = 256, hidden = 512, classes = 16;
  manual_seed(1);
  int64_t before = stats().live_bytes;
  Sequential model{Linear(in, hidden), ReLU(), Linear(hidden, hidden), ReLU(),
                   Linear(hidden, classes)};
  AdamW optimizer(model.parameters(), {.lr = 1e-3});
  Tensor x = randn({batch, in}), labels = randint(0, classes, {batch});
  eval(x, labels);
  auto step = [&] {
    optimizer.zero_grad();
    backward(cross_entropy(model(x), labels));
    optimizer.step();
  };
  for (int i = 0; i < 3; ++i) step();
  trace::reset_peak_bytes();
  step();
  int64_t peak = stats().peak_bytes - before;

  // One of each, in f32: a parameter, its two states and its gradient; the batch; at the worst
  // moment an activation and the gradients of two layers' activations, the two masks of relu, and
  // logits with their gradient.
  int64_t parameters = in * hidden + hidden + hidden * hidden + hidden + hidden * classes + classes;
  int64_t held = 4 * parameters * 4 + batch * in * 4 + batch * 8;
  int64_t passing = 3 * batch * hidden * 4 + 2 * batch * hidden + 2 * batch * classes * 4;
  std::printf("peak %lld bytes, %lld are needed\n", (long long)peak, (long long)(held + passing));
  EXPECT_LE(double(peak), 1.05 * double(held + passing));
}

TEST(MemoryPeak, AnUpdateInALoopNeedsNoSecondBuffer) {
  constexpr int64_t bytes = 16 << 20;
  Tensor x = ones({bytes / 4}) + rand({1}) * 0.0;
  encore::sync();
  int64_t before = stats().live_bytes;
  trace::reset_peak_bytes();
  for (int i = 0; i < 5; ++i) {
    x = x * 1.5 + 0.5;
    encore::sync();
  }
  EXPECT_LE(stats().peak_bytes - before, bytes / 20);
  EXPECT_EQ(x[{0}].item<float>(), 14.1875f);  // 1 -> 2 -> 3.5 -> 5.75 -> 9.125 -> 14.1875
}

TEST(MemoryPeak, WhatSomebodyHoldsIsNeverOverwritten) {
  Tensor x = from_vector<float>({1, 2, 3});
  encore::sync();
  Tensor held = x;
  for (int i = 0; i < 3; ++i) {
    x = x * 2.0;
    encore::sync();
  }
  EXPECT_EQ(held.to_vector<float>(), (std::vector<float>{1, 2, 3}));
  EXPECT_EQ(x.to_vector<float>(), (std::vector<float>{8, 16, 24}));
}

}  // namespace
}  // namespace encore
