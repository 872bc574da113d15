// Does all that is written for contractions compile, without spilling registers, and does it use
// tensor cores where it is meant to?
#include <encore/encore.h>
#include <encore/jit/cuda/contraction.h>
#include <encore/jit/cuda/generate.h>
#include <encore/jit/cuda/nvrtc.h>
#include <gmock/gmock.h>

#include "contraction_cases.h"
#include "cubin.h"
#include "recorded_kernels.h"

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

void expect_no_spills(const std::string& text, int capability) {
  const std::vector<std::byte> cubin = compile_to_cubin(text, capability);
  const auto stacks = testing::stack_bytes(cubin);
  EXPECT_FALSE(stacks.empty());
  for (const auto& [function, bytes] : stacks) EXPECT_EQ(bytes, 0u) << function;
}

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
      expect_no_spills(text, capability);
    }
  }
}

struct Mlp : Module {
  Linear fc1{784, 512}, fc2{512, 256}, fc3{256, 10};
  Tensor forward(const Tensor& images) {
    Tensor x = (images.flatten(1).to(f32) / 255.0 - 0.2860) / 0.3530;
    return fc3(relu(fc2(relu(fc1(x)))));
  }
  ENCORE_MEMBERS(fc1, fc2, fc3)
};

/// The products of a step, gradients included, as fusion leaves them.
std::vector<Kernel> products_of_training() {
  Mlp model;
  Tensor images = zeros({128, 28, 28}, {.dtype = u8}), labels = zeros({128}, {.dtype = i64});
  eval(images, labels);
  for (const ParameterRef& parameter : model.parameters()) eval(parameter.value());
  Tensor loss = cross_entropy(model(images), labels);
  loss.backward();
  std::vector<Tensor> results = {loss};
  for (const ParameterRef& parameter : model.parameters()) results.push_back(parameter.grad());
  std::vector<Kernel> products;
  for (Kernel& kernel : testing::kernels_of(results))
    if (kernel.contraction) products.push_back(std::move(kernel));
  return products;
}

TEST_F(CudaContractionCode, ATrainingStepFillsAGpu) {
  const Target target{90, false};
  std::string text = prelude(target);
  const std::vector<Kernel> products = products_of_training();
  EXPECT_GE(products.size(), 6u);
  for (size_t i = 0; i < products.size(); ++i)
    text += generate(products[i], fmt::format("k{}", i), target);
  expect_no_spills(text, 90);
  for (const Kernel& kernel : products) {
    std::vector<int64_t> sizes;
    for (const Size& size : kernel.sizes) sizes.push_back(size.value);
    const ContractionSchedule schedule = schedule_contraction(kernel, target);
    const ContractionPlan& plan = schedule.plans[choose_plan(kernel, schedule, sizes.data())];
    EXPECT_NE(plan.multiplier, Multiplier::fma) << to_text(kernel);
    const Geometry geometry = contraction_geometry(kernel, plan, sizes.data());
    if (kernel.size(kernel.axes.back().extent) > 256) {
      EXPECT_GE(geometry.grid_x, 64u) << to_text(kernel);
    }
    EXPECT_LE(geometry.shared_bytes, 227u << 10);
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

TEST(CudaContractionSchedule, RefusesWhatItCannotDo) {
  Kernel reduced = matmul_kernel(f32, 1, 4, 4, 4);
  reduced.accumulators.push_back({Reduce::sum, f32, 2});
  EXPECT_THROW(generate(reduced, "k", {90, false}), Error);
  Kernel adding = matmul_kernel(f32, 1, 4, 4, 4);
  adding.instructions.back().op = Opcode::store_add;
  EXPECT_THROW(generate(adding, "k", {90, false}), Error);
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
