// Are the errors of a missing, old or failing driver typed, at the user's line, and without harm to
// the CPU? Runs without a GPU, on the fake driver; what must begin anew runs in a process of its
// own.
#include <encore/core/error.h>
#include <encore/encore.h>
#include <encore/jit/cuda/driver.h>
#include <encore/jit/cuda/gpu.h>
#include <gmock/gmock.h>

#include "fake_cuda_driver.h"

namespace encore {
namespace {

using fake_cuda::run_apart;
using ::testing::HasSubstr;

bool cpu_works() { return (from_vector<float>({1, 2}) + 1.0).to_vector<float>()[1] == 3; }

/// Says which error the line `zeros(…, cuda)` throws.
void say_what_zeros_throws(int device) {
  const int line = __LINE__ + 2;
  try {
    zeros({2}, {.device = cuda(device)});
    std::printf("nothing was thrown\n");
  } catch (const DeviceUnavailable& error) {
    std::printf("unavailable: %s\n", error.what());
    if (error.where().line == line) std::printf("at the user's line\n");
  }
  if (cpu_works()) std::printf("the CPU works\n");
}

TEST(CudaDriverTest, ADriverThatIsTooOldSaysSo) {
  if (fake_cuda::is_apart()) {
    fake_cuda::driver();
    EXPECT_FALSE(cuda.is_available());
    EXPECT_EQ(cuda.device_count(), 0);
    return say_what_zeros_throws(0);
  }
  std::string said =
      run_apart("CudaDriverTest.ADriverThatIsTooOldSaysSo", "FAKE_CUDA_VERSION=11040");
  for (const char* part : {"too old", "11.4", "12.0", "at the user's line", "the CPU works"})
    EXPECT_THAT(said, HasSubstr(part));
}

TEST(CudaDriverTest, ADriverWithoutDevicesSaysSo) {
  if (fake_cuda::is_apart()) {
    fake_cuda::driver();
    EXPECT_FALSE(cuda.is_available());
    return say_what_zeros_throws(0);
  }
  std::string said = run_apart("CudaDriverTest.ADriverWithoutDevicesSaysSo", "FAKE_CUDA_DEVICES=0");
  for (const char* part : {"no CUDA device 0", "sees 0", "at the user's line", "the CPU works"})
    EXPECT_THAT(said, HasSubstr(part));
}

TEST(CudaDriverTest, NoDriverSaysWhereItWasLookedFor) {
  if (fake_cuda::is_apart()) {
    try {
      jit::cuda::Driver();
      std::printf("there is a driver\n");
    } catch (const DeviceUnavailable& error) {
      std::printf("unavailable: %s\n", error.what());
      say_what_zeros_throws(0);
    }
    return;
  }
  std::string said = run_apart("CudaDriverTest.NoDriverSaysWhereItWasLookedFor",
                               "ENCORE_CUDA_PATH=/nowhere/at/all");
  if (said.find("there is a driver") != std::string::npos) GTEST_SKIP() << "this machine has one";
  for (const char* part :
       {"no CUDA driver", "libcuda.so.1", "/nowhere/at/all", "at the user's line", "the CPU works"})
    EXPECT_THAT(said, HasSubstr(part));
}

TEST(CudaDriverTest, ADeviceNumberTooHighIsAnErrorAtTheUsersLine) {
  if (fake_cuda::is_apart()) {
    fake_cuda::driver();
    for (int device : {2, 255, 256, 1 << 20, -1}) say_what_zeros_throws(device);
    return;
  }
  std::string said = run_apart("CudaDriverTest.ADeviceNumberTooHighIsAnErrorAtTheUsersLine");
  EXPECT_THAT(said, HasSubstr("no CUDA device 2: this process sees 2"));
  EXPECT_THAT(said, testing::Not(HasSubstr("nothing was thrown")));
  EXPECT_THAT(said, HasSubstr("the CPU works"));
}

TEST(CudaDriverTest, AFailedCallNamesFunctionAndReason) {
  fake_cuda::driver();
  jit::cuda::Gpu gpu(0);
  jit::cuda::fail_call(1, 1, "cuStreamSynchronize");
  try {
    gpu.synchronize();
    FAIL() << "it worked";
  } catch (const DeviceError& error) {
    EXPECT_THAT(error.message(), HasSubstr("cuStreamSynchronize"));
    EXPECT_THAT(error.message(), HasSubstr("CUDA_ERROR_FAKE (the fake driver was told to fail)"));
  }
  gpu.synchronize();  // nothing lasting
}

TEST(CudaDriverTest, AFailureThatEndsTheContextIsToldOnceThenTheDeviceIsLost) {
  if (!fake_cuda::is_apart()) {
    run_apart("CudaDriverTest.AFailureThatEndsTheContextIsToldOnceThenTheDeviceIsLost");
    return;
  }
  fake_cuda::driver();
  jit::cuda::Gpu first(0), second(1);
  jit::cuda::fail_call(1, jit::cuda::CUDA_ERROR_ILLEGAL_ADDRESS, "cuStreamSynchronize");
  try {
    first.synchronize();
    ADD_FAILURE() << "it worked";
  } catch (const DeviceLost&) {
    ADD_FAILURE() << "too early";
  } catch (const DeviceError& error) {
    EXPECT_THAT(error.message(), HasSubstr("cuStreamSynchronize"));
  }
  for (int i = 0; i < 2; ++i) {
    try {
      first.synchronize();
      ADD_FAILURE() << "it worked";
    } catch (const DeviceLost& error) {
      EXPECT_THAT(error.message(), HasSubstr("CUDA device 0 was lost"));
    }
  }
  second.synchronize();
  EXPECT_TRUE(cpu_works());
}

TEST(CudaDriverTest, EveryFailureOfMakingADeviceIsSurvived) {
  fake_cuda::driver();
  jit::cuda::Gpu(1);  // opens the driver, whose failure would stay
  int n = 1;
  for (bool failed = true; failed && n < 100; ++n) {
    jit::cuda::fail_call(n, 1);
    failed = false;
    try {
      jit::cuda::Gpu gpu(1);
    } catch (const DeviceError&) {
      failed = true;
    }
    jit::cuda::fail_call(0, 0);
  }
  EXPECT_GE(n, 6);
  EXPECT_LT(n, 100);
  jit::cuda::Gpu gpu(1);
  EXPECT_EQ(gpu.compute_capability(), 90);
  EXPECT_EQ(gpu.name(), "fake");
}

TEST(CudaDeviceTest, NamesAndQueries) {
  EXPECT_EQ(name_of(cpu), "cpu");
  EXPECT_EQ(name_of(cuda(3)), "cuda:3");
  static_assert(cuda(1) == Device{DeviceKind::cuda, 1});
}

}  // namespace
}  // namespace encore
