// Do factories make the numbers that they promise?
#include <encore/encore.h>
#include <gtest/gtest.h>

namespace encore {
namespace {

using Floats = std::vector<float>;
using Integers = std::vector<int64_t>;

TEST(Create, RangesOfIntegersAreI64AndOthersF32) {
  EXPECT_EQ(arange(2, 9, 3).dtype(), i64);
  EXPECT_EQ(arange(2, 9, 3).to_vector<int64_t>(), (Integers{2, 5, 8}));
  EXPECT_EQ(arange(0, 1, 0.25).dtype(), f32);
  EXPECT_EQ(arange(0, 1, 0.25).to_vector<float>(), (Floats{0, 0.25, 0.5, 0.75}));
  EXPECT_EQ(arange(1.5, 4).to_vector<float>(), (Floats{1.5, 2.5, 3.5}));
  EXPECT_EQ(arange(0, 3, 1, {.dtype = bf16}).dtype(), bf16);
}

TEST(Create, LinspaceHasBothEndsExactly) {
  EXPECT_EQ(linspace(0, 1, 5).to_vector<float>(), (Floats{0, 0.25, 0.5, 0.75, 1}));
  EXPECT_EQ(linspace(3, -1, 3, {.dtype = i32}).to_vector<int64_t>(), (Integers{3, 1, -1}));
  EXPECT_EQ(linspace(2, 9, 1).to_vector<float>(), (Floats{2}));
  EXPECT_EQ(linspace(2, 9, 0).numel(), 0);
  std::vector<double> tenths = linspace(0.1, 0.7, 1000, {.dtype = f64}).to_vector<double>();
  EXPECT_EQ(tenths.front(), 0.1);
  EXPECT_EQ(tenths.back(), 0.7);
  for (size_t i = 1; i < tenths.size(); ++i)
    EXPECT_NEAR(tenths[i] - tenths[i - 1], 0.6 / 999, 1e-15);
}

TEST(Create, EyeHasOnesOnItsDiagonal) {
  EXPECT_EQ(eye(2).to_vector<float>(), (Floats{1, 0, 0, 1}));
  EXPECT_EQ(eye(2, 3, {.dtype = i64}).to_vector<int64_t>(), (Integers{1, 0, 0, 0, 1, 0}));
  EXPECT_EQ(eye(3, 1).to_vector<float>(), (Floats{1, 0, 0}));
  EXPECT_EQ(eye(0).numel(), 0);
}

}  // namespace
}  // namespace encore
