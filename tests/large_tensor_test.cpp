// More than 2^31 elements. Nothing here is stored: sources are computed inside the kernels that
// read them, so the tests need time but no memory.
#include <encore/core/settings.h>
#include <encore/encore.h>
#include <gtest/gtest.h>

namespace encore {
namespace {

constexpr int64_t count = (int64_t(1) << 31) + 7;

class LargeTensor : public ::testing::Test {
 protected:
  // A cut would store what is only read once.
  void SetUp() override { settings().cut_bytes = 0; }
  void TearDown() override { settings() = before_; }
  Settings before_ = settings();
};

TEST_F(LargeTensor, SumsAndPositions) {
  Tensor x = iota({count}, 0);
  EXPECT_EQ(x.sum().item<int64_t>(), count * (count - 1) / 2);
  EXPECT_EQ(x.argmax().item<int64_t>(), count - 1);
}

TEST_F(LargeTensor, PartsBeyondThirtyTwoBits) {
  Tensor x = iota({count}, 0), backwards = x.flip();
  EXPECT_EQ(slice(x, {{-2}}).to_vector<int64_t>(), (std::vector<int64_t>{count - 2, count - 1}));
  EXPECT_EQ(backwards[{-1}].item<int64_t>(), 0);
  Tensor index = from_vector<int64_t>({0, count - 1, -5, count, 7 - count});
  EXPECT_EQ(take(backwards, index).to_vector<int64_t>(),
            (std::vector<int64_t>{count - 1, 0, 4, 0, count - 8}));
}

TEST_F(LargeTensor, RowMaximaOfASlice) {
  Tensor x = (iota({32775, 65536}, 0) % 251).to(u8);
  std::vector<int64_t> found = slice(x, {{}, {7}}).max({1}).to_vector<int64_t>();
  for (int64_t row = 0; row < 32775; ++row) ASSERT_EQ(found[row], row % 251);
}

}  // namespace
}  // namespace encore
