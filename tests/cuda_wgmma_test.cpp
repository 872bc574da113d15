// Products by warpgroups: which kernels and sizes get them, what the copy engine is told, and
// whether tensors come out right. On a GPU where there is one, else on the fake driver, whose
// kernels run on the host.
#include <encore/core/settings.h>
#include <encore/encore.h>
#include <encore/jit/cuda/contraction_wgmma.h>
#include <encore/jit/cuda/driver.h>
#include <encore/jit/cuda/generate.h>
#include <encore/jit/cuda/nvrtc.h>
#include <gmock/gmock.h>

#include "contraction_cases.h"
#include "cubin.h"
#include "fake_cuda_driver.h"

namespace encore::jit::cuda {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

bool on_real_gpu = false;
constexpr Target with_wgmma{90, false, true};

Kernel product(DType dtype, int64_t m, int64_t n, int64_t k, int transposed = 2) {
  Kernel kernel = matmul_kernel(f32, 1, m, n, k, transposed & 1, transposed & 2);
  for (Argument& argument : kernel.arguments) argument.dtype = dtype;
  kernel.contraction->precision = MatmulPrecision::high;
  return kernel;
}

/// Whether the plan for the kernel's sizes has boxes.
bool takes_boxes(const Kernel& kernel, const Target& target = with_wgmma) {
  return has_boxes(schedule_contraction(kernel, target));
}

TEST(CudaWgmmaPlans, LargeProductsTakeBoxes) {
  for (DType dtype : {f32, bf16, f16}) {
    const Kernel large = product(dtype, 8192, 4096, 1024);
    EXPECT_TRUE(takes_boxes(large)) << name_of(dtype);
    EXPECT_TRUE(takes_boxes(product(dtype, 512, 512, 512))) << name_of(dtype);
    EXPECT_FALSE(takes_boxes(product(dtype, 128, 256, 16))) << name_of(dtype);
    EXPECT_FALSE(takes_boxes(large, {90, false, false})) << "not asked for";
    EXPECT_FALSE(takes_boxes(large, {90, true, true})) << "strict";
    EXPECT_FALSE(takes_boxes(large, {80, false, true})) << "no such instructions";
    EXPECT_FALSE(takes_boxes(large, {100, false, true})) << "no such instructions any more";
  }
}

TEST(CudaWgmmaPlans, OnlyWhatTheCopyEngineCanBringTakesBoxes) {
  EXPECT_FALSE(takes_boxes(product(f32, 8192, 4096, 1022))) << "strides of 8 bytes";
  EXPECT_TRUE(takes_boxes(product(f32, 8191, 4097, 1024))) << "extents may be any";
  EXPECT_FALSE(takes_boxes(product(f32, 8192, 4096, 1024, 0))) << "TF32 wants depths together";
  for (int transposed = 0; transposed < 4; ++transposed)
    EXPECT_TRUE(takes_boxes(product(bf16, 8192, 4096, 1024, transposed)));
  EXPECT_FALSE(takes_boxes(convolution_kernel(64, 66, 64, 256))) << "several axes of rows";
  Kernel exact = product(f32, 8192, 4096, 1024);
  exact.contraction->precision = MatmulPrecision::highest;
  EXPECT_FALSE(takes_boxes(exact)) << "numbers in two parts";
  Kernel shifted = product(bf16, 8192, 4096, 1024);
  shifted.sizes.push_back({4, true});
  shifted.accesses[0].base = SizeId(shifted.sizes.size() - 1);
  EXPECT_FALSE(takes_boxes(shifted)) << "begins 8 bytes into its buffer";
}

TEST(CudaWgmmaPlans, MapsSayWhereOperandsLie) {
  const Kernel kernel = product(bf16, 100, 200, 72, 1);  // a and b lie by depths
  const ContractionPlan plan{Multiplier::bf16, 128, 64, 64, 2, 1, 4, 1, 1, true};
  std::vector<int64_t> sizes;
  for (const Size& size : kernel.sizes) sizes.push_back(size.value);
  alignas(16) std::byte memory[48];
  void* arguments[] = {memory, memory + 16, memory + 32};
  const auto [a, b] = tensor_maps(kernel, plan, {arguments, sizes.data(), nullptr});
  EXPECT_EQ(a.address, memory);
  EXPECT_EQ(b.address, memory + 16);
  EXPECT_EQ(a.extents[0], 100u);
  EXPECT_EQ(a.extents[1], 72u);
  EXPECT_EQ(a.strides[1], 200u);
  EXPECT_EQ(b.extents[0], 200u);
  EXPECT_EQ(b.box[0], 64u);
  EXPECT_EQ(b.box[1], 64u);
  const auto along =
      tensor_maps(product(bf16, 100, 200, 72), plan, {arguments, sizes.data(), nullptr});
  EXPECT_EQ(along[0].extents[0], 72u);
  EXPECT_EQ(along[0].box[1], 128u);
  EXPECT_EQ(along[1].box[1], 64u);
  arguments[1] = memory + 8;
  EXPECT_THROW(tensor_maps(kernel, plan, {arguments, sizes.data(), nullptr}), Error);
}

/// All functions with boxes, for the sizes as they are.
std::string boxed_text(const Kernel& kernel) {
  ContractionSchedule schedule = schedule_contraction(with_sizes_as_arguments(kernel), with_wgmma);
  std::erase_if(schedule.plans, [](const ContractionPlan& plan) { return !plan.boxed; });
  EXPECT_FALSE(schedule.plans.empty());
  return prelude(with_wgmma) + generate_contraction(kernel, "k", with_wgmma, schedule);
}

// Under the fake driver there is a compiler for the host only, so this looks for the real one in a
// process of its own.
TEST(CudaWgmmaCode, CompilesWithoutSpills) {
  if (!fake_cuda::is_apart()) {
    EXPECT_THAT(fake_cuda::run_apart("CudaWgmmaCode.CompilesWithoutSpills"), HasSubstr("1 test"));
    return;
  }
  if (!nvrtc_is_available()) GTEST_SKIP() << "there is no NVRTC here (see ENCORE_CUDA_PATH)";
  std::vector<Kernel> kernels = {product(f32, 512, 512, 512), bias_relu_kernel(512, 512, 512, 128)};
  for (uint32_t i = 0; i < 2; ++i) kernels[1].arguments[i].dtype = f16;
  for (int transposed = 0; transposed < 4; ++transposed)
    kernels.push_back(product(bf16, 512, 512, 512, transposed));
  for (const Kernel& kernel : kernels) {
    const std::string text = boxed_text(kernel);
    const auto stacks = testing::stack_bytes(compile_to_cubin(text, 90));
    EXPECT_GE(stacks.size(), 4u);
    for (const auto& [function, bytes] : stacks)
      EXPECT_EQ(bytes, 0u) << function << " of a product " << &kernel - kernels.data();
  }
  const std::string ptx = compile_to_ptx(boxed_text(kernels[0]), 90);
  EXPECT_THAT(ptx, HasSubstr(".target sm_90a"));
  EXPECT_THAT(ptx, HasSubstr("wgmma.mma_async.sync.aligned.m64n128k8.f32.tf32.tf32"));
  EXPECT_THAT(ptx, HasSubstr("cp.async.bulk.tensor.3d"));
  EXPECT_THAT(ptx, Not(HasSubstr("mma.sync")));
}

std::vector<float> some_values(size_t count, int seed) {
  std::vector<float> values(count);
  for (size_t i = 0; i < count; ++i)
    values[i] = float((i * 37 + size_t(seed) * 11) % 17) / 16 - 0.5f;
  return values;
}

/// gelu(x w^T + b) where x lies.
Tensor layer(const Tensor& x, const Tensor& w, const Tensor& b) { return gelu(linear(x, w, b)); }

class CudaWgmma : public ::testing::TestWithParam<DType> {
 protected:
  void SetUp() override {
    settings().wgmma = true;
    set_matmul_precision(MatmulPrecision::high);
  }
  void TearDown() override {
    settings().wgmma = false;
    set_matmul_precision(MatmulPrecision::highest);
  }
};

// Each step has other memory, so a map that a graph remembered would show.
TEST_P(CudaWgmma, TensorsComeOutRightWhereverTheyLie) {
  const int64_t m = 136, n = 72, k = 2048;
  std::vector<Tensor> alive;
  if (!on_real_gpu) fake_cuda::driver().calls.clear();
  for (int step = 0; step < 3; ++step) {
    std::vector<Tensor> sums;
    for (Device device : {cpu, encore::cuda(0)}) {
      auto tensor = [&](Shape shape, int seed) {
        const size_t count = size_t(shape.numel());
        return from_vector(some_values(count, step + seed), shape, device).to(GetParam());
      };
      Tensor x = tensor({m, k}, 1), w = tensor({n, k}, 2), b = tensor({n}, 3);
      Tensor v = tensor({n, k}, 4), c = tensor({n}, 5);
      eval(x, w, b, v, c);
      Tensor first = layer(x, w, b).to(f32), second = layer(x, v, c).to(f32);
      Tensor third = (first * second).sum({0});
      eval(first, second, third);
      sums.push_back(third.to(cpu));
      alive.insert(alive.end(), {x, first, second});
    }
    const std::vector<float> expected = sums[0].to_vector<float>(),
                             found = sums[1].to_vector<float>();
    ASSERT_EQ(found.size(), size_t(n));
    for (int64_t i = 0; i < n; ++i)
      EXPECT_NEAR(found[size_t(i)], expected[size_t(i)],
                  0.03 * std::abs(expected[size_t(i)]) + 0.5);
  }
  if (!on_real_gpu) {
    EXPECT_GE(fake_cuda::driver().calls["cuTensorMapEncodeTiled"], 12);
  }
}

INSTANTIATE_TEST_SUITE_P(Dtypes, CudaWgmma, ::testing::Values(f32, bf16),
                         [](const auto& info) { return std::string(name_of(info.param)); });

}  // namespace
}  // namespace encore::jit::cuda

int main(int count, char** arguments) {
  ::testing::InitGoogleTest(&count, arguments);
  if (!encore::fake_cuda::is_apart())
    encore::jit::cuda::on_real_gpu = encore::fake_cuda::use_gpu_or_fake();
  return RUN_ALL_TESTS();
}
