// Are random numbers those of (seed, draw) whatever runs them: unfused, fused, replayed?
#include <encore/encore.h>
#include <encore/trace/runtime.h>
#include <gtest/gtest.h>

namespace encore {
namespace {

std::vector<std::vector<float>> program() {
  std::vector<std::vector<float>> results;
  Tensor x = from_vector<float>({1, 2, 3, 4, 5, 6, 7, 8}, {2, 4});
  for (int i = 0; i < 4; ++i) {  // the first run compiles, the others replay
    Tensor noisy = dropout(x * 2.0 + rand({2, 4}), 0.5) + randn({4}) * bernoulli(0.3, {2, 1});
    results.push_back(noisy.to_vector<float>());
    results.push_back((x + randint(0, 100, {2, 4}).to(f32)).to_vector<float>());
  }
  return results;
}

class RandomReplay : public ::testing::Test {
 protected:
  RandomReplay() : before_(settings()) { settings().strict = true; }
  ~RandomReplay() override { settings() = before_; }
  Settings before_;
};

TEST_F(RandomReplay, UnfusedFusedAndReplayedAgreeBitwise) {
  manual_seed(42);
  auto fused = program();
  settings().fuse = false;
  manual_seed(42);
  auto unfused = program();
  settings().fuse = true;
  manual_seed(42);
  int64_t misses = stats().trace_misses;
  auto replayed = program();
  EXPECT_EQ(stats().trace_misses, misses);
  EXPECT_EQ(fused, unfused);
  EXPECT_EQ(fused, replayed);
}

TEST_F(RandomReplay, TheInterpreterDrawsTheSameNumbers) {
  auto draw = [] {
    manual_seed(7);
    return std::pair(rand({37}).to_vector<float>(), randint(-5, 5, {64}).to_vector<int64_t>());
  };
  auto compiled = draw();
  settings().backend = "reference";
  trace::runtime().clear_caches();
  auto interpreted = draw();
  settings().backend = before_.backend;
  trace::runtime().clear_caches();
  EXPECT_EQ(compiled, interpreted);
}

}  // namespace
}  // namespace encore
