// Does a profile tell each kernel's time on a CUDA device, and leave what runs as it was? On a GPU
// where there is one, else on the fake driver, whose operations take a quarter of a millisecond.
#include <encore/encore.h>
#include <encore/jit/cuda/driver.h>
#include <gmock/gmock.h>
#include <unistd.h>

#include "fake_cuda_driver.h"
#include "trace_file.h"

namespace encore {
namespace {

bool on_real_gpu = false;

std::string temporary(const std::string& name) {
  return fmt::format("{}encore_cuda_profiler_{}_{}", testing::TempDir(), getpid(), name);
}

/// Several launches a step, none of which fit into one.
std::vector<float> run_step(const Tensor& x) {
  Tensor columns = x.sum({0}), rows = x.sum({1}), product = matmul(x, x);
  Tensor all = matmul(product, product) + columns * rows;
  return all.to_vector<float>();
}

class CudaProfilerTest : public ::testing::Test {
 protected:
  void SetUp() override { eval(x); }
  void TearDown() override { jit::cuda::fail_call(0, 0); }
  int calls(const std::string& function) const {
    return on_real_gpu ? 0 : fake_cuda::driver().calls[function];
  }
  Tensor x = arange(0, 64, 1, {.device = cuda(0)}).reshape({8, 8}).to(f32) * 0.01;
};

TEST_F(CudaProfilerTest, TellsEachLaunchOnTheDevicesTrack) {
  const std::string file = temporary("launches.json");
  for (int i = 0; i < 3; ++i) run_step(x);
  const std::vector<float> expected = run_step(x);
  int64_t launches = 0;
  const int graphs = calls("cuGraphLaunch"), elapsed = calls("cuEventElapsedTime");
  {
    Profiler profiler(file);
    const Stats before = stats();
    for (int i = 0; i < 3; ++i) EXPECT_EQ(run_step(x), expected);
    launches = stats().launches - before.launches;
    EXPECT_EQ(stats().graph_launches, before.graph_launches);
  }
  EXPECT_EQ(calls("cuGraphLaunch"), graphs);
  TraceFile trace = read_trace(file);
  EXPECT_GE(launches, 9);
  ASSERT_EQ(int64_t(trace.spans("kernel").size()), launches);
  EXPECT_EQ(int64_t(trace.spans("launch").size()), launches);
  for (const Json& kernel : trace.spans("kernel")) {
    EXPECT_EQ(trace.track_of(kernel), "cuda:0");
    EXPECT_TRUE(kernel["args"].contains("lines")) << kernel;
    EXPECT_GT(nanoseconds(kernel["dur"]), 0) << kernel;
    EXPECT_TRUE(on_real_gpu || nanoseconds(kernel["dur"]) % 250'000 == 0) << kernel;
  }
  EXPECT_TRUE(on_real_gpu || calls("cuEventElapsedTime") > elapsed + launches);
}

TEST_F(CudaProfilerTest, TellsLargeUploadsOnATrackOfTheirOwn) {
  const std::string file = temporary("uploads.json");
  const std::vector<float> values(3 << 19, 1.5f);
  {
    Profiler profiler(file);
    for (int i = 0; i < 3; ++i) {
      Tensor large = from_vector(values, {int64_t(values.size())}, cuda(0));
      from_vector<float>({1, 2}, {2}, cuda(0));
      EXPECT_EQ(large.to_vector<float>(), values);
    }
    sync();
  }
  const TraceFile trace = read_trace(file);
  const std::vector<Json> uploads = trace.spans("kernel", "upload");
  ASSERT_EQ(uploads.size(), 3u);
  for (const Json& upload : uploads) {
    EXPECT_EQ(trace.track_of(upload), "cuda:0 uploads");
    EXPECT_EQ(upload["args"]["bytes"], values.size() * 4) << upload;
    EXPECT_GT(nanoseconds(upload["dur"]), 0) << upload;
  }
}

TEST_F(CudaProfilerTest, GraphsGoOnAfterwards) {
  for (int i = 0; i < 3; ++i) run_step(x);
  {
    Profiler profiler;
    run_step(x);
  }
  const Stats before = stats();
  run_step(x);
  EXPECT_EQ(stats().graph_launches, before.graph_launches + 1);
}

TEST_F(CudaProfilerTest, EventsAreUsedAgain) {
  if (on_real_gpu) GTEST_SKIP() << "needs the fake driver";
  run_step(x);
  {
    Profiler profiler;
    run_step(x);
    sync();
  }
  const int events = fake_cuda::driver().events;
  for (int i = 0; i < 10; ++i) {
    Profiler profiler;
    run_step(x);
    sync();
  }
  EXPECT_EQ(fake_cuda::driver().events, events);
}

TEST_F(CudaProfilerTest, ADeviceThatTellsNoTimeDisturbsNothing) {
  if (on_real_gpu) GTEST_SKIP() << "needs the fake driver";
  const std::string file = temporary("no_time.json");
  const std::vector<float> expected = run_step(x);
  {
    Profiler profiler(file);
    jit::cuda::fail_call(1, 1, "cuEventElapsedTime", /*stays=*/true);
    EXPECT_EQ(run_step(x), expected);
    EXPECT_EQ(run_step(x), expected);
  }
  TraceFile trace = read_trace(file);
  EXPECT_TRUE(trace.spans("kernel").empty());
  EXPECT_FALSE(trace.spans("replay").empty());
}

}  // namespace
}  // namespace encore

int main(int argc, char** argv) {
  encore::on_real_gpu = encore::fake_cuda::use_gpu_or_fake();
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
