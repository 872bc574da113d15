// Random kernels compiled by LLVM leave the interpreter's bits in memory, under every ISA.
#include <encore/core/error.h>
#include <encore/jit/cpu/cpu_backend.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "random_kernel.h"

namespace encore::jit {
namespace {

/// More with ENCORE_TEST_SEEDS=n, from ENCORE_TEST_FIRST_SEED on.
uint64_t from_environment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text ? std::strtoull(text, nullptr, 10) : otherwise;
}

class LlvmRandom : public testing::TestWithParam<Isa> {
 protected:
  void compare(const RandomKernelOptions& options, uint64_t count) {
    if (GetParam() > host_isa()) GTEST_SKIP() << "not on this machine";
    std::unique_ptr<Backend> backend = make_cpu_backend(GetParam());
    uint64_t first = from_environment("ENCORE_TEST_FIRST_SEED", 0);
    for (uint64_t seed = first; seed < first + from_environment("ENCORE_TEST_SEEDS", count);
         ++seed) {
      RandomKernel random = make_random_kernel(seed, options);
      std::string difference =
          first_difference(random.kernel, run_reference(random), run_on(*backend, random));
      ASSERT_EQ(difference, "") << "seed " << seed << "\n" << to_text(random.kernel);
    }
  }
};

TEST_P(LlvmRandom, ElementwiseAgrees) {
  compare({.contractions = false, .row_accumulators = false, .column_accumulators = false}, 150);
}

TEST_P(LlvmRandom, EverythingAgrees) { compare({}, 400); }

INSTANTIATE_TEST_SUITE_P(Isa, LlvmRandom, testing::Values(Isa::avx2, Isa::avx512),
                         [](const auto& info) {
                           return info.param == Isa::avx2 ? "avx2" : "avx512";
                         });

}  // namespace
}  // namespace encore::jit
