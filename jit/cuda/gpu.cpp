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

CUgraph Gpu::capture(const std::function<void(CUstream)>& enqueue) const {
  std::lock_guard lock(capture_mutex_);
  enter();
  Driver& cuda = driver();
  if (!capture_stream_) cuda.cuStreamCreate(&capture_stream_, CU_STREAM_NON_BLOCKING);
  cuda.cuStreamBeginCapture(capture_stream_, CU_STREAM_CAPTURE_MODE_RELAXED);
  CUgraph graph = nullptr;
  try {
    enqueue(capture_stream_);
    cuda.cuStreamEndCapture(capture_stream_, &graph);
    return graph;
  } catch (...) {
    cuda.cuStreamEndCapture.status(capture_stream_, &graph);
    if (graph) cuda.cuGraphDestroy.status(graph);
    cuda.cuStreamDestroy.status(capture_stream_);  // whatever state it is in
    capture_stream_ = nullptr;
    throw;
  }
}

Gpu::Bytes Gpu::bytes() const {
  enter();
  Bytes bytes{};
  driver().cuMemGetInfo(&bytes.free, &bytes.total);
  return bytes;
}

}  // namespace encore::jit::cuda
