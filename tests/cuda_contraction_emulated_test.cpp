// Generated contractions, run on the host by an emulator: the interpreter's bits in strict mode and
// for integers, otherwise close to a sum in double.
#include <encore/jit/cuda/contraction.h>
#include <gtest/gtest.h>

#include "contraction_cases.h"
#include "contraction_oracle.h"
#include "cuda_emulator.h"

namespace encore::jit::cuda {
namespace {

void compare(const std::vector<ContractionCase>& cases, const Target& target) {
  std::vector<const Kernel*> kernels;
  for (const ContractionCase& one : cases) kernels.push_back(&one.random.kernel);
  const EmulatedProgram program(kernels, target);
  for (size_t i = 0; i < cases.size(); ++i)
    for (bool misaligned : {false, true})
      EXPECT_EQ(contraction_difference(cases[i], program.run(i, cases[i].random, misaligned),
                                       target.strict, run_reference),
                "")
          << cases[i].name;
}

/// Every `step`-th, so that all kinds come and each run stays short.
std::vector<ContractionCase> some_cases(size_t first, size_t step) {
  std::vector<ContractionCase> some;
  std::vector<ContractionCase> all = ContractionCases::make(false);
  for (size_t i = first; i < all.size(); i += step) some.push_back(std::move(all[i]));
  return some;
}

/// With the code for their sizes only, as the backend compiles them.
std::vector<ContractionCase> suited(std::vector<ContractionCase> cases, const Target& target) {
  for (ContractionCase& one : cases)
    one.random.kernel.variant = contraction_variant(one.random.kernel, target);
  return cases;
}

TEST(CudaContractionEmulated, StrictModeGivesTheInterpretersBits) {
  compare(some_cases(0, 7), {90, true});
}

TEST(CudaContractionEmulated, DefaultModeIsClose) {
  compare(suited(some_cases(1, 5), {90, false}), {90, false});
}

TEST(CudaContractionEmulated, OlderDevicesHaveNoClusters) {
  compare(suited(some_cases(3, 17), {80, false}), {80, false});
}

TEST(CudaContractionEmulated, RandomKernelsAgreeInStrictMode) {
  std::vector<RandomKernel> randoms;
  auto add = [&](uint64_t seed) {
    RandomKernel random = make_random_kernel(seed, {.row_accumulators = false, .store_add = false});
    if (random.kernel.contraction) randoms.push_back(std::move(random));
  };
  for (uint64_t seed = 0; randoms.size() < 30; ++seed) add(seed);
  for (uint64_t seed : {163, 324, 583}) add(seed);  // without columns
  std::vector<const Kernel*> kernels;
  for (const RandomKernel& random : randoms) kernels.push_back(&random.kernel);
  const EmulatedProgram program(kernels, {90, true});
  for (size_t i = 0; i < randoms.size(); ++i)
    EXPECT_EQ(
        first_difference(randoms[i].kernel, run_reference(randoms[i]), program.run(i, randoms[i])),
        "")
        << to_text(randoms[i].kernel);
}

/// All plans of a product without boxes, or those with boxes, each alone.
void expect_variants_to_suit_all_sizes(const Kernel& fixed, const std::vector<int64_t>& elements,
                                       int64_t depth, bool boxes = false) {
  const Target target{90, false, boxes};
  const Kernel open = with_sizes_as_arguments(fixed);
  const uint32_t suited = contraction_variant(open, target);
  ASSERT_GE(suited, 1u);
  EXPECT_EQ(contraction_variant(fixed, target), 0u);
  std::vector<Kernel> kernels = {fixed};
  const std::vector<ContractionPlan> plans = schedule_contraction(open, target).plans;
  for (uint32_t variant = 1; variant <= plans.size(); ++variant) {
    if (plans[variant - 1].boxed != boxes) continue;
    kernels.push_back(open);
    kernels.back().variant = variant;
    EXPECT_EQ(LaunchLayout(kernels.back(), target).functions(), 1u);
  }
  std::vector<const Kernel*> all;
  for (const Kernel& kernel : kernels) all.push_back(&kernel);
  const EmulatedProgram program(all, target);
  const std::vector<LaunchData> as_fixed = program.run(0, with_data(fixed, elements));
  for (size_t i = 0; i < kernels.size(); ++i) {
    const ContractionCase one{"", with_data(kernels[i], elements), depth};
    const std::vector<LaunchData> result = program.run(i, one.random);
    EXPECT_EQ(contraction_difference(one, result, false, run_reference), "") << "plan " << i;
    if (kernels[i].variant == suited) {
      EXPECT_EQ(first_difference(fixed, as_fixed, result), "");
    }
  }
}

// The code for some sizes is one plan, the one that code for these sizes alone would have; and any
// plan is right for any sizes.
TEST(CudaContractionEmulated, VariantsAreSinglePlansForAllSizes) {
  const std::vector<int64_t> elements = {70 * 200, 200 * 33, 70 * 33};
  Kernel kernel = matmul_kernel(f32, 1, 70, 33, 200);
  expect_variants_to_suit_all_sizes(kernel, elements, 200);
  kernel = matmul_kernel(f32, 1, 70, 33, 200, true, true);
  kernel.contraction->precision = MatmulPrecision::high;
  expect_variants_to_suit_all_sizes(kernel, elements, 200);
  kernel = matmul_kernel(f32, 1, 70, 33, 200, true, false);
  for (Argument& argument : kernel.arguments) argument.dtype = bf16;
  expect_variants_to_suit_all_sizes(kernel, elements, 200);
}

// Tiles that come as boxes, whole or in part beyond the operands, for all orders of their elements.
TEST(CudaContractionEmulated, BoxesBringWhatThereIs) {
  for (int transposed : {1, 2}) {
    Kernel kernel = matmul_kernel(f32, 2, 72, 136, 136, transposed & 1, transposed & 2);
    for (Argument& argument : kernel.arguments) argument.dtype = transposed & 1 ? f16 : bf16;
    expect_variants_to_suit_all_sizes(kernel, {2 * 72 * 136, 2 * 136 * 136, 2 * 72 * 136}, 136,
                                      true);
  }
  Kernel kernel = matmul_kernel(f32, 1, 72, 136, 68, false, true);
  kernel.contraction->precision = MatmulPrecision::high;
  expect_variants_to_suit_all_sizes(kernel, {72 * 68, 68 * 136, 72 * 136}, 68, true);
}

TEST(CudaContractionEmulated, BoxesServeColumnSums) {
  Kernel kernel = bias_relu_kernel(300, 72, 64, 150);
  for (uint32_t i = 0; i < 2; ++i) kernel.arguments[i].dtype = bf16;
  expect_variants_to_suit_all_sizes(kernel, {300 * 64, 64 * 72, 72, 300 * 72, 300 * 72, 2 * 72}, 64,
                                    true);
}

// What tensor cores make of infinities is NaN; those sums are made again.
TEST(CudaContractionEmulated, InfinitiesAndNanAreAsExactAsNumbers) {
  ContractionCase one{
      "special", with_data(matmul_kernel(f32, 1, 65, 70, 64), {65 * 64, 64 * 70, 65 * 70}), 64};
  auto* a = reinterpret_cast<float*>(one.random.segments[0].arguments[0].data());
  a[3] = INFINITY;  // row 0: infinite
  a[64 + 1] = NAN;  // row 1: NaN
  a[128 + 1] = INFINITY, a[128 + 2] = -INFINITY;
  a[192 + 5] = 3.4e38f;  // next to overflow
  const EmulatedProgram program({&one.random.kernel}, {90, false});
  EXPECT_EQ(contraction_difference(one, program.run(0, one.random), false, run_reference), "");
}

}  // namespace
}  // namespace encore::jit::cuda
