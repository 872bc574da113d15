// Does a kernel that fails end its device and nothing else, with an error at the user's line? And
// do copies reach a device that is busy? On a GPU where there is one; the fake driver's never fail.
#include <encore/encore.h>
#include <encore/jit/cuda/executable.h>
#include <encore/jit/cuda/nvrtc.h>
#include <encore/jit/cuda/staging.h>
#include <gmock/gmock.h>

#include "fake_cuda_driver.h"

namespace encore {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

bool on_real_gpu = false;

/// Enqueues a kernel that writes to an address which nobody has.
void write_nowhere() {
  using namespace jit::cuda;
  const char* source =
      "extern \"C\" __global__ void write_nowhere(float* to) { to[threadIdx.x] = 1.0f; }";
  static auto& gpu = *new Gpu(0);
  static auto& module =
      *new jit::cuda::Module(gpu, compile_to_cubin(source, gpu.compute_capability()));
  gpu.enter();
  CUdeviceptr address = 64;
  void* parameters[] = {&address};
  driver().cuLaunchKernel(module.function("write_nowhere"), 1, 1, 1, 32, 1, 1, 0, gpu.stream(),
                          parameters, nullptr);
  driver().cuStreamSynchronize.status(gpu.stream());
}

TEST(CudaFault, AKernelThatFailsIsToldAtTheUsersLineAndTheCpuGoesOn) {
  if (!on_real_gpu) GTEST_SKIP() << "the fake driver's kernels write where they want";
  if (!fake_cuda::is_apart()) {
    fake_cuda::run_apart("CudaFault.AKernelThatFailsIsToldAtTheUsersLineAndTheCpuGoesOn");
    return;
  }
  Tensor x = from_vector<float>({1, 2}, {2}, cuda(0)) * 2.0;
  Tensor here = from_vector<float>({1, 2}, {2}, cpu) + 1.0;
  eval(x);
  write_nowhere();
  const int line = __LINE__ + 2;
  try {
    x.to_vector<float>();
    ADD_FAILURE() << "it was read";
  } catch (const DeviceLost& error) {
    ADD_FAILURE() << "too early: " << error.what();
  } catch (const DeviceError& error) {
    EXPECT_EQ(error.where().line, line);
    EXPECT_THAT(error.message(), HasSubstr("CUDA_ERROR_ILLEGAL_ADDRESS"));
  }
  EXPECT_THROW((x + 1.0).to_vector<float>(), DeviceLost);
  EXPECT_THROW(from_vector<float>({1}, {1}, cuda(0)), DeviceLost);
  EXPECT_THAT(here.to_vector<float>(), ElementsAre(2, 3));
  EXPECT_EQ(
      matmul(ones({8, 8}, {.device = cpu}), ones({8, 8}, {.device = cpu})).sum().item<float>(),
      512);
}

TEST(CudaCopies, TheNextBatchArrivesWhileTheDeviceComputes) {
  using namespace jit::cuda;
  Gpu gpu(0);
  DeviceMemory memory(gpu);
  Staging staging(gpu);
  const size_t work_bytes = size_t(on_real_gpu ? 512 : 1) << 20, rounds = on_real_gpu ? 200 : 2;
  Ref<Buffer> from = memory.allocate_buffer(work_bytes), to = memory.allocate_buffer(work_bytes);
  auto address = [](const Ref<Buffer>& of) { return CUdeviceptr(uintptr_t(of->data())); };
  std::vector<float> batch(1 << 20), back(batch.size());
  for (size_t i = 0; i < batch.size(); ++i) batch[i] = float(i);
  Ref<Buffer> next = memory.allocate_buffer(batch.size() * 4);
  staging.to_device(next->data(), back.data(), batch.size() * 4);  // makes streams and memory
  gpu.synchronize();
  for (size_t i = 0; i < rounds; ++i)
    driver().cuMemcpyDtoDAsync(address(to), address(from), work_bytes, gpu.stream());
  CUevent computed = nullptr;
  driver().cuEventCreate(&computed, CU_EVENT_DISABLE_TIMING);
  driver().cuEventRecord(computed, gpu.stream());
  staging.to_device(next->data(), batch.data(), batch.size() * 4);
  driver().cuStreamSynchronize(staging.copies());
  EXPECT_EQ(driver().cuEventQuery.status(computed), CUDA_ERROR_NOT_READY);
  staging.to_host(back.data(), next->data(), batch.size() * 4);
  EXPECT_EQ(driver().cuEventQuery.status(computed), CUDA_SUCCESS);
  EXPECT_EQ(back, batch);
  driver().cuEventDestroy(computed);
}

TEST(CudaCopies, TensorsMoveBetweenTwoDevices) {
  if (cuda.device_count() < 2) GTEST_SKIP() << "there is one device";
  Tensor x = from_vector<float>({1, 2, 3}, {3}, cuda(0)) * 2.0;
  Tensor y = x.to(cuda(1));
  EXPECT_EQ(y.device(), cuda(1));
  EXPECT_THAT((y + 1.0).to_vector<float>(), ElementsAre(3, 5, 7));
  EXPECT_THAT(x.to_vector<float>(), ElementsAre(2, 4, 6));
  const int line = __LINE__ + 2;
  try {
    Tensor sum = x + y;
    ADD_FAILURE() << "operands on two devices";
  } catch (const Error& error) {
    EXPECT_EQ(error.where().line, line);
    EXPECT_THAT(error.message(), HasSubstr("cuda:0 and cuda:1"));
  }
}

}  // namespace
}  // namespace encore

int main(int count, char** arguments) {
  ::testing::InitGoogleTest(&count, arguments);
  encore::on_real_gpu = encore::fake_cuda::use_gpu_or_fake();
  return RUN_ALL_TESTS();
}
