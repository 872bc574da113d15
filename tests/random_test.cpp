// Random tensors: what they record, the numbers they stand for, and the generator's state.
#include <encore/lazy/random.h>
#include <encore/trace/statistics.h>

#include <algorithm>
#include <set>
#include <thread>

#include "graph_oracle.h"

namespace encore {
namespace {

using namespace testing;

TEST(Philox, KnownAnswers) {  // of the Random123 library
  using Words = std::array<uint32_t, 4>;
  EXPECT_EQ(philox({0, 0, 0, 0}, {0, 0}), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox({~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}),
            (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Random, TheSeedRepeatsAndEveryDrawDiffers) {
  manual_seed(7);
  Doubles first = values(rand({5})), second = values(rand({5}));
  EXPECT_NE(first, second);
  manual_seed(7);
  EXPECT_EQ(values(rand({5})), first);
  EXPECT_EQ(values(rand({5})), second);
  manual_seed(8);
  EXPECT_NE(values(rand({5})), first);
}

TEST(Random, OneTensorKeepsItsNumbers) {
  Tensor x = rand({16});
  expect_values(x - x, Doubles(16));
}

/// The node of random bits below a result.
const Node* bits_below(const Node* node) {
  while (node->op != OpId::random_bits) node = node->inputs[node->inputs[0]->op == OpId::literal];
  return node;
}

TEST(Random, SeedAndDrawAreArguments) {
  manual_seed(-3);
  Tensor x = rand({2});
  const Node* bits = bits_below(x.node());
  ASSERT_EQ(bits->input_count, 2u);
  for (int i : {0, 1}) {
    EXPECT_EQ(bits->inputs[i]->op, OpId::scalar);
    EXPECT_EQ(bits->inputs[i]->dtype, i64);
  }
  EXPECT_EQ(int64_t(bits->inputs[0]->bits), -3);
  EXPECT_EQ(bits->inputs[1]->bits, 0u);
  EXPECT_EQ(bits_below(rand({2}).node())->inputs[1]->bits, 1u);
}

TEST(Rand, IsTheLeadingBits) {
  manual_seed(11);
  Doubles single = values(rand({9})), wide = values(rand({9}, {.dtype = f64}));
  for (uint32_t i = 0; i < 9; ++i) {
    EXPECT_EQ(single[i], (philox({i, 0, 0, 0}, {11, 0})[0] >> 8) * 0x1p-24);
    auto words = philox({i, 0, 1, 0}, {11, 0});
    EXPECT_EQ(wide[i], double(uint64_t(words[0] >> 5) << 26 | words[1] >> 6) * 0x1p-53);
  }
}

TEST(Rand, StaysBelowOneInEveryDType) {
  for (DType dtype : {f16, bf16, f32, f64}) {
    SCOPED_TRACE(name_of(dtype));
    manual_seed(1);
    Tensor x = rand({5000}, {.dtype = dtype});
    EXPECT_EQ(x.dtype(), dtype);
    Doubles found = values(x);
    double sum = 0;
    for (double value : found) sum += value;
    EXPECT_GE(*std::min_element(found.begin(), found.end()), 0);
    EXPECT_LT(*std::max_element(found.begin(), found.end()), 1);
    EXPECT_NEAR(sum / 5000, 0.5, 4 * std::sqrt(1.0 / 12 / 5000));
  }
}

TEST(Randn, HasTheMomentsOfANormal) {
  for (DType dtype : {bf16, f32, f64}) {
    manual_seed(2);
    const double count = 10000;
    double moments[5] = {};
    for (double value : values(randn({100, 100}, {.dtype = dtype})))
      for (int power = 1; power <= 4; ++power) moments[power] += std::pow(value, power) / count;
    EXPECT_NEAR(moments[1], 0, 4 / std::sqrt(count));
    EXPECT_NEAR(moments[2], 1, 4 * std::sqrt(2 / count));
    EXPECT_NEAR(moments[3], 0, 4 * std::sqrt(15 / count));
    EXPECT_NEAR(moments[4], 3, 4 * std::sqrt(96 / count));
  }
}

TEST(Randint, CoversItsRange) {
  manual_seed(3);
  std::vector<int> seen(7);
  for (double value : values(randint(-3, 4, {7000}))) {
    ASSERT_GE(value, -3);
    ASSERT_LT(value, 4);
    ++seen[int(value) + 3];
  }
  for (int count : seen) EXPECT_NEAR(count, 1000, 4 * std::sqrt(1000));
  EXPECT_EQ(randint(0, 10, {2}, {.dtype = u8}).dtype(), u8);
  expect_values(randint(5, 6, {3}), {5, 5, 5});
}

TEST(Bernoulli, FollowsItsProbability) {
  manual_seed(4);
  double ones = 0;
  for (double value : values(bernoulli(0.3, {10000}))) {
    EXPECT_TRUE(value == 0 || value == 1);
    ones += value;
  }
  EXPECT_NEAR(ones, 3000, 4 * std::sqrt(2100));
  expect_values(bernoulli(leaf(Doubles{0, 1}, {2, 1}), {2, 3}), {0, 0, 0, 1, 1, 1});
  EXPECT_EQ(bernoulli(0.5, {2}, {.dtype = boolean}).dtype(), boolean);
}

TEST(Random, TheRuntimeDrawsTheNumbersOfTheNodes) {
  for (int64_t length : {1, 15, 16, 17, 1000})
    for (DType dtype : {f16, bf16, f32, f64}) {
      SCOPED_TRACE(name_of(dtype));
      Tensor x = rand({length}, {.dtype = dtype}), y = randn({length}, {.dtype = f64});
      Doubles expected = values(x);
      EXPECT_EQ(x.to_vector<double>(), expected);
      expected = values(y);
      expect_close(y.to_vector<double>(), expected, 1e-13);
      Tensor z = randint(-100, 1000, {length}), coin = bernoulli(0.25, {length});
      expected = values(z);
      EXPECT_EQ(z.to_vector<double>(), expected);
      expected = values(coin);
      EXPECT_EQ(coin.to_vector<double>(), expected);
    }
}

TEST(Randint, SpansSixtyFourBits) {
  manual_seed(12);
  constexpr int64_t low = -(int64_t(1) << 62), high = (int64_t(1) << 62) + 5;
  std::vector<int64_t> found = randint(low, high, {40}).to_vector<int64_t>();
  for (uint32_t i = 0; i < 40; ++i) {
    auto words = philox({i, 0, 0, 0}, {12, 0});
    uint64_t offset = (uint64_t(words[0]) << 32 | words[1]) % (uint64_t(high) - uint64_t(low));
    EXPECT_EQ(found[i], int64_t(uint64_t(low) + offset));
  }
}

TEST(Random, ReplaysDrawNewNumbers) {
  manual_seed(13);
  std::set<double> seen;
  int64_t compiled = 0;
  for (int step = 0; step < 20; ++step) {
    for (double value : rand({8}, {.dtype = f64}).to_vector<double>()) seen.insert(value);
    if (step == 0) compiled = trace::statistics().kernels_compiled;
  }
  EXPECT_EQ(trace::statistics().kernels_compiled, compiled);
  EXPECT_EQ(seen.size(), 160u);
}

TEST(Random, Refuses) {
  EXPECT_REFUSED(rand({2, -1}), "rand", "[2, -1]");
  EXPECT_REFUSED(rand({2}, {.dtype = i32}), "rand", "i32");
  EXPECT_REFUSED(randn({2}, {.dtype = boolean}), "randn", "bool");
  EXPECT_REFUSED(randint(3, 3, {2}), "[3, 3)");
  EXPECT_REFUSED(bernoulli(1.5, {2}), "p = 1.5");
  EXPECT_REFUSED(bernoulli(leaf(Doubles{0, 1}, {2}), {3}), "[2]", "[3]");
  EXPECT_REFUSED(randperm(-1), "-1");
}

TEST(Random, KeepsTheLineOfTheCaller) {
  Tensor x = randn({2});
  for (const Node* node = x.node(); node->input_count > 0; node = node->inputs[0])
    EXPECT_EQ(node->location.line, uint32_t(__LINE__ - 2)) << name_of(node->op);
  EXPECT_STREQ(x.node()->scope, "randn");
}

TEST(Random, NoGradientFlows) {
  Tensor p = variable(leaf(Doubles{0.5}, {1}));
  EXPECT_FALSE(bernoulli(p, {1}, {.dtype = f64}).requires_grad());
  EXPECT_TRUE((p * rand({1}, {.dtype = f64})).requires_grad());
}

TEST(Random, ThreadsNeverShareADraw) {
  manual_seed(5);
  constexpr int threads = 4, draws = 200;
  std::vector<std::vector<uint64_t>> found(threads);
  std::vector<std::thread> workers;
  for (int i = 0; i < threads; ++i)
    workers.emplace_back([&found, i] {
      for (int draw = 0; draw < draws; ++draw)
        found[i].push_back(bits_below(rand({1}).node())->inputs[1]->bits);
    });
  for (std::thread& worker : workers) worker.join();
  std::set<uint64_t> all;
  for (const auto& part : found) all.insert(part.begin(), part.end());
  EXPECT_EQ(all.size(), size_t(threads * draws));
}

TEST(Randperm, IsAPermutation) {
  manual_seed(6);
  Doubles first = values(randperm(100)), second = values(randperm(100));
  EXPECT_NE(first, second);
  std::sort(second.begin(), second.end());
  for (int i = 0; i < 100; ++i) EXPECT_EQ(second[i], i);
  manual_seed(6);
  EXPECT_EQ(values(randperm(100)), first);
  EXPECT_EQ(randperm(0).shape(), Shape{0});
}

}  // namespace
}  // namespace encore
