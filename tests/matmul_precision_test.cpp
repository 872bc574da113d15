// Is the precision of products part of what a program is known by, and does it leave the CPU's
// numbers and strict mode alone?
#include <encore/encore.h>
#include <gmock/gmock.h>

#include "recorded_kernels.h"

namespace encore {
namespace {

using ::testing::FloatNear;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::Pointwise;

class MatmulPrecisionTest : public ::testing::Test {
 protected:
  void TearDown() override {
    set_matmul_precision(MatmulPrecision::highest);
    settings().strict = false;
  }
  static std::string text(DType dtype = f32) {
    Tensor a = ones({5, 7}, {.dtype = dtype}), b = ones({7, 4}, {.dtype = dtype});
    eval(a, b);
    std::string text;
    for (const jit::Kernel& kernel : testing::kernels_of({{matmul(a, b)}})) text += to_text(kernel);
    return text;
  }
};

TEST_F(MatmulPrecisionTest, ReachesTheKernelsOfFloatProducts) {
  EXPECT_THAT(text(), Not(HasSubstr("precision")));
  set_matmul_precision(MatmulPrecision::high);
  EXPECT_THAT(text(), HasSubstr("precision: high"));
  EXPECT_THAT(text(f64), Not(HasSubstr("precision")));
  set_matmul_precision(MatmulPrecision::medium);
  EXPECT_THAT(text(), HasSubstr("precision: medium"));
  settings().strict = true;
  EXPECT_THAT(text(), Not(HasSubstr("precision")));
}

TEST_F(MatmulPrecisionTest, AnotherPrecisionIsAnotherProgram) {
  const Tensor a = full({5, 7}, 1.0 / 3), b = full({7, 4}, 1.0 / 7);
  eval(a, b);
  auto product = [&] { return matmul(a, b).to_vector<float>(); };
  const std::vector<float> exact = product();
  const int64_t known = stats().trace_misses;
  EXPECT_EQ(product(), exact);
  EXPECT_EQ(stats().trace_misses, known);
  set_matmul_precision(MatmulPrecision::high);
  const std::vector<float> rounded = product();
  if (default_device() == cpu)  // which rounds nothing
    EXPECT_EQ(rounded, exact);
  else
    EXPECT_THAT(rounded, Pointwise(FloatNear(1e-3f), exact));
  EXPECT_EQ(stats().trace_misses, known + 1);
  set_matmul_precision(MatmulPrecision::highest);
  EXPECT_EQ(product(), exact);
  EXPECT_EQ(stats().trace_misses, known + 1);
}

}  // namespace
}  // namespace encore
