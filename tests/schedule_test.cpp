// Do the schedules follow PyTorch's definitions? Compared with its recursions, or with values that
// its documentation gives.
#include <encore/lazy/create.h>
#include <encore/optim/adam.h>
#include <encore/optim/schedule.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

namespace encore {
namespace {

TEST(Schedule, StepDecay) {
  // torch.optim.lr_scheduler.StepLR: 0.05 below 30, 0.005 below 60, 0.0005 below 90.
  Schedule rate = step_decay({.base = 0.05, .every = 30, .gamma = 0.1});
  EXPECT_DOUBLE_EQ(rate(0), 0.05);
  EXPECT_DOUBLE_EQ(rate(29), 0.05);
  EXPECT_DOUBLE_EQ(rate(30), 0.005);
  EXPECT_NEAR(rate(60), 0.0005, 1e-18);
  EXPECT_NEAR(rate(89), 0.0005, 1e-18);
}

TEST(Schedule, CosineEqualsPyTorchsRecursion) {
  constexpr int64_t steps = 50;
  constexpr double minimum = 0.001, base = 0.3;
  Schedule rate = cosine_annealing({.base = base, .steps = steps, .minimum = minimum});
  double expected = base;
  for (int64_t t = 0; t <= steps; ++t) {
    EXPECT_NEAR(rate(t), expected, 1e-12) << t;
    expected = (1 + std::cos(std::numbers::pi * double(t + 1) / steps)) /
                   (1 + std::cos(std::numbers::pi * double(t) / steps)) * (expected - minimum) +
               minimum;
  }
}

TEST(Schedule, LinearWarmup) {
  // torch.optim.lr_scheduler.LinearLR(start_factor=0.5, total_iters=4) from 0.05.
  Schedule rate = linear_warmup({.base = 0.05, .steps = 4, .start_factor = 0.5});
  const double expected[] = {0.025, 0.03125, 0.0375, 0.04375, 0.05, 0.05};
  for (int64_t t = 0; t < 6; ++t) EXPECT_NEAR(rate(t), expected[t], 1e-15) << t;
}

TEST(Schedule, OneCycleRisesAndFallsAlongHalfCosines) {
  OneCycle options{.maximum = 1.0, .steps = 101, .warmup_share = 0.3};
  Schedule rate = one_cycle(options), momentum = one_cycle_momentum(options);
  double peak = 0.3 * 101 - 1, initial = 1.0 / 25, last = initial / 1e4;
  EXPECT_NEAR(rate(0), initial, 1e-15);
  EXPECT_NEAR(rate(100), last, 1e-15);
  EXPECT_NEAR(momentum(0), 0.95, 1e-15);
  EXPECT_NEAR(momentum(100), 0.95, 1e-15);
  for (int64_t t = 1; t < 101; ++t) {
    bool rising = double(t) <= peak;
    EXPECT_EQ(rate(t) > rate(t - 1), rising || t == 30) << t;
    EXPECT_EQ(momentum(t) < momentum(t - 1), rising || t == 30) << t;
  }
  EXPECT_NEAR(rate(20), 1 + (initial - 1) * (1 + std::cos(std::numbers::pi * 20 / peak)) / 2,
              1e-14);
  double share = (60 - peak) / (100 - peak);
  EXPECT_NEAR(rate(60), last + (1 - last) * (1 + std::cos(std::numbers::pi * share)) / 2, 1e-14);
  // A loop of 101 times { optimizer.step(); schedule.step(); } asks once more than it uses.
  EXPECT_EQ(rate(101), rate(100));
  EXPECT_EQ(momentum(101), momentum(100));
  EXPECT_THROW((void)rate(102), Error);
}

TEST(Schedule, SequenceStartsTheSecondAtItsOwnZero) {
  Schedule rate = sequence(linear_warmup({.base = 1, .steps = 10, .start_factor = 0.1}), 10,
                           cosine_annealing({.base = 1, .steps = 20}));
  EXPECT_NEAR(rate(9), 0.91, 1e-15);
  EXPECT_NEAR(rate(10), 1, 1e-15);
  EXPECT_NEAR(rate(30), 0, 1e-15);
}

TEST(Scheduler, SetsTheRateFromTheStart) {
  Parameter p(full({2}, 1.0));
  Adam optimizer({p}, {.lr = 7});
  Scheduler scheduler(optimizer, [](int64_t step) { return 0.5 - 0.1 * double(step); });
  EXPECT_DOUBLE_EQ(optimizer.learning_rate(), 0.5);
  scheduler.step();
  EXPECT_DOUBLE_EQ(optimizer.learning_rate(), 0.4);
  EXPECT_EQ(scheduler.steps(), 1);
}

}  // namespace
}  // namespace encore
