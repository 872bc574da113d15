#include <encore/core/error.h>
#include <encore/jit/cuda/driver.h>
#include <encore/jit/cuda/tensor_map.h>

#include <cstring>

namespace encore::jit::cuda {
namespace {

CUtensorMapDataType type_of(DType dtype) {
  switch (dtype) {
    case DType::f16:
      return CU_TENSOR_MAP_DATA_TYPE_FLOAT16;
    case DType::bf16:
      return CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
    default:
      ENCORE_ASSERT(dtype == DType::f32);
      return CU_TENSOR_MAP_DATA_TYPE_TFLOAT32;
  }
}

}  // namespace

void encode(const TensorMap& map, std::byte* to) {
  constexpr std::array<uint32_t, TensorMap::most_axes> every_element = {1, 1, 1, 1, 1};
  CUtensorMap encoded;
  static_assert(sizeof encoded == TensorMap::bytes);
  driver().cuTensorMapEncodeTiled(
      &encoded, type_of(map.dtype), map.axes, const_cast<void*>(map.address), map.extents.data(),
      map.strides.data() + 1, map.box.data(), every_element.data(), CU_TENSOR_MAP_INTERLEAVE_NONE,
      CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
      CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  std::memcpy(to, &encoded, sizeof encoded);
}

}  // namespace encore::jit::cuda
