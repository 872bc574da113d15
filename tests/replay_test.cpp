// Do replays read what is there now, leave earlier results alone, and share one memory, wherever
// they run? On a GPU replays are graphs, whose nodes hold addresses.
#include <encore/encore.h>
#include <encore/trace/runtime.h>
#include <encore/trace/statistics.h>
#include <gtest/gtest.h>

#include <deque>

namespace encore {
namespace {

/// Several launches, and whole numbers only.
Tensor mixed(const Tensor& x, double amount) {
  Tensor square = x.reshape({3, 3});
  Tensor y = matmul(square, square);
  y = matmul(y - amount, square);
  return matmul(y + amount, square);
}

std::vector<float> product(const std::vector<float>& a, const std::vector<float>& b, float amount) {
  std::vector<float> result(9);
  for (size_t i = 0; i < 9; ++i)
    for (size_t k = 0; k < 3; ++k) result[i] += (a[i / 3 * 3 + k] + amount) * b[k * 3 + i % 3];
  return result;
}

std::vector<float> mixed_by_hand(const std::vector<float>& x, float amount) {
  return product(product(product(x, x, 0), x, -amount), x, amount);
}

std::vector<float> numbers(int seed) {
  std::vector<float> values;
  for (int i = 0; i < 9; ++i) values.push_back(float((seed * 7 + i * 5) % 23 - 11));
  return values;
}

TEST(Replay, ThreeResultsThatAreHeldStayDistinct) {
  std::vector<Tensor> results;
  for (int i = 0; i < 3; ++i) {
    results.push_back(mixed(from_vector(numbers(i)), i + 1));
    eval(results.back());
  }
  for (int i = 0; i < 3; ++i)
    EXPECT_EQ(results[size_t(i)].to_vector<float>(), mixed_by_hand(numbers(i), float(i + 1))) << i;
}

TEST(Replay, AThousandTimesWithMovedInputs) {
  std::deque<std::pair<int, Tensor>> held;  // so that addresses change from step to step
  const Stats before = stats();
  for (int i = 0; i < 1000; ++i) {
    Tensor y = mixed(from_vector(numbers(i)), i % 5);
    eval(y);
    held.emplace_back(i, y);
    if (i % 3 == 0 && held.size() > 3) held.pop_front();
    if (held.size() > 40) held.erase(held.begin(), held.begin() + 25);
    auto& [step, tensor] = held[size_t(i) % held.size()];
    ASSERT_EQ(tensor.to_vector<float>(), mixed_by_hand(numbers(step), float(step % 5))) << i;
  }
  const Stats after = stats();
  EXPECT_LE(after.trace_misses - before.trace_misses, 2);
  if (default_device() != cpu) {
    EXPECT_GE(after.graph_launches - before.graph_launches, 990);
  }
}

/// What a step over so many rows computes on the way is some 30 MB at 4096 of them.
void step(int64_t rows) {
  Tensor x = full({rows, 256}, 0.5), weight = full({256, 512}, 0.01);
  Tensor hidden = relu(matmul(x, weight));
  Tensor shares = softmax(hidden, 1);
  Tensor again = matmul(shares, weight.transpose()) + x;
  Tensor loss = (again * again).mean();
  EXPECT_GT(loss.item<float>(), 0);
}

TEST(Replay, FiftyShapesPeakLikeTheLargest) {
  trace::runtime().clear_caches();
  constexpr int64_t largest = 4096;
  step(largest), step(largest);
  trace::reset_peak_bytes();
  step(largest);
  const int64_t peak = stats().peak_bytes;
  const int64_t reserved = default_device() == cpu ? 0 : cuda.memory(0).reserved;
  trace::reset_peak_bytes();
  for (int round = 0; round < 2; ++round)
    for (int i = 0; i < 50; ++i) step(largest - 61 * i);
  EXPECT_LE(double(stats().peak_bytes), 1.1 * double(peak));
  if (default_device() != cpu) {
    EXPECT_LE(double(cuda.memory(0).reserved), 1.1 * double(reserved));
  }
}

}  // namespace
}  // namespace encore
