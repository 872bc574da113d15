// Do numbers that a program hands to ops stay out of keys? Compiles are counted over whole
// trainings.
#include <encore/encore.h>
#include <gtest/gtest.h>

namespace encore {
namespace {

int64_t compiles() { return stats().kernels_compiled; }
int64_t misses() { return stats().trace_misses; }

TEST(ScalarArgument, TenThousandAdamWOneCycleStepsCompileNothingAfterTheSecond) {
  constexpr int steps = 10'000;
  manual_seed(3);
  Sequential model{Linear(4, 8), ReLU(), Linear(8, 1)};
  AdamW optimizer(model.parameters(), {.weight_decay = 0.1});
  OneCycle cycle{.maximum = 0.02, .steps = steps + 1};
  Scheduler schedule(optimizer, one_cycle(cycle), one_cycle_momentum(cycle));
  Tensor x = randn({16, 4}), y = x.sum({1}, true);
  eval(x, y);
  int64_t after_second = 0, misses_after_second = 0;
  double first_loss = 0, last_loss = 0;
  int64_t before_read = 0, compiles_by_reads = 0, misses_by_reads = 0;
  for (int step = 0; step < steps; ++step) {
    Tensor loss = mse_loss(model(x), y);
    optimizer.zero_grad();
    backward(loss);
    optimizer.step();
    schedule.step();
    if (step == 1) after_second = compiles(), misses_after_second = misses();
    if (step == 1) first_loss = loss.item<float>();
    if (step == steps - 1) last_loss = loss.item<float>();
    if (step > 1 &&
        step % 100 == 0) {  // a new pattern: what follows a step is read before the next
      before_read = compiles();
      int64_t missed = misses();
      EXPECT_GE(abs(model(x) - y).max().item<float>(), 0);
      compiles_by_reads += compiles() - before_read;
      misses_by_reads += misses() - missed;
      EXPECT_EQ(compiles() > before_read, step == 100) << step;
    }
  }
  EXPECT_EQ(compiles() - after_second, compiles_by_reads);
  EXPECT_EQ(misses() - misses_after_second, misses_by_reads);
  EXPECT_EQ(misses_by_reads, 1);
  EXPECT_LT(last_loss, first_loss / 100);
}

TEST(ScalarArgument, AReadInsideTheStepCompilesOnceThenNever) {
  Parameter p(from_vector<float>({1, 2, 3}));
  Sgd optimizer({p}, {.lr = 0.01});
  int64_t at_first_read = 0;
  float last = 1;
  for (int step = 1; step <= 1000; ++step) {
    Tensor loss = ((p - 1.0) * (p - 1.0)).sum();
    optimizer.zero_grad();
    backward(loss);
    if (step % 100 == 0) last = loss.item<float>();
    optimizer.set_learning_rate(0.01 / step);
    optimizer.step();
    if (step == 100) at_first_read = misses();
  }
  EXPECT_EQ(misses(), at_first_read);
  EXPECT_LT(last, 5);
}

TEST(ScalarArgument, NumbersThatHappenToBeEqualShareNothing) {
  Tensor x = from_vector<float>({1, 2, 3});
  auto run = [&](double a, double b) { return (x * a + b * x * x).to_vector<float>(); };
  EXPECT_EQ(run(2, 3), (std::vector<float>{5, 16, 33}));
  int64_t before = misses();
  EXPECT_EQ(run(2, 2), (std::vector<float>{4, 12, 24}));
  EXPECT_EQ(run(0, 0), (std::vector<float>{0, 0, 0}));
  EXPECT_EQ(run(1, 1), (std::vector<float>{2, 6, 12}));
  EXPECT_EQ(run(7, -1), (std::vector<float>{6, 10, 12}));
  EXPECT_EQ(misses(), before);
}

TEST(ScalarArgument, NumbersOfEveryDtypeAreArguments) {
  for (DType dtype : {f64, f32, f16, bf16, i64, i32, u8}) {
    SCOPED_TRACE(std::string(name_of(dtype)));
    Tensor x = from_vector<float>({1, 2, 3}).to(dtype);
    eval(x);
    auto run = [&](int a) { return (x * a).to_vector<double>(); };
    EXPECT_EQ(run(3), (std::vector<double>{3, 6, 9}));
    int64_t before = misses();
    for (int a : {1, 2, 5, 0}) EXPECT_EQ(run(a), (std::vector<double>{1. * a, 2. * a, 3. * a}));
    EXPECT_EQ(misses(), before);
  }
}

}  // namespace
}  // namespace encore
