// Tensor maps as the emulator's code reads them (tests/cuda_emulator.cpp).
#pragma once
#include <encore/jit/cuda/tensor_map.h>

#include <algorithm>
#include <cstring>

namespace encore::jit::cuda {

inline void encode_for_emulator(const TensorMap& map, void* to) {
  struct {
    const void* address;
    uint32_t axes, element, extents[5], box[5];
    uint64_t strides[5];
  } encoded{map.address, map.axes, uint32_t(size_of(map.dtype)), {}, {}, {}};
  static_assert(sizeof encoded <= TensorMap::bytes);
  std::copy(map.extents.begin(), map.extents.end(), encoded.extents);
  std::copy(map.box.begin(), map.box.end(), encoded.box);
  std::copy(map.strides.begin(), map.strides.end(), encoded.strides);
  std::memcpy(to, &encoded, sizeof encoded);
}

}  // namespace encore::jit::cuda
