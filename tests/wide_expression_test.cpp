// Does an expression over ten thousand inputs launch, wherever it runs? Kernels take only so many
// arguments, so fusion must ask the backend for its limits.
#include <encore/encore.h>
#include <gtest/gtest.h>

namespace encore {
namespace {

TEST(WideExpression, OfTenThousandInputs) {
  constexpr int count = 10'000;
  std::vector<Tensor> inputs;
  for (int i = 0; i < count; ++i)
    inputs.push_back(from_vector<float>({float(i % 8), float(i % 3)}));
  const Stats before = stats();
  Tensor total = inputs[0];
  for (int i = 1; i < count; ++i) total = total + inputs[size_t(i)] * double(1 + i % 2);
  const std::vector<float> found = total.to_vector<float>();
  std::vector<float> expected = {0, 0};
  for (int i = 0; i < count; ++i) {
    const float times = i == 0 ? 1 : float(1 + i % 2);
    expected[0] += float(i % 8) * times, expected[1] += float(i % 3) * times;
  }
  EXPECT_EQ(found, expected);
  const Stats after = stats();
  std::printf("%lld launches, %lld kernels compiled\n",
              (long long)(after.launches - before.launches),
              (long long)(after.kernels_compiled - before.kernels_compiled));
  EXPECT_GT(after.launches, before.launches + 1);
  EXPECT_LT(after.launches - before.launches, count / 8);  // many inputs each
}

}  // namespace
}  // namespace encore
