// Do products that cuBLASLt makes come out as ours do, with all that follows them; is it asked only
// where that is faster; are its algorithms chosen once; and what happens where it fails? On a GPU
// with the library, else on fakes of both.
#include <dlfcn.h>
#include <encore/encore.h>
#include <encore/jit/backend.h>
#include <encore/jit/cuda/choose_product.h>
#include <encore/jit/cuda/cublaslt.h>
#include <encore/jit/cuda/library_products.h>
#include <encore/trace/runtime.h>
#include <encore/trace/statistics.h>
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>

#include "contraction_kernels.h"
#include "fake_cublaslt.h"
#include "fake_cuda_driver.h"

namespace encore {
namespace {

using jit::cuda::library_calls;
using jit::cuda::library_variant;
using ::testing::HasSubstr;

bool on_real_gpu = false;

/// Small integers, so that a product of bf16 or TF32 is exact.
std::vector<float> numbers(int64_t count, int seed) {
  std::vector<float> values;
  for (int64_t i = 0; i < count; ++i) values.push_back(float((i * 7 + seed) % 9 - 4));
  return values;
}

struct Matrix {
  Matrix(int64_t rows, int64_t columns, int seed)
      : rows(rows), columns(columns), values(numbers(rows * columns, seed)) {}
  Matrix(int64_t rows, int64_t columns) : rows(rows), columns(columns) {
    values.resize(size_t(rows * columns));
  }
  float& at(int64_t i, int64_t j) { return values[size_t(i * columns + j)]; }
  float at(int64_t i, int64_t j) const { return values[size_t(i * columns + j)]; }
  Tensor on(Device device) const { return from_vector(values, {rows, columns}, device); }
  Tensor on_gpu() const { return on(cuda(0)); }

  int64_t rows, columns;
  std::vector<float> values;
};

Matrix product(const Matrix& a, const Matrix& b) {
  Matrix result(a.rows, b.columns);
  for (int64_t i = 0; i < a.rows; ++i)
    for (int64_t j = 0; j < b.columns; ++j)
      for (int64_t k = 0; k < a.columns; ++k) result.at(i, j) += a.at(i, k) * b.at(k, j);
  return result;
}

Matrix transposed(const Matrix& a) {
  Matrix result(a.columns, a.rows);
  for (int64_t i = 0; i < a.rows; ++i)
    for (int64_t j = 0; j < a.columns; ++j) result.at(j, i) = a.at(i, j);
  return result;
}

/// The fake that is open, or is opened.
fake_cublaslt::Library& fake_library() {
  const std::string path = settings().cuda_path + "/libcublasLt.so.13";
  void* library = dlopen(path.c_str(), RTLD_NOW);
  return *reinterpret_cast<fake_cublaslt::Library* (*)()>(dlsym(library, "fake_cublaslt"))();
}

class CudaLibraryTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!jit::cuda::cublaslt_is_available()) GTEST_SKIP() << "there is no cuBLASLt here";
    settings().cublaslt = "always";
    set_matmul_precision(MatmulPrecision::high);
    trace::runtime().clear_caches();
    before_ = library_calls();
  }
  void TearDown() override {
    settings().cublaslt = Settings().cublaslt;
    set_matmul_precision(MatmulPrecision::highest);
  }
  /// Calls of the library, those that measure not counted.
  int64_t calls() const { return library_calls() - before_; }

 private:
  int64_t before_ = 0;
};

TEST_F(CudaLibraryTest, EveryLayoutOfAProductIsRight) {
  const Matrix a(24, 40, 1), b(40, 48, 2), expected = product(a, b);
  const Matrix a_by_depth = transposed(a), b_by_depth = transposed(b);
  for (MatmulPrecision precision : {MatmulPrecision::highest, MatmulPrecision::high}) {
    set_matmul_precision(precision);
    Tensor at = a_by_depth.on_gpu(), bt = b_by_depth.on_gpu();
    const int64_t before = calls();
    EXPECT_EQ(matmul(a.on_gpu(), b.on_gpu()).to_vector<float>(), expected.values);
    EXPECT_EQ(matmul(at.transpose(0, 1), b.on_gpu()).to_vector<float>(), expected.values);
    EXPECT_EQ(matmul(a.on_gpu(), bt.transpose(0, 1)).to_vector<float>(), expected.values);
    EXPECT_EQ(matmul(at.transpose(0, 1), bt.transpose(0, 1)).to_vector<float>(), expected.values);
    EXPECT_EQ(calls() - before, 4);
  }
}

