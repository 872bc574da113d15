// Caches keep within their budgets, and what they drop is freed.
#include <encore/cache/lru.h>
#include <encore/encore.h>
#include <encore/trace/statistics.h>
#include <gtest/gtest.h>

#include <fstream>
#include <memory>
#include <string>

namespace encore {
namespace {

TEST(Lru, DropsTheLeastRecentlyUsed) {
  cache::Lru<int, std::string> cache(10);
  cache.put(1, "one", 4);
  cache.put(2, "two", 4);
  EXPECT_EQ(*cache.find(1), "one");
  cache.put(3, "three", 4);
  EXPECT_EQ(cache.find(2), nullptr);
  EXPECT_NE(cache.find(1), nullptr);
  EXPECT_EQ(cache.bytes(), 8);
  EXPECT_EQ(cache.evictions(), 1);
}

TEST(Lru, KeepsTheNewestEvenWhenItIsTooLarge) {
  cache::Lru<int, std::string> cache(10);
  cache.put(1, "one", 4);
  cache.put(2, "large", 40);
  EXPECT_EQ(cache.size(), 1u);
  EXPECT_NE(cache.find(2), nullptr);
  EXPECT_FALSE(cache.evict_oldest());
}

TEST(Lru, ReplacesWhatStandsUnderAKey) {
  cache::Lru<int, std::shared_ptr<int>> cache(10);
  auto first = std::make_shared<int>(1);
  cache.put(1, first, 4);
  cache.put(1, std::make_shared<int>(2), 6);
  EXPECT_EQ(first.use_count(), 1);
  EXPECT_EQ(cache.bytes(), 6);
  EXPECT_EQ(**cache.find(1), 2);
}

int64_t mappings() {
  std::ifstream maps("/proc/self/maps");
  int64_t count = 0;
  for (std::string line; std::getline(maps, line);) ++count;
  return count;
}

/// A program of its own for every number: which ops it has are the number's bits.
float run_program(int number) {
  Tensor x = from_vector<float>({1, 2, 3});
  float expected = 2;
  for (int bit = 0; bit < 10; ++bit) {
    bool adds = number >> bit & 1;
    x = adds ? x + 1.0 : x * 2.0;
    expected = adds ? expected + 1 : expected * 2;
  }
  return x.to_vector<float>()[1] - expected;
}

/// Programs hold the kernels that they launch, so both must go.
TEST(Cache, ManyProgramsReachAPlateauOfCode) {
  settings().cache_bytes = 1 << 20;  // before the runtime's first use
  for (int number = 0; number < 200; ++number) ASSERT_EQ(run_program(number), 0);
  int64_t before = mappings();
  for (int number = 200; number < 800; ++number) ASSERT_EQ(run_program(number), 0);
  EXPECT_LT(mappings(), before + 50);
  EXPECT_GT(trace::statistics().evictions, 0);
  EXPECT_EQ(trace::statistics().trace_misses, 800);
}

}  // namespace
}  // namespace encore
