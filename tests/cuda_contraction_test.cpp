// On a GPU: are contractions the interpreter's bits in strict mode, and otherwise as close to a sum
// in double as their precision promises?
//
// The oracle is the CPU's compiled code, which tests/contraction_test.cpp holds to the
// interpreter's bits. ENCORE_FUZZ_SEED and ENCORE_FUZZ_PROGRAMS widen the random search.
#include <encore/core/settings.h>
#include <encore/jit/backend.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>

#include "contraction_oracle.h"

namespace encore::jit {
namespace {

uint64_t from_environment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text ? std::strtoull(text, nullptr, 10) : otherwise;
}

class CudaContraction : public ::testing::Test {
 protected:
  void SetUp() override {
    if (cuda_device_count() == 0) GTEST_SKIP() << "there is no GPU here";
    strict_ = settings().strict;
    wgmma_ = settings().wgmma;
    settings().wgmma = false;
  }
  void TearDown() override {
    settings().strict = strict_;
    settings().wgmma = wgmma_;
  }

  static Backend& gpu() { return backend(Device{DeviceKind::cuda, 0}); }
  static std::vector<LaunchData> on_cpu(const RandomKernel& random) {
    return run_on(backend(Device{DeviceKind::cpu, 0}), random);
  }

  /// By text, compiled together.
  void compile(const std::vector<const RandomKernel*>& randoms) {
    std::vector<const Kernel*> kernels;
    std::vector<std::string> texts;
    for (const RandomKernel* random : randoms) {
      std::string text = to_text(random->kernel);
      if (!code_.try_emplace(text, nullptr).second) continue;
      texts.push_back(std::move(text));
      kernels.push_back(&random->kernel);
    }
    const std::vector<Binary> binaries = gpu().compile(kernels);
    for (size_t i = 0; i < kernels.size(); ++i)
      code_[texts[i]] = gpu().load(*kernels[i], binaries[i]);
  }

  std::vector<LaunchData> run(const RandomKernel& random) {
    return run_on(gpu(), *code_.at(to_text(random.kernel)), random);
  }

  void compare(const std::vector<ContractionCase>& cases) {
    std::vector<const RandomKernel*> randoms;
    for (const ContractionCase& one : cases) randoms.push_back(&one.random);
    compile(randoms);
    for (const ContractionCase& one : cases) {
      EXPECT_EQ(contraction_difference(one, run(one.random), settings().strict, on_cpu), "")
          << one.name;
      EXPECT_EQ(first_difference(one.random.kernel, run(one.random), run(one.random)), "")
          << one.name << ": two runs differ";
      if (HasFailure() && ++failures_ > 10) FAIL() << "more failures are left out";
    }
  }

 private:
  std::map<std::string, std::shared_ptr<const Executable>> code_;
  bool strict_ = false, wgmma_ = false;
  int failures_ = 0;
};

TEST_F(CudaContraction, SmallOnesAreClose) { compare(ContractionCases::make(false)); }

TEST_F(CudaContraction, SmallOnesAreTheInterpretersBitsInStrictMode) {
  settings().strict = true;
  compare(ContractionCases::make(false));
}

TEST_F(CudaContraction, LargeOnesAreClose) { compare(ContractionCases::make_large()); }

TEST_F(CudaContraction, SmallOnesByWarpgroupsAreClose) {
  settings().wgmma = true;
  compare(ContractionCases::make(false));
}

TEST_F(CudaContraction, LargeOnesByWarpgroupsAreClose) {
  settings().wgmma = true;
  compare(ContractionCases::make_large());
}

TEST_F(CudaContraction, LargeOnesAreTheInterpretersBitsInStrictMode) {
  settings().strict = true;
  compare(ContractionCases::make_large());
}

TEST_F(CudaContraction, RandomKernelsAgreeInStrictMode) {
  settings().strict = true;
  uint64_t seed = from_environment("ENCORE_FUZZ_SEED", 0);
  const uint64_t count = from_environment("ENCORE_FUZZ_PROGRAMS", 160);
  std::vector<RandomKernel> randoms;
  for (; randoms.size() < count; ++seed) {
    RandomKernel random = make_random_kernel(seed, {.row_accumulators = false, .store_add = false});
    if (random.kernel.contraction) randoms.push_back(std::move(random));
  }
  std::vector<const RandomKernel*> all;
  for (const RandomKernel& random : randoms) all.push_back(&random);
  compile(all);
  for (const RandomKernel& random : randoms)
    EXPECT_EQ(first_difference(random.kernel, run_reference(random), run(random)), "")
        << to_text(random.kernel);
}

// How operands lie in memory and whether sizes are arguments changes no bit.
TEST_F(CudaContraction, SizesAsArgumentsGiveTheSameBits) {
  for (auto [m, n, k] : {std::tuple{128, 512, 784}, {300, 70, 260}, {1024, 1024, 512}}) {
    for (MatmulPrecision precision : {MatmulPrecision::highest, MatmulPrecision::high}) {
      Kernel kernel = matmul_kernel(f32, 1, m, n, k);
      kernel.contraction->precision = precision;
      const std::vector<int64_t> elements = {int64_t(m) * k, int64_t(k) * n, int64_t(m) * n};
      const RandomKernel fixed = with_data(kernel, elements);
      const RandomKernel open = with_data(with_sizes_as_arguments(kernel), elements);
      compile({&fixed, &open});
      EXPECT_EQ(first_difference(kernel, run(fixed), run(open)), "") << m << " " << n << " " << k;
    }
  }
}

}  // namespace
}  // namespace encore::jit
