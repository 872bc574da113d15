#include <encore/core/error.h>
#include <encore/jit/cuda/gpu.h>
#include <fmt/format.h>

namespace encore::jit::cuda {
namespace {

int attribute(CUdevice device, int which) {
  int value = 0;
  driver().cuDeviceGetAttribute(&value, which, device);
  return value;
}

}  // namespace

Gpu::Gpu(int index) : index_(index) {
  Driver& cuda = driver();
  if (index >= cuda.device_count())
    throw DeviceUnavailable(
        fmt::format("there is no CUDA device {}: this process sees {}", index, cuda.device_count()),
        {}, "devices count from 0; see also CUDA_VISIBLE_DEVICES");
  CUdevice device = 0;
  cuda.cuDeviceGet(&device, index);
  char name[256] = {};
  cuda.cuDeviceGetName(name, int(sizeof name), device);
  name_ = name;
  compute_capability_ = 10 * attribute(device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR) +
                        attribute(device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
  multiprocessors_ = attribute(device, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
  cuda.cuDevicePrimaryCtxRetain(&context_, device);
  try {
    enter();
    cuda.cuStreamCreate(&stream_, CU_STREAM_NON_BLOCKING);
  } catch (...) {
    cuda.cuDevicePrimaryCtxRelease.status(device);
    throw;
  }
}

void Gpu::synchronize() const {
  enter();
  driver().cuStreamSynchronize(stream_);
}

Gpu::Bytes Gpu::bytes() const {
  enter();
  Bytes bytes{};
  driver().cuMemGetInfo(&bytes.free, &bytes.total);
  return bytes;
}

}  // namespace encore::jit::cuda
