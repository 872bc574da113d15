// Does NVRTC take all code that is generated, and does what matters most come out as it should:
// no registers spilled, memory read and written 16 bytes at once? Needs no GPU.
#include <encore/encore.h>
#include <encore/jit/cuda/generate.h>
#include <encore/jit/cuda/nvrtc.h>
#include <encore/lazy/elementwise.h>
#include <fmt/format.h>
#include <gmock/gmock.h>

#include "cubin.h"
#include "instruction_kernels.h"
#include "recorded_kernels.h"
#include "schedule_kernels.h"

namespace encore {
namespace {

using jit::Kernel;
using jit::cuda::Target;
using ::testing::HasSubstr;

class CudaCodegen : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!jit::cuda::nvrtc_is_available())
      GTEST_SKIP() << "there is no NVRTC here (see ENCORE_CUDA_PATH)";
  }

  static std::string program(std::span<const Kernel> kernels, const Target& target) {
    std::string source = prelude(target);
    for (size_t i = 0; i < kernels.size(); ++i)
      source += generate(kernels[i], fmt::format("k{}", i), target);
    return source;
  }

  /// Compiles in programs of twenty; every function is there and needs no stack beyond `most`.
  static void expect_cubins(std::span<const Kernel> kernels, Target target, uint32_t most) {
    for (size_t first = 0; first < kernels.size(); first += 20) {
      auto some = kernels.subspan(first, std::min<size_t>(20, kernels.size() - first));
      std::vector<std::byte> cubin;
      ASSERT_NO_THROW(
          cubin = jit::cuda::compile_to_cubin(program(some, target), target.compute_capability))
          << jit::to_text(some[0]);
      auto stacks = testing::stack_bytes(cubin);
      for (size_t i = 0; i < some.size(); ++i) {
        uint32_t functions = jit::cuda::LaunchLayout(some[i], target).functions();
        for (uint32_t f = 0; f < functions; ++f) {
          std::string symbol = jit::cuda::function_symbol(fmt::format("k{}", i), f);
          ASSERT_TRUE(stacks.contains(symbol)) << symbol;
          EXPECT_LE(stacks[symbol], most) << jit::to_text(some[i]);
        }
      }
    }
  }

  static std::vector<Kernel> kernels_in(const std::vector<jit::RandomKernel>& randoms) {
    std::vector<Kernel> kernels;
    for (const jit::RandomKernel& random : randoms) kernels.push_back(random.kernel);
    return kernels;
  }
};

constexpr uint32_t any_stack = 1 << 20;  // fmod takes some

TEST_F(CudaCodegen, EveryInstructionCompiles) {
  std::vector<Kernel> kernels = kernels_in(jit::instruction_kernels());
  EXPECT_GT(kernels.size(), 300u);
  expect_cubins(kernels, {.compute_capability = 90}, any_stack);
}

TEST_F(CudaCodegen, RandomKernelsCompile) {
  jit::RandomKernelOptions options{.contractions = false};
  std::vector<Kernel> kernels;
  for (uint64_t seed = 0; seed < 60; ++seed)
    kernels.push_back(make_random_kernel(seed, options).kernel);
  std::span<const Kernel> all = kernels;
  expect_cubins(all.first(20), {.compute_capability = 80}, any_stack);
  expect_cubins(all.subspan(20, 20), {.compute_capability = 90}, any_stack);
  expect_cubins(all.subspan(40), {.compute_capability = 90, .strict = true}, any_stack);
}

TEST_F(CudaCodegen, NoScheduleSpills) {
  std::vector<Kernel> kernels;
  for (const jit::RandomKernel& random : jit::schedule_kernels())
    if (kernels.size() < 60) kernels.push_back(random.kernel);
  expect_cubins(kernels, {.compute_capability = 90}, 0);
}

