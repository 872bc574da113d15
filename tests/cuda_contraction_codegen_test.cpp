// Does all that is written for contractions compile, without spilling registers, and does it use
// tensor cores where it is meant to?
#include <encore/jit/cuda/contraction.h>
#include <encore/jit/cuda/generate.h>
#include <encore/jit/cuda/nvrtc.h>
#include <gmock/gmock.h>

#include "contraction_cases.h"

namespace encore::jit::cuda {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class CudaContractionCode : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!nvrtc_is_available()) GTEST_SKIP() << "there is no NVRTC here (see ENCORE_CUDA_PATH)";
  }
};

std::string ptx_of(const Kernel& kernel, const Target& target) {
  return compile_to_ptx(prelude(target) + generate(kernel, "k", target), target.compute_capability);
}

TEST_F(CudaContractionCode, EverythingCompiles) {
  for (int capability : {80, 90}) {
    for (bool strict : {false, true}) {
      const Target target{capability, strict};
      std::string text = prelude(target);
      int number = 0, written = 0;
      // A few, so that this takes seconds; the next target takes others.
      for (const ContractionCase& one : ContractionCases::make(false)) {
        if (++number % 28 != 7 * (capability == 90) + 14 * strict) continue;
        text += generate(one.random.kernel, fmt::format("k{}", number), target);
        ++written;
      }
      EXPECT_GT(written, 2);
      EXPECT_FALSE(compile_to_cubin(text, capability).empty());
    }
  }
}

TEST_F(CudaContractionCode, TensorCoresAreUsedWhereTheyMayBe) {
  Kernel kernel = with_sizes_as_arguments(matmul_kernel(f32, 1, 512, 512, 512));
  EXPECT_THAT(ptx_of(kernel, {90, false}), HasSubstr("tf32"));
  EXPECT_THAT(ptx_of(kernel, {90, true}), Not(HasSubstr("mma.sync")));
  EXPECT_THAT(ptx_of(kernel, {90, false}), HasSubstr("cp.async.cg"));
  EXPECT_THAT(ptx_of(kernel, {90, false}), HasSubstr("barrier.cluster"));
  EXPECT_THAT(ptx_of(kernel, {80, false}), Not(HasSubstr("barrier.cluster")));
  kernel.arguments[0].dtype = kernel.arguments[1].dtype = bf16;
  EXPECT_THAT(ptx_of(kernel, {80, false}), HasSubstr("mma.sync.aligned.m16n8k16.row.col.f32.bf16"));
  kernel.arguments[0].dtype = kernel.arguments[1].dtype = f16;
  EXPECT_THAT(ptx_of(kernel, {80, false}), HasSubstr("mma.sync.aligned.m16n8k16.row.col.f32.f16"));
}

TEST_F(CudaContractionCode, PrecisionIsPartOfTheCode) {
  Kernel kernel = matmul_kernel(f32, 1, 512, 512, 512);
  const std::string exact = generate(kernel, "k", {90, false});
  kernel.contraction->precision = MatmulPrecision::high;
  EXPECT_NE(generate(kernel, "k", {90, false}), exact);
  EXPECT_THAT(exact, HasSubstr("SplitTf32, "));
}

}  // namespace
}  // namespace encore::jit::cuda
