// Times a library's algorithms for a product on the device.
#pragma once
#include <encore/jit/cuda/cublaslt.h>
#include <encore/jit/cuda/memory.h>

#include <optional>

namespace encore::jit::cuda {

/// The number of the fastest algorithm; the first of those that are about as fast; nothing where
/// all fail. Takes memory for the operands and waits for the stream. Throws OutOfMemory,
/// DeviceError.
std::optional<size_t> fastest_algorithm(const Gpu& gpu, DeviceMemory& memory,
                                        const CublasLtProduct& product);

}  // namespace encore::jit::cuda
