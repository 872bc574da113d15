// Times a library's algorithms for a product on the device.
#pragma once
#include <encore/jit/cuda/cublaslt.h>
#include <encore/jit/cuda/memory.h>

#include <vector>

namespace encore::jit::cuda {

/// Milliseconds that each algorithm takes, infinite for one that fails; 0 where there is only one.
/// Takes memory for the operands and waits for the stream. Throws OutOfMemory, DeviceError.
std::vector<float> time_algorithms(const Gpu& gpu, DeviceMemory& memory,
                                   const CublasLtProduct& product);

}  // namespace encore::jit::cuda
