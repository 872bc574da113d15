#include <encore/encore.h>
#include <encore/lazy/contraction.h>
#include <encore/lazy/reduction.h>
#include <encore/trace/statistics.h>
#include <gtest/gtest.h>

#include <cmath>

namespace encore {
namespace {

TEST(Smoke, ElementwiseChain) {
  Tensor a = from_vector<float>({1, 2, 3}), b = from_vector<float>({10, 20, 30});
  Tensor c = a * b + 2.0f;
  EXPECT_EQ(c.to_vector<float>(), (std::vector<float>{12, 42, 92}));
}

TEST(Smoke, Softmax) {
  Tensor x = from_vector<float>({1, 2, 3, 4, 5, 6}, {2, 3});
  Tensor e = exp(x - x.max({-1}, true));
  Tensor y = e / e.sum({-1}, true);
  auto v = y.to_vector<float>();
  EXPECT_NEAR(v[0] + v[1] + v[2], 1, 1e-6);
  EXPECT_NEAR(v[2], std::exp(3.0) / (std::exp(1.0) + std::exp(2.0) + std::exp(3.0)), 1e-6);
}

TEST(Smoke, ColumnSum) {
  Tensor x = from_vector<float>({1, 2, 3, 4, 5, 6}, {2, 3});
  EXPECT_EQ(x.sum({0}).to_vector<float>(), (std::vector<float>{5, 7, 9}));
  EXPECT_EQ(x.sum().item<float>(), 21);
}

TEST(Smoke, Matmul) {
  Tensor x = from_vector<float>({1, 2, 3, 4, 5, 6}, {2, 3}),
         y = from_vector<float>({1, 0, 0, 1, 1, 1}, {3, 2});
  EXPECT_EQ((matmul(x, y) + 1.0).to_vector<float>(), (std::vector<float>{5, 6, 11, 12}));
}

}  // namespace
}  // namespace encore