TEST_F(CudaLibraryTest, HalvesAreMultipliedAsTheyAreAndRoundedOnce) {
  const Matrix a(24, 40, 1), b(40, 48, 2), bias(1, 48, 3), expected = product(a, b);
  for (DType dtype : {bf16, f16}) {
    Matrix added = expected;
    for (int64_t i = 0; i < 24; ++i)
      for (int64_t j = 0; j < 48; ++j) added.at(i, j) += bias.at(0, j);
    Tensor x = a.on_gpu().to(dtype), w = b.on_gpu().to(dtype), c = bias.on_gpu().to(dtype);
    eval(x, w, c);
    auto stored = [](Tensor y) { return eval(y), y.to(f32).to_vector<float>(); };
    auto rounded = [&](const Matrix& y) { return y.on(cpu).to(dtype).to(f32).to_vector<float>(); };
    EXPECT_EQ(stored(matmul(x, w)), rounded(expected)) << name_of(dtype);
    EXPECT_EQ(stored(matmul(x, w).to(f32)), expected.values) << name_of(dtype);
    EXPECT_EQ(stored(matmul(x, w) + c), rounded(added)) << name_of(dtype);
  }
  EXPECT_EQ(calls(), 6);
}

TEST_F(CudaLibraryTest, BatchesAreOneCall) {
  const int64_t count = 3, m = 8, k = 20, n = 12;
  const std::vector<float> a = numbers(count * m * k, 5), b = numbers(count * k * n, 6);
  auto multiply = [&](Device device) {
    Tensor x = from_vector(a, {count, m, k}, device), y = from_vector(b, {count, k, n}, device);
    return (matmul(x, y) * 0.5).to_vector<float>();
  };
  EXPECT_EQ(multiply(cuda(0)), multiply(cpu));
  EXPECT_EQ(calls(), 1);
}

// The library has a relu too, which may drop NaN.
TEST_F(CudaLibraryTest, BiasIsTheLibrarysOwnAndReluIsOurs) {
  Matrix a(24, 40, 1);
  a.at(3, 7) = std::nanf("");
  const Matrix b(40, 48, 2), bias(1, 48, 3);
  auto run = [&](Device device, auto&& f) {
    Tensor y = f(matmul(a.on(device), b.on(device)), bias.on(device).reshape({48}));
    std::vector<float> values = y.to_vector<float>();
    for (float& value : values) value = std::isnan(value) ? 12345 : value;
    return values;
  };
  auto biased = [](const Tensor& x, const Tensor& bias) { return x + bias; };
  auto both = [](const Tensor& x, const Tensor& bias) { return relu(bias + x); };
  auto only_relu = [](const Tensor& x, const Tensor&) { return relu(x); };
  const jit::Kernel none = jit::matmul_kernel(f32, 1, 24, 48, 40);
  EXPECT_FALSE(jit::cuda::split_contraction(none)->epilogue);
  EXPECT_EQ(run(cuda(0), biased), run(cpu, biased));
  EXPECT_EQ(run(cuda(0), both), run(cpu, both));
  EXPECT_EQ(run(cuda(0), only_relu), run(cpu, only_relu));
  EXPECT_EQ(calls(), 3);
}

// The library has a gelu too, but another one: a coarser tanh.
TEST_F(CudaLibraryTest, WhatFollowsAProductIsOurs) {
  const Matrix a(24, 40, 1), b(40, 48, 2), bias(1, 48, 3);
  auto run = [&](Device device) {
    Tensor x = matmul(a.on(device), b.on(device)) * 0.01 + bias.on(device);
    Tensor y = gelu(x, GeluForm::tanh), total = y.sum({0}, true);
    eval(x, y, total);
    return std::tuple(x.to_vector<float>(), y.to_vector<float>(), total.to_vector<float>());
  };
  const auto [x, y, total] = run(cuda(0));
  const auto [x_cpu, y_cpu, total_cpu] = run(cpu);
  for (size_t i = 0; i < x.size(); ++i) {
    EXPECT_NEAR(x[i], x_cpu[i], 1e-5);
    EXPECT_NEAR(y[i], y_cpu[i], 1e-5);
  }
  for (size_t i = 0; i < total.size(); ++i) EXPECT_NEAR(total[i], total_cpu[i], 1e-3);
  EXPECT_EQ(calls(), 1);
}

