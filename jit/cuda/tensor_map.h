// What the copy engine of a GPU needs to know to bring boxes of a tensor into shared memory.
#pragma once
#include <encore/lazy/dtype.h>

#include <array>
#include <cstddef>
#include <cstdint>

namespace encore::jit::cuda {

/// A tensor in memory and the boxes that are copied out of it, 128 bytes of its first axis wide.
/// What a box has beyond the tensor is 0; numbers of f32 are rounded to TF32 on their way.
struct TensorMap {
  static constexpr uint32_t most_axes = 5;
  static constexpr size_t bytes = 128, alignment = 128;  // as the driver encodes it

  DType dtype = DType::f32;  // f32, bf16 or f16
  const void* address = nullptr;
  uint32_t axes = 0;
  std::array<uint64_t, most_axes> extents{};  // the axis whose elements lie side by side first
  std::array<uint64_t, most_axes> strides{};  // in bytes; that of the first axis is not looked at
  std::array<uint32_t, most_axes> box{};
};

/// Writes TensorMap::bytes as the driver wants them.
void encode(const TensorMap& map, std::byte* to);

}  // namespace encore::jit::cuda