/// One kernel of each row of the op table.
TEST_F(CudaCodegen, EveryOpCompiles) {
  std::vector<Kernel> kernels;
  for (DType dtype : {f32, bf16, i32}) {
    Tensor x = ones({3, 5}, {.dtype = dtype});
    eval(x);
    for (const OpInfo& row : elementwise_ops()) {
      bool fits = row.types != Types::logical && (row.types != Types::floating || dtype != i32) &&
                  (row.types != Types::bits || dtype == i32);
      if (!fits || row.name == "cast") continue;
      OpId id = OpId(int(first_elementwise()) + int(&row - elementwise_ops().data()));
      Arg a(x), b(x), condition(x > 0);
      Tensor y = row.types == Types::where ? record_elementwise(id, {&condition, &b, &a})
                 : row.arity == 1          ? record_elementwise(id, {&a})
                                           : record_elementwise(id, {&a, &b});
      for (Kernel& kernel : testing::kernels_of({{y}})) kernels.push_back(std::move(kernel));
    }
  }
  EXPECT_GT(kernels.size(), 80u);
  expect_cubins(kernels, {.compute_capability = 90}, any_stack);
}

// ---- What programs spend their time in ---------------------------------------------------------

Tensor leaf(Shape shape) {
  Tensor x = zeros(shape);
  eval(x);
  return x;
}

class CudaGolden : public CudaCodegen {
 protected:
  static void expect_vectors(std::initializer_list<Tensor> results, size_t most_kernels) {
    std::vector<Kernel> kernels = testing::kernels_of(results);
    EXPECT_LE(kernels.size(), most_kernels);
    expect_cubins(kernels, {}, 0);
    std::string ptx = jit::cuda::compile_to_ptx(program({&kernels[0], 1}, {}), 90);
    EXPECT_THAT(ptx, HasSubstr("ld.global.v4"));
    EXPECT_THAT(ptx, HasSubstr("st.global.v4"));
  }
};

TEST_F(CudaGolden, ElementwiseChain) {
  Tensor a = leaf({64, 512}), b = leaf({64, 512}), c = leaf({64, 512}), bias = leaf({512});
  expect_vectors({gelu(a * b + bias, GeluForm::tanh) + c}, 1);
}

TEST_F(CudaGolden, Softmax) {
  for (int64_t columns : {128, 1024, 4096}) expect_vectors({softmax(leaf({64, columns}), -1)}, 1);
}

TEST_F(CudaGolden, LayerNormForwardAndBackward) {
  Tensor x = variable(leaf({512, 1024})), g = variable(leaf({1024})), b = variable(leaf({1024}));
  Tensor y = layer_norm(x, {1024}, g, b), dy = leaf({512, 1024});
  std::vector<Tensor> gradients = grad((y * dy).sum(), {x, g, b});
  expect_vectors({y, gradients[0], gradients[1], gradients[2]}, 2);
}

TEST_F(CudaGolden, ColumnSum) {
  Tensor a = leaf({4096, 1024});
  expect_vectors({(exp(a) * a).sum({0})}, 2);
}

TEST_F(CudaGolden, HalfPrecisionMovesEightAtOnce) {
  Tensor x = zeros({64, 512}, {.dtype = bf16}), y = zeros({64, 512}, {.dtype = bf16});
  eval(x, y);
  expect_vectors({x * y}, 1);
}

/// Many parameters of one structure: sizes are arguments, vectors are chosen at launch.
TEST_F(CudaGolden, OptimizerStep) {
  std::vector<Tensor> leaves, results;
  for (int64_t n : {1000, 2000, 3001})
    for (int i = 0; i < 4; ++i) leaves.push_back(leaf({n}));
  for (size_t i = 0; i < leaves.size(); i += 4) {
    Tensor p = leaves[i], g = leaves[i + 1], m = leaves[i + 2], v = leaves[i + 3];
    Tensor m2 = m * 0.9 + g * 0.1, v2 = v * 0.999 + g * g * 0.001;
    results.insert(results.end(), {m2, v2, p - m2 / (sqrt(v2) + 1e-8) * 0.001});
  }
  std::vector<Kernel> kernels = testing::kernels_of(results);
  ASSERT_EQ(kernels.size(), 1u);
  expect_cubins(kernels, {}, 0);
  EXPECT_GE(jit::cuda::LaunchLayout(kernels[0], {}).capacity(), 25u);
  EXPECT_THAT(jit::cuda::compile_to_ptx(program(kernels, {}), 90), HasSubstr("ld.global.v4"));
}

}  // namespace
}  // namespace encore