// The output stands where an operand of what follows stood.
TEST_F(CudaLibraryTest, MemoryThatIsStillReadIsNotTheMatrix) {
  const Matrix a(24, 40, 1), b(40, 48, 2), once = product(a, b);
  Tensor x = a.on_gpu(), w = b.on_gpu(), sum = zeros({24, 48}, {.device = cuda(0)});
  eval(x, w, sum);
  for (int run = 1; run <= 4; ++run) {
    sum = sum + matmul(x, w);
    encore::sync();
  }
  std::vector<float> expected = once.values;
  for (float& value : expected) value *= 4;
  EXPECT_EQ(sum.to_vector<float>(), expected);
  EXPECT_EQ(calls(), 4);
}

TEST_F(CudaLibraryTest, GraphsHoldCallsAndNoOldAddresses) {
  std::vector<Tensor> held;
  const Matrix b(40, 48, 2), c(48, 28, 4);
  Tensor second = b.on_gpu(), third = c.on_gpu();
  const trace::Statistics before = trace::statistics();
  for (int run = 0; run < 6; ++run) {
    const Matrix a(24, 40, run);
    Tensor x = a.on_gpu();
    held.push_back(x);
    Tensor y = matmul(relu(matmul(x, second)), third) + 1.0;
    eval(y);
    held.push_back(y);
    Matrix middle = product(a, b);
    for (float& value : middle.values) value = std::max(value, 0.0f);
    Matrix expected = product(middle, c);
    for (float& value : expected.values) value += 1;
    EXPECT_EQ(y.to_vector<float>(), expected.values) << run;
  }
  const trace::Statistics after = trace::statistics();
  EXPECT_EQ(after.graph_launches - before.graph_launches, 5);
  EXPECT_EQ(calls(), 12);  // operands and results moved each time
  // Nothing moves any more.
  Tensor x = Matrix(24, 40, 9).on_gpu();
  auto step = [&] {
    Tensor y = matmul(relu(matmul(x, second)), third) + 1.0;
    eval(y);
  };
  step(), step();
  const int64_t settled = calls();
  for (int run = 0; run < 3; ++run) step();
  EXPECT_EQ(calls(), settled);
  EXPECT_EQ(trace::statistics().graph_launches - after.graph_launches, 5);
}

// What the fake's fastest algorithm wants is larger than some of the program's buffers.
TEST_F(CudaLibraryTest, WorkspacesLieWhereTheProgramHasRoom) {
  auto peak = [](const char* who) {
    settings().cublaslt = who;
    trace::runtime().clear_caches();
    const int64_t before = stats().live_bytes;
    manual_seed(1);
    const Device device = cuda(0);
    Tensor x = randn({768, 64}, {.device = device}), a = randn({64, 128}, {.device = device}),
           b = randn({128, 128}, {.device = device}), c = randn({128, 16}, {.device = device});
    encore::sync();
    for (int step = 0; step < 4; ++step) {
      if (step == 3) trace::reset_peak_bytes();
      {
        Tensor u = variable(a), v = variable(b), w = variable(c);
        Tensor loss = square(matmul(tanh(matmul(tanh(matmul(x, u)), v)), w)).mean();
        std::vector<Tensor> slopes = grad(loss, {u, v, w});
        a = a - slopes[0] * 0.1, b = b - slopes[1] * 0.1, c = c - slopes[2] * 0.1;
      }
      encore::sync();
    }
    const int64_t bytes = stats().peak_bytes - before;
    return std::pair(bytes, a.sum().item<float>() + b.sum().item<float>());
  };
  const auto [generated_bytes, generated] = peak("off");
  if (!on_real_gpu) fake_library().runs.clear();
  const auto [bytes, value] = peak("always");
  EXPECT_GT(calls(), 8);
  // Where a value's gradient overwrites it, what the library multiplied has memory of its own.
  const int64_t matrix = 768 * 128 * 4;
  EXPECT_LE(bytes, generated_bytes + matrix + generated_bytes / 20);
  EXPECT_NEAR(value, generated, 1e-3 * std::abs(generated));
  fmt::print("peak {} bytes, without cuBLASLt {}\n", bytes, generated_bytes);
}

TEST_F(CudaLibraryTest, OneKernelServesManyShapes) {
  const int64_t before = trace::statistics().kernels_compiled;
  for (int64_t rows : {24, 28, 32, 36, 40}) {
    const Matrix a(rows, 44, 1), b(44, 52, 2);
    EXPECT_EQ((matmul(a.on_gpu(), b.on_gpu()) + 1.0).to_vector<float>()[5],
              product(a, b).values[5] + 1);
  }
  EXPECT_EQ(trace::statistics().kernels_compiled - before, 2);
  EXPECT_EQ(calls(), 5);
}

