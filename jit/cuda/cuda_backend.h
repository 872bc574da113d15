// NVIDIA GPUs as a backend: kernels become CUDA C, NVRTC makes cubins of them, the driver runs
// them.
//
// Nothing of CUDA is needed to build, nor to run on the CPU: libcuda and NVRTC are opened when a
// CUDA device is first asked for.
#pragma once
#include <encore/jit/backend.h>

#include <vector>

namespace encore::jit::cuda {

class Staging;

/// The backend of device number `index`, made at its first use and leaked. Throws
/// DeviceUnavailable: no driver, one too old, no NVRTC, or no such device.
Backend& cuda_backend(int index);

/// How the device's copies go; for tests and measurements.
Staging& staging_of(int index);

/// Devices that `cuda_backend` would give; 0 where anything that it needs is missing.
int device_count();

/// The backends made so far.
std::vector<Backend*> made_backends();

}  // namespace encore::jit::cuda
