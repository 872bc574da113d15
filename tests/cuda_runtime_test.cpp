// Does the runtime keep its promises about a CUDA device that only a driver without a device can
// show: what waits for what, what is given up before memory runs out, and what a lost device
// leaves?
#include <encore/encore.h>
#include <encore/jit/backend.h>
#include <encore/jit/cuda/driver.h>
#include <encore/trace/runtime.h>
#include <gmock/gmock.h>

#include "fake_cuda_driver.h"

namespace encore {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr int64_t mebibyte = 1 << 20;

class CudaRuntimeTest : public ::testing::Test {
 protected:
  CudaRuntimeTest() : fake_(fake_cuda::driver()) {}
  ~CudaRuntimeTest() override {
    jit::cuda::fail_call(0, 0);
    fake_.memory = size_t(1) << 30;
  }
  int waits() { return fake_.calls["cuStreamSynchronize"] + fake_.calls["cuEventSynchronize"]; }

  fake_cuda::Driver& fake_;
};

TEST_F(CudaRuntimeTest, StepsWaitForNothingAndReadsWaitOnce) {
  Tensor x = from_vector<float>({1, 2, 3}, {3}, cuda(0));
  auto step = [&](float amount) {
    x = x * 0.5 + from_vector<float>({amount, 0, 0}, {3}, cuda(0));
    eval(x);
  };
  step(1);  // compiles
  int before = waits();
  for (int i = 0; i < 50; ++i) step(1);
  EXPECT_EQ(waits(), before);
  EXPECT_GE(fake_.enqueued, 100u);  // 50 copies and 50 programs are on their way
  EXPECT_NEAR(x.to_vector<float>()[0], 2, 1e-6);
  EXPECT_EQ(waits(), before + 1);
  step(1);
  sync();
  EXPECT_EQ(fake_.enqueued, 0u);  // sync() says that it waits
}

TEST_F(CudaRuntimeTest, FreedMemoryIsReusedWhileItsReadersAreOnTheirWay) {
  std::vector<Tensor> sums;
  for (int i = 0; i < 30; ++i) {
    std::vector<float> values(1000, float(i));
    Tensor x = from_vector(values, {1000}, cuda(0));
    sums.push_back(x.max() + 1.0);
    eval(sums.back());
  }  // x's memory went to the next x before anything ran
  EXPECT_GT(fake_.enqueued, 0u);
  for (int i = 0; i < 30; ++i) EXPECT_EQ(sums[size_t(i)].item<float>(), float(i) + 1);
}

TEST_F(CudaRuntimeTest, CachesAreGivenUpBeforeMemoryRunsOut) {
  Tensor kept = from_vector<float>({1, 2}, {2}, cuda(0)) * 3.0;
  eval(kept);
  int modules = fake_.modules;
  EXPECT_GT(modules, 0);
  fake_.refusals = 2;  // the pool's own second attempt fails as well
  std::vector<float> values(size_t(30 * mebibyte), 1.f);
  Tensor x = from_vector(values, {30 * mebibyte}, cuda(0));
  EXPECT_EQ(fake_.modules, 0);  // programs and their code are gone
  EXPECT_EQ(fake_.refusals, 0);
  Tensor y = from_vector<float>({1}, {1}, cuda(0)) + 1.0;
  eval(y);
  fake_.refusals = 2;
  Tensor z = full({12 * mebibyte}, 2.5, {.device = cuda(0)})[{Slice{0, 2 * mebibyte}}];
  eval(z);  // likewise where a program needs memory
  EXPECT_EQ(fake_.refusals, 0);
  EXPECT_EQ(z.max().item<float>(), 2.5f);
  EXPECT_EQ(y.item<float>(), 2);
  fake_.refusals = 1000;
  EXPECT_THROW(from_vector(values, {30 * mebibyte}, cuda(0)), OutOfMemory);
  fake_.refusals = 0;
  EXPECT_EQ((kept + 1.0).to_vector<float>()[1], 7);
}

TEST_F(CudaRuntimeTest, CodeAndGraphsThatFindNoMemoryAreTriedOnceMore) {
  settings().fuse = false;  // several launches
  Tensor x = from_vector<float>({1, 2, 5}, {3}, cuda(0));
  int line = 0;
  auto compute = [&] {
    Tensor shares = x / x.sum();
    Tensor parts = shares - shares.max();
    Tensor all = parts * parts.min() + 1.0;
    line = __LINE__ + 1;
    return all.to_vector<float>();
  };
  const std::vector<float> expected = compute();
  for (const char* call : {"cuModuleLoadData", "cuGraphInstantiate", "cuGraphLaunch"}) {
    SCOPED_TRACE(call);
    const bool is_graph = std::string_view(call) != "cuModuleLoadData";
    auto begin = [&] {
      trace::runtime().clear_caches();
      if (is_graph) compute();  // graphs are made the second time
    };
    begin();
    Tensor idle = zeros({int64_t(8) * mebibyte}, {.device = cuda(0)});
    eval(idle);
    idle = Tensor();  // kept for reuse, as long as there is memory
    const size_t used = fake_.used;
    jit::cuda::fail_call(1, jit::cuda::CUDA_ERROR_OUT_OF_MEMORY, call);
    EXPECT_EQ(compute(), expected);
    EXPECT_LT(fake_.used, used);
    begin();
    jit::cuda::fail_call(1, jit::cuda::CUDA_ERROR_OUT_OF_MEMORY, call, true);
    try {
      compute();
      ADD_FAILURE() << "there was memory";
    } catch (const OutOfMemory& error) {
      EXPECT_EQ(error.where().line, line);
      EXPECT_THAT(error.message(), HasSubstr(call));
    }
    jit::cuda::fail_call(0, 0);
    EXPECT_EQ(compute(), expected);
  }
  settings().fuse = true;
}

TEST_F(CudaRuntimeTest, ALostDeviceIsToldOnceAndTheCpuGoesOn) {
  if (!fake_cuda::is_apart()) {
    fake_cuda::run_apart("CudaRuntimeTest.ALostDeviceIsToldOnceAndTheCpuGoesOn");
    return;
  }
  Tensor x = from_vector<float>({1, 2}, {2}, cuda(0)) * 2.0;
  jit::cuda::fail_call(1, jit::cuda::CUDA_ERROR_ILLEGAL_ADDRESS, "cuEventSynchronize");
  const int line = __LINE__ + 2;
  try {
    x.to_vector<float>();
    ADD_FAILURE() << "it was read";
  } catch (const DeviceLost&) {
    ADD_FAILURE() << "too early";
  } catch (const DeviceError& error) {
    EXPECT_EQ(error.where().line, line);
    EXPECT_THAT(error.message(), HasSubstr("cuEventSynchronize"));
  }
  EXPECT_THROW(x.to_vector<float>(), DeviceLost);
  EXPECT_THROW((x + 1.0).to_vector<float>(), DeviceLost);
  EXPECT_THROW(from_vector<float>({1}, {1}, cuda(0)), DeviceLost);
  Tensor pending = x + 2.0, here = from_vector<float>({1, 2}, {2}) + 1.0;
  EXPECT_THROW(sync(), DeviceLost);
  EXPECT_TRUE(here.node()->materialized());  // the CPU's part was computed
  EXPECT_THAT(here.to_vector<float>(), ElementsAre(2, 3));
  Tensor other = from_vector<float>({1, 2}, {2}, cuda(1)) * 2.0;  // so does another device
  EXPECT_THAT(other.to_vector<float>(), ElementsAre(2, 4));
}

TEST_F(CudaRuntimeTest, TensorsThatOutliveMainDoNoHarm) {
  if (!fake_cuda::is_apart()) {
    fake_cuda::run_apart("CudaRuntimeTest.TensorsThatOutliveMainDoNoHarm");
    return;
  }
  static Tensor computed, pending;
  computed = from_vector<float>({1, 2}, {2}, cuda(0)) * 2.0;
  eval(computed);
  pending = computed + 1.0;
}

TEST_F(CudaRuntimeTest, ACompilerNewerThanTheDriverIsRefused) {
  if (fake_cuda::is_apart()) {
    std::printf("available %d\n", cuda.is_available());
    try {
      zeros({1}, {.device = cuda(0)});
    } catch (const DeviceUnavailable& error) {
      std::printf("unavailable: %s\n", error.what());
    }
    return;
  }
  std::string said = fake_cuda::run_apart("CudaRuntimeTest.ACompilerNewerThanTheDriverIsRefused",
                                          "FAKE_CUDA_VERSION=12040");
  if (said.find("available 1") != std::string::npos) GTEST_SKIP() << "there is an NVRTC 12 here";
  EXPECT_THAT(said, HasSubstr("unavailable: "));
  EXPECT_THAT(said, HasSubstr("NVRTC"));
}

TEST_F(CudaRuntimeTest, CompiledFunctionsReadNoValues) {
  auto moves = compile([](const Tensor& x) { return x.to(cpu) + 1.0; });
  Tensor x = from_vector<float>({1}, {1}, cuda(0));
  try {
    moves(x);
    FAIL() << "the value became a constant";
  } catch (const Error& error) {
    EXPECT_THAT(error.message(), HasSubstr("inside a compiled function"));
  }
}

}  // namespace
}  // namespace encore
