// Generated CUDA code, run on the host by an emulator, leaves the interpreter's bits in memory.
//
// ENCORE_FUZZ_SEED and ENCORE_FUZZ_PROGRAMS widen the search.
#include <encore/core/error.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

#include "cuda_emulator.h"
#include "instruction_kernels.h"
#include "schedule_kernels.h"

namespace encore::jit::cuda {
namespace {

uint64_t from_environment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text ? std::strtoull(text, nullptr, 10) : otherwise;
}

/// Code whose sizes are compiled in takes vectors for granted.
bool may_be_misaligned(const Kernel& kernel) {
  return std::any_of(kernel.sizes.begin(), kernel.sizes.end(),
                     [](const Size& size) { return !size.fixed; });
}

/// All in one library.
void compare(const std::vector<RandomKernel>& randoms, Target target) {
  std::vector<const Kernel*> kernels;
  for (const RandomKernel& random : randoms) kernels.push_back(&random.kernel);
  EmulatedProgram program(kernels, target);
  for (size_t i = 0; i < randoms.size(); ++i) {
    std::string difference =
        first_difference(randoms[i].kernel, run_reference(randoms[i]),
                         program.run(i, randoms[i], i % 2 && may_be_misaligned(randoms[i].kernel)));
    ASSERT_EQ(difference, "") << to_text(randoms[i].kernel)
                              << generate(randoms[i].kernel, "k", target);
  }
}

void compare_random(RandomKernelOptions options, Target target, uint64_t count) {
  options.contractions = false;
  uint64_t first = from_environment("ENCORE_FUZZ_SEED", 0);
  uint64_t last = first + from_environment("ENCORE_FUZZ_PROGRAMS", count);
  constexpr uint64_t batch = 20;
  for (uint64_t seed = first; seed < last; seed += batch) {
    SCOPED_TRACE(fmt::format("seeds from {} on", seed));
    std::vector<RandomKernel> randoms;
    for (uint64_t i = seed; i < std::min(seed + batch, last); ++i)
      randoms.push_back(make_random_kernel(i, options));
    compare(randoms, target);
    if (testing::Test::HasFatalFailure()) return;
  }
}

TEST(CudaEmulated, InstructionsAgreeOnEdges) { compare(instruction_kernels(), {}); }

/// Sums in another order: near. Elementwise kernels and whole numbers: equal.
TEST(CudaEmulated, EverySizeHasItsSchedule) {
  std::vector<RandomKernel> all = schedule_kernels();
  for (bool strict : {false, true}) {
    std::vector<const Kernel*> kernels;
    for (const RandomKernel& random : all) kernels.push_back(&random.kernel);
    EmulatedProgram program(kernels, {.strict = strict});
    for (size_t i = 0; i < all.size(); ++i) {
      double tolerance = strict ? 0 : 2e-5;
      std::string difference = first_far_difference(all[i].kernel, run_reference(all[i]),
                                                    program.run(i, all[i]), tolerance);
      EXPECT_EQ(difference, "") << to_text(all[i].kernel)
                                << generate(all[i].kernel, "k", {.strict = strict});
    }
  }
}

TEST(CudaEmulated, SizesAsArgumentsGiveTheSameBits) {
  std::vector<RandomKernel> fixed = summing_kernels(), open = fixed;
  std::vector<const Kernel*> kernels;
  for (RandomKernel& random : open) random.kernel = with_sizes_as_arguments(random.kernel);
  for (const RandomKernel& random : fixed) kernels.push_back(&random.kernel);
  for (const RandomKernel& random : open) kernels.push_back(&random.kernel);
  EmulatedProgram program(kernels, {});
  for (size_t i = 0; i < fixed.size(); ++i) {
    const std::vector<LaunchData> expected = program.run(i, fixed[i]);
    for (bool misaligned : {false, true})
      EXPECT_EQ(first_difference(fixed[i].kernel, expected,
                                 program.run(fixed.size() + i, open[i], misaligned)),
                "")
          << fixed[i].kernel.name << (misaligned ? " misaligned" : "");
  }
}

TEST(CudaEmulated, ElementwiseAgrees) {
  compare_random({.row_accumulators = false, .column_accumulators = false}, {}, 40);
}

TEST(CudaEmulated, IntegersAgreeInAnyOrder) {
  compare_random({.dtypes = {boolean, u8, u16, u32, u64, i8, i16, i32, i64}}, {}, 60);
}

TEST(CudaEmulated, EverythingAgreesInStrictMode) { compare_random({}, {.strict = true}, 60); }

}  // namespace
}  // namespace encore::jit::cuda
