// From how a dtype stores a number to how kernels compute with it.
#pragma once
#include <encore/lazy/dtype.h>

#include <bit>

namespace encore {

/// Bits that `dtype` stores, as its compute dtype stores the same value: f16 and bf16 widen to f32.
inline uint64_t compute_bits(DType dtype, uint64_t bits) {
  if (dtype == DType::bf16) return (bits & 0xffff) << 16;
  if (dtype != DType::f16) return bits;
  Half half;
  half.bits = uint16_t(bits);
  return std::bit_cast<uint32_t>(float(half));
}

}  // namespace encore