TEST_F(CudaLibraryTest, OfManyShapesTheOldAreForgotten) {
  constexpr auto most = int64_t(jit::cuda::LibraryProducts::most_shapes);
  const Tensor b = from_vector(std::vector<float>(64, 1), {8, 8}, cuda(0));
  for (int64_t shape = 0; shape < most + 32; ++shape) {
    const int64_t rows = 8 * (1 + shape % (most + 8));  // the first come once more
    const Tensor a = from_vector(std::vector<float>(size_t(rows * 8), 0.5f), {rows, 8}, cuda(0));
    ASSERT_EQ(matmul(a, b).to_vector<float>(), std::vector<float>(size_t(rows * 8), 4)) << shape;
  }
  EXPECT_GE(calls(), most + 32);
  if (on_real_gpu) return;
  trace::runtime().clear_caches();
  auto& count = fake_library().calls;
  EXPECT_LE(count["cublasLtMatmulDescCreate"] - count["cublasLtMatmulDescDestroy"], most + 1);
}

TEST_F(CudaLibraryTest, OnlyWhereNumbersAllow) {
  const Matrix a(24, 40, 1), b(40, 48, 2), odd(40, 47, 2);
  auto multiply = [&](const Matrix& b) {
    trace::runtime().clear_caches();
    const int64_t before = calls();
    EXPECT_EQ(matmul(a.on_gpu(), b.on_gpu()).to_vector<float>(), product(a, b).values);
    return calls() - before;
  };
  EXPECT_EQ(multiply(b), 1);
  EXPECT_EQ(multiply(odd), 0);  // rows that do not begin at multiples of 16 bytes
  settings().cublaslt = "on";
  EXPECT_EQ(multiply(b), 0);  // too small
  settings().cublaslt = "off";
  EXPECT_EQ(multiply(b), 0);
  settings().cublaslt = "always";
  settings().strict = true;
  EXPECT_EQ(multiply(b), 0);
  settings().strict = false;
  settings().cublaslt = "sometimes";
  EXPECT_THROW(multiply(b), Error);
}

TEST_F(CudaLibraryTest, OnlyWhereItIsFaster) {
  settings().cublaslt = "on";
  jit::Backend& backend = jit::backend(cuda(0));
  auto is_chosen = [&](int64_t m, int64_t k, int64_t n, DType dtype, MatmulPrecision precision) {
    jit::Kernel kernel = jit::matmul_kernel(f32, 1, m, n, k);
    for (jit::Argument& argument : kernel.arguments) argument.dtype = dtype;
    kernel.contraction->precision = precision;
    const uint32_t fixed = backend.variant(kernel);
    EXPECT_EQ(fixed == library_variant,
              backend.variant(with_sizes_as_arguments(kernel)) == library_variant);
    return fixed == library_variant;
  };
  using enum MatmulPrecision;
  EXPECT_TRUE(is_chosen(8192, 1024, 4096, f32, high));
  EXPECT_TRUE(is_chosen(8192, 1024, 4096, bf16, highest));
  EXPECT_TRUE(is_chosen(8192, 1024, 4096, f16, highest));
  EXPECT_FALSE(is_chosen(128, 784, 512, f32, high));
  EXPECT_FALSE(is_chosen(128, 784, 512, bf16, highest));
  EXPECT_FALSE(is_chosen(128, 256, 10, f32, highest));
  EXPECT_FALSE(is_chosen(8192, 1024, 4096, f64, highest));
}

/// In a process of its own: what happens there happens once in a process.
class CudaLibraryApart : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!fake_cuda::is_apart()) GTEST_SKIP() << "runs for another test";
    settings().cublaslt = "always";
    set_matmul_precision(MatmulPrecision::high);
  }
};

/// Results stay right while FAKE_FAILS fails.
TEST_F(CudaLibraryApart, Fails) {
  fake_library().failures[std::getenv("FAKE_FAILS")] = 14;
  const Matrix a(24, 40, 1), b(40, 48, 2);
  for (int run = 0; run < 3; ++run) {
    EXPECT_EQ(matmul(a.on_gpu(), b.on_gpu()).to_vector<float>(), product(a, b).values);
    EXPECT_EQ(relu(matmul(a.on_gpu(), b.on_gpu()) + 2.0).to_vector<float>()[7],
              std::max(product(a, b).values[7] + 2, 0.0f));
  }
  EXPECT_EQ(library_calls(), 0);
}

