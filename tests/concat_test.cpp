// Can any number of parts be joined, and joined again, in whatever kernel reads them?
#include <encore/encore.h>
#include <gtest/gtest.h>

#include <numeric>

namespace encore {
namespace {

std::vector<float> counted(int64_t count) {
  std::vector<float> values(count);
  std::iota(values.begin(), values.end(), 0.0f);
  return values;
}

class ManyParts : public ::testing::TestWithParam<int> {};

TEST_P(ManyParts, OfNumbers) {
  std::vector<Tensor> parts;
  for (int i = 0; i < GetParam(); ++i) parts.push_back(full({1}, float(i)));
  EXPECT_EQ(concat(parts).to_vector<float>(), counted(GetParam()));
  EXPECT_EQ((concat(parts) * 2.0).max().item<float>(), 2.0f * float(GetParam() - 1));
}

TEST_P(ManyParts, OfStoredTensors) {
  std::vector<Tensor> parts;
  for (int i = 0; i < GetParam(); ++i) parts.push_back(from_vector<float>({float(i)}));
  EXPECT_EQ(stack(parts).reshape({-1}).to_vector<float>(), counted(GetParam()));
  EXPECT_EQ(concat(parts, -1).argmax().item<int64_t>(), GetParam() - 1);
}

TEST_P(ManyParts, OfComputedPartsWithGradients) {
  Parameter p(from_vector(counted(GetParam())));
  std::vector<Tensor> parts;
  for (int i = 0; i < GetParam(); ++i) parts.push_back(narrow(p.tensor(), 0, i, 1) * 3.0);
  Tensor joined = concat(parts);
  (joined * joined).sum().backward();
  std::vector<float> gradient = p.grad().to_vector<float>();
  for (int i = 0; i < GetParam(); ++i) ASSERT_EQ(gradient[i], 18.0f * float(i));
}

TEST_P(ManyParts, AsOperandsOfAProduct) {
  std::vector<Tensor> rows;
  for (int i = 0; i < GetParam(); ++i) rows.push_back(full({1, 2}, float(i)));
  std::vector<float> product = matmul(concat(rows), ones({2, 1})).to_vector<float>();
  for (int i = 0; i < GetParam(); ++i) ASSERT_EQ(product[i], 2.0f * float(i));
}

INSTANTIATE_TEST_SUITE_P(Counts, ManyParts, ::testing::Values(2, 48, 49, 300, 1000));

TEST(Concat, TenThousandParts) {
  std::vector<Tensor> parts;
  for (int i = 0; i < 10'000; ++i) parts.push_back(full({1}, float(i)));
  EXPECT_EQ(concat(parts).to_vector<float>(), counted(10'000));
}

// Each reads the one before twice.
TEST(Concat, RotationsInARow) {
  Tensor x = arange(0, 100).to(f32), y = x;
  eval(x);
  for (int i = 0; i < 60; ++i) y = roll(y, {1});
  std::vector<float> found = y.to_vector<float>();
  for (int i = 0; i < 100; ++i) EXPECT_EQ(found[i], float((i + 40) % 100));
}

TEST(Concat, SumsOfManyJoinedTensors) {
  std::vector<float> expected(64, 0);
  Tensor total = zeros({64});
  for (int term = 0; term < 40; ++term) {
    std::vector<Tensor> parts;
    for (int i = 0; i < 32; ++i) parts.push_back(full({2}, float(term * i)));
    total = total + concat(parts);
    for (int i = 0; i < 64; ++i) expected[i] += float(term * (i / 2));
  }
  EXPECT_EQ(total.to_vector<float>(), expected);
}

}  // namespace
}  // namespace encore
