// Random kernels are valid, stay inside their memory, and store something.
#include "random_kernel.h"

#include <encore/jit/reference/interpreter.h>
#include <gtest/gtest.h>

namespace encore::jit {
namespace {

TEST(RandomKernel, IsValidAndStaysInsideItsMemory) {
  int changed = 0;
  for (uint64_t seed = 0; seed < 2000; ++seed) {
    RandomKernel random = make_random_kernel(seed);
    SCOPED_TRACE(to_text(random.kernel));
    ASSERT_NO_THROW(verify_kernel(random.kernel)) << seed;
    std::vector<LaunchData> result;
    ASSERT_NO_THROW(result = run_reference(random)) << seed;
    changed += !first_difference(random.kernel, random.segments, result).empty();
    EXPECT_EQ(first_difference(random.kernel, result, run_on(interpreter(), random)), "");
  }
  EXPECT_GT(changed, 1900);
}

TEST(RandomKernel, IsTheSameForTheSameSeed) {
  RandomKernel a = make_random_kernel(7), b = make_random_kernel(7);
  EXPECT_EQ(to_text(a.kernel), to_text(b.kernel));
  EXPECT_EQ(a.segments[0].arguments, b.segments[0].arguments);
}

}  // namespace
}  // namespace encore::jit