TEST(CudaLibraryFailures, BeforeAProductRunsLeaveItToUs) {
  if (on_real_gpu) GTEST_SKIP() << "failures are the fake's";
  for (const char* name :
       {"cublasLtCreate", "cublasLtMatmulDescCreate", "cublasLtMatrixLayoutCreate",
        "cublasLtMatmulPreferenceCreate", "cublasLtMatmulPreferenceSetAttribute",
        "cublasLtMatmulAlgoGetHeuristic"}) {
    const std::string said =
        fake_cuda::run_apart("CudaLibraryApart.Fails", std::string("FAKE_FAILS=") + name);
    EXPECT_THAT(said, HasSubstr("generated code makes such products")) << name;
    EXPECT_THAT(said, HasSubstr(std::string(name) + " ")) << said;
    EXPECT_EQ(said.find("generated code makes"), said.rfind("generated code makes")) << said;
  }
}

TEST_F(CudaLibraryTest, AFailingProductIsAnErrorAndTheNextOneRuns) {
  if (on_real_gpu) GTEST_SKIP() << "failures are the fake's";
  const Matrix a(24, 40, 1), b(40, 56, 2);
  fake_library().failures["cublasLtMatmul"] = 13;
  EXPECT_THROW(matmul(a.on_gpu(), b.on_gpu()).to_vector<float>(), DeviceError);
  fake_library().failures.clear();
  EXPECT_EQ(matmul(a.on_gpu(), b.on_gpu()).to_vector<float>(), product(a, b).values);
}

TEST_F(CudaLibraryApart, DoesNotOpenIt) {
  settings().cublaslt = "on";
  const Matrix a(24, 40, 1), b(40, 48, 2);
  EXPECT_EQ(matmul(a.on_gpu(), b.on_gpu()).to_vector<float>(), product(a, b).values);
  settings().cublaslt = "off";
  const jit::Kernel large = jit::matmul_kernel(f32, 1, 8192, 4096, 1024);
  EXPECT_NE(jit::backend(cuda(0)).variant(large), library_variant);
  for (const char* name : {"libcublasLt.so.13", "libcublasLt.so.12"}) {
    EXPECT_FALSE(dlopen(name, RTLD_NOW | RTLD_NOLOAD));
    EXPECT_FALSE(dlopen((settings().cuda_path + "/" + name).c_str(), RTLD_NOW | RTLD_NOLOAD));
  }
}

TEST(CudaLibrary, IsNotOpenedForSmallProductsNorWhereItIsOff) {
  EXPECT_THAT(fake_cuda::run_apart("CudaLibraryApart.DoesNotOpenIt"), HasSubstr("PASSED"));
}

TEST_F(CudaLibraryApart, TellsWhatItMeasured) {
  const Matrix a(24, 40, 1), b(40, 48, 2);
  for (int run = 0; run < 3; ++run) {
    EXPECT_EQ(matmul(a.on_gpu(), b.on_gpu()).to_vector<float>(), product(a, b).values);
    trace::runtime().clear_caches();
  }
  std::string runs;
  if (!on_real_gpu)
    for (auto [algorithm, count] : fake_library().runs)
      runs += fmt::format(" {}:{}", algorithm, count);
  fmt::print("measured {}, ran{}\n", trace::statistics().choices_measured, runs);
}

// The fake's second algorithm is the fastest; each is run a few times to learn that.
TEST(CudaLibrary, AlgorithmsAreMeasuredOnceAndKept) {
  namespace fs = std::filesystem;
  const fs::path folder = fs::temp_directory_path() / fmt::format("encore_choice_{}", getpid());
  fs::remove_all(folder);
  auto run = [&](const std::string& cache) {
    return fake_cuda::run_apart(
        "CudaLibraryApart.TellsWhatItMeasured",
        fmt::format("ENCORE_CACHE={} ENCORE_CACHE_DIR='{}'", cache, folder.string()));
  };
  EXPECT_THAT(run("on"), HasSubstr("measured 1,"));
  EXPECT_THAT(run("on"), HasSubstr(on_real_gpu ? "measured 0," : "measured 0, ran 1:3\n"));
  EXPECT_THAT(run("off"), HasSubstr("measured 1,"));
  fs::remove_all(folder);
}

}  // namespace
}  // namespace encore

int main(int count, char** arguments) {
  ::testing::InitGoogleTest(&count, arguments);
  encore::on_real_gpu = encore::fake_cuda::use_gpu_or_fake();
  return RUN_ALL_TESTS();
}
