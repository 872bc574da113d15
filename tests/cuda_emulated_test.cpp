// Generated CUDA code, run on the host by an emulator, leaves the interpreter's bits in memory.
//
// ENCORE_FUZZ_SEED and ENCORE_FUZZ_PROGRAMS widen the search.
#include <encore/core/error.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "cuda_emulator.h"

namespace encore::jit::cuda {
namespace {

uint64_t from_environment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text ? std::strtoull(text, nullptr, 10) : otherwise;
}

void compare(RandomKernelOptions options, Target target, uint64_t count) {
  options.contractions = false;
  uint64_t first = from_environment("ENCORE_FUZZ_SEED", 0);
  uint64_t last = first + from_environment("ENCORE_FUZZ_PROGRAMS", count);
  constexpr uint64_t batch = 20;
  for (uint64_t seed = first; seed < last; seed += batch) {
    std::vector<RandomKernel> randoms;
    std::vector<const Kernel*> kernels;
    for (uint64_t i = seed; i < std::min(seed + batch, last); ++i)
      randoms.push_back(make_random_kernel(i, options));
    for (const RandomKernel& random : randoms) kernels.push_back(&random.kernel);
    EmulatedProgram program(kernels, target);
    for (size_t i = 0; i < randoms.size(); ++i) {
      std::string difference = first_difference(randoms[i].kernel, run_reference(randoms[i]),
                                                program.run(i, randoms[i]));
      ASSERT_EQ(difference, "") << "seed " << seed + i << "\n"
                                << to_text(randoms[i].kernel)
                                << generate(randoms[i].kernel, "k", target);
    }
  }
}

TEST(CudaEmulated, ElementwiseAgrees) {
  compare({.row_accumulators = false, .column_accumulators = false}, {}, 40);
}

TEST(CudaEmulated, IntegersAgreeInAnyOrder) {
  compare({.dtypes = {boolean, u8, u16, u32, u64, i8, i16, i32, i64}}, {}, 60);
}

TEST(CudaEmulated, EverythingAgreesInStrictMode) { compare({}, {.strict = true}, 60); }

}  // namespace
}  // namespace encore::jit::cuda
