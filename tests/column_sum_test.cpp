// Does a sum over rows give the same bits, however many such sums stand side by side?
#include <encore/encore.h>
#include <gtest/gtest.h>

#include <cstring>

namespace encore {
namespace {

TEST(ColumnSum, DoesNotDependOnHowManyStandSideBySide) {
  // Long enough for two chunks of rows each.
  constexpr int64_t rows = 2048, columns = 64;
  manual_seed(3);
  for (int64_t count : {2, 63, 64, 70}) {
    Tensor x = randn({count, rows, columns});
    eval(x);
    std::vector<float> together = x.sum({1}).to_vector<float>();
    for (int64_t i : {int64_t(0), count - 1}) {
      Tensor one = x[{i}] + 0.0;
      eval(one);
      std::vector<float> alone = one.sum({0}).to_vector<float>();
      ASSERT_EQ(alone.size(), size_t(columns));
      EXPECT_EQ(std::memcmp(alone.data(), together.data() + i * columns, columns * 4), 0)
          << "number " << i << " of " << count;
    }
  }
}

}  // namespace
}  // namespace encore
