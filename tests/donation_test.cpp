// Do random programs that rebind their variables between syncs compute the same when memory is
// reused as when nothing is: every value held, every op in a kernel of its own?
#include <encore/core/settings.h>
#include <encore/encore.h>
#include <encore/trace/runtime.h>
#include <encore/trace/statistics.h>
#include <gtest/gtest.h>

#include <random>

#include "each_backend.h"

namespace encore {
namespace {

/// Squares of one size, so that anything might stand in anything's place.
class Program {
 public:
  Program(uint64_t seed, bool holds_everything) : random_(seed), holds_(holds_everything) {
    size_ = std::array{3, 16, 33, 40}[random_() % 4];
    for (int i = 0; i < 4; ++i) live_.push_back(source());
    encore::sync();
  }

  std::vector<std::vector<float>> run() {
    int steps = 2 + int(random_() % 2);
    for (int step = 0; step < steps; ++step) {
      int ops = 4 + int(random_() % 12);
      for (int i = 0; i < ops; ++i) {
        Tensor next = combine(any(), any());
        // Scaled, so that products of products stay finite.
        assign(any(), next * 0.125);
      }
      encore::sync();
    }
    std::vector<std::vector<float>> results;
    for (const Tensor& tensor : live_) results.push_back(tensor.to_vector<float>());
    return results;
  }

 private:
  Tensor source() {
    std::vector<float> values;
    for (int i = 0; i < size_ * size_; ++i)
      values.push_back(float(int(random_() % 2001) - 1000) / 500.f);
    return from_vector(values, {size_, size_});
  }
  Tensor& any() { return live_[random_() % live_.size()]; }

  void assign(Tensor& to, const Tensor& value) {
    if (holds_) held_.push_back(to);
    to = value;
  }

  Tensor combine(const Tensor& a, const Tensor& b) {
    switch (random_() % 9) {
      case 0:
      case 1:
        return matmul(a, b);
      case 2:
        return relu(matmul(a, transpose(b, 0, 1)) + a);
      case 3:
        return where(a > 0.0, b, 0.0);
      case 4:
        return a + b * 0.5;
      case 5:
        return a - b.sum({0});
      case 6:
        return a * b.mean({1}, true);
      case 7:
        return transpose(a, 0, 1) + b;
      default:
        return tanh(a);
    }
  }

  std::mt19937_64 random_;
  bool holds_;
  int size_;
  std::vector<Tensor> live_, held_;
};

/// A fourth of the programs each.
class Donation : public ::testing::TestWithParam<uint64_t> {};

TEST_P(Donation, ReusedMemoryChangesNothing) {
  Settings before = settings();
  settings().strict = true;
  int64_t smaller = 0;
  for (uint64_t seed = GetParam(); seed < GetParam() + 25; ++seed) {
    settings().fuse = false;
    auto expected = Program(seed, true).run();
    settings().fuse = true;
    Program reusing(seed, false);
    trace::reset_peak_bytes();
    ASSERT_EQ(reusing.run(), expected) << "seed " << seed;
    int64_t peak = stats().peak_bytes;
    Program holding(seed, true);
    trace::reset_peak_bytes();
    ASSERT_EQ(holding.run(), expected) << "seed " << seed;
    smaller += peak < stats().peak_bytes;
  }
  settings() = before;
  EXPECT_GE(smaller, 20);  // so memory was reused
}

INSTANTIATE_TEST_SUITE_P(Seeds, Donation, ::testing::Values(1, 26, 51, 76));

TEST(InterpretedDonation, ReusedMemoryChangesNothing) {
  if (default_device() != cpu) GTEST_SKIP() << "the interpreter runs on the CPU";
  Settings before = settings();
  settings().strict = true;
  testing::on_each_backend([] {
    if (settings().backend != "reference") return;
    for (uint64_t seed = 1; seed <= 30; ++seed) {
      auto reused = Program(seed, false).run();
      settings().fuse = false;
      auto expected = Program(seed, true).run();
      settings().fuse = true;
      ASSERT_EQ(reused, expected) << "seed " << seed;
    }
  });
  settings() = before;
}

}  // namespace
}  // namespace encore
