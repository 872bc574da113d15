// On a GPU: do random kernels, instructions on edge values and every schedule leave the
// interpreter's bits in memory? In default mode sums may be taken in another order.
//
// ENCORE_FUZZ_SEED and ENCORE_FUZZ_PROGRAMS widen the search.
#include <encore/core/settings.h>
#include <encore/jit/backend.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "instruction_kernels.h"
#include "schedule_kernels.h"

namespace encore::jit {
namespace {

uint64_t from_environment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text ? std::strtoull(text, nullptr, 10) : otherwise;
}

class CudaRandom : public ::testing::Test {
 protected:
  void SetUp() override {
    if (cuda_device_count() == 0) GTEST_SKIP() << "there is no GPU here";
    strict_ = settings().strict;
  }
  void TearDown() override { settings().strict = strict_; }

  /// Compiled together. A tolerance of 0 asks for equal bits, but for those of NaN.
  void compare(const std::vector<RandomKernel>& randoms, double tolerance) {
    Backend& gpu = backend(Device{DeviceKind::cuda, 0});
    std::vector<const Kernel*> kernels;
    for (const RandomKernel& random : randoms) kernels.push_back(&random.kernel);
    std::vector<Binary> binaries = gpu.compile(kernels);
    for (size_t i = 0; i < randoms.size(); ++i) {
      auto code = gpu.load(randoms[i].kernel, binaries[i]);
      auto expected = run_reference(randoms[i]), found = run_on(gpu, *code, randoms[i]);
      std::string difference =
          tolerance > 0 ? first_far_difference(randoms[i].kernel, expected, found, tolerance)
                        : first_difference(randoms[i].kernel, expected, found);
      EXPECT_EQ(difference, "") << to_text(randoms[i].kernel);
      if (HasFailure() && ++failures_ > 5) FAIL() << "more failures are left out";
    }
  }

  void compare_random(RandomKernelOptions options, uint64_t count) {
    options.contractions = false;
    uint64_t first = from_environment("ENCORE_FUZZ_SEED", 0);
    uint64_t last = first + from_environment("ENCORE_FUZZ_PROGRAMS", count);
    constexpr uint64_t batch = 16;
    for (uint64_t seed = first; seed < last && !HasFatalFailure(); seed += batch) {
      SCOPED_TRACE(fmt::format("seeds from {} on", seed));
      std::vector<RandomKernel> randoms;
      for (uint64_t i = seed; i < std::min(seed + batch, last); ++i)
        randoms.push_back(make_random_kernel(i, options));
      compare(randoms, 0);
    }
  }

 private:
  bool strict_ = false;
  int failures_ = 0;
};

TEST_F(CudaRandom, InstructionsAgreeOnEdges) { compare(instruction_kernels(), 0); }

TEST_F(CudaRandom, EverySizeHasItsSchedule) { compare(schedule_kernels(), 2e-5); }

TEST_F(CudaRandom, EverySizeHasItsScheduleInStrictMode) {
  settings().strict = true;
  compare(schedule_kernels(), 0);
}

// Whether a kernel was compiled for its sizes or for all changes no sum.
TEST_F(CudaRandom, SizesAsArgumentsGiveTheSameBits) {
  Backend& gpu = backend(Device{DeviceKind::cuda, 0});
  std::vector<RandomKernel> fixed = summing_kernels(), open = fixed;
  std::vector<const Kernel*> kernels;
  for (RandomKernel& random : open) random.kernel = with_sizes_as_arguments(random.kernel);
  for (const RandomKernel& random : fixed) kernels.push_back(&random.kernel);
  for (const RandomKernel& random : open) kernels.push_back(&random.kernel);
  const std::vector<Binary> binaries = gpu.compile(kernels);
  for (size_t i = 0; i < fixed.size(); ++i) {
    auto own = gpu.load(*kernels[i], binaries[i]);
    auto any = gpu.load(*kernels[fixed.size() + i], binaries[fixed.size() + i]);
    EXPECT_EQ(
        first_difference(fixed[i].kernel, run_on(gpu, *own, fixed[i]), run_on(gpu, *any, open[i])),
        "")
        << fixed[i].kernel.name;
  }
}

TEST_F(CudaRandom, ElementwiseAgrees) {
  compare_random({.row_accumulators = false, .column_accumulators = false}, 64);
}

TEST_F(CudaRandom, IntegersAgreeInAnyOrder) {
  compare_random({.dtypes = {boolean, u8, u16, u32, u64, i8, i16, i32, i64}}, 48);
}

TEST_F(CudaRandom, EverythingAgreesInStrictMode) {
  settings().strict = true;
  compare_random({}, 96);
}

}  // namespace
}  // namespace encore::jit
