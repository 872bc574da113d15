// Does a kernel that meets new extents become one that serves them all? Kernels are counted.
#include <encore/encore.h>
#include <encore/trace/runtime.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace encore {
namespace {

/// Attention over one sequence, and its gradient; returns the kernels that it compiles.
int64_t kernels_of(int64_t length) {
  manual_seed(4);
  int64_t before = stats().kernels_compiled;
  Parameter query(randn({16, 16}));
  Tensor x = randn({length, 16});
  Tensor scores = softmax(matmul(matmul(x, query), transpose(x)) * 0.25, 1);
  backward((layer_norm(matmul(scores, x), {16}) * x).mean());
  eval(query.grad());
  return stats().kernels_compiled - before;
}

TEST(GenericKernel, AHundredSequenceLengthsCompileEachKernelAtMostThreeTimes) {
  int64_t most = 0, all = 0;
  for (int64_t length : {2, 7, 8, 31, 32, 101}) {
    trace::runtime().clear_caches();
    most = std::max(most, kernels_of(length));
  }
  trace::runtime().clear_caches();
  for (int64_t length = 2; length <= 101; ++length) all += kernels_of(length);
  std::printf("one length: %lld kernels, a hundred: %lld\n", (long long)most, (long long)all);
  EXPECT_LE(all, 3 * most);
}

TEST(GenericKernel, AShortLastBatchCompilesEachKernelAtMostOnceMoreAndNoOtherOneAnything) {
  trace::runtime().clear_caches();
  int64_t first = kernels_of(64), other = kernels_of(50);
  EXPECT_LE(other, first);
  EXPECT_EQ(kernels_of(42), 0);
  EXPECT_EQ(kernels_of(64), 0);
}

}  // namespace
}  // namespace encore
