#include <encore/lazy/dtype.h>

#include <bit>
#include <cmath>
#include <utility>

namespace encore {

DType promote(DType a, DType b) {
  if (a == b) return a;
  if (int(a) > int(b)) std::swap(a, b);  // kinds ascend with the ordinal
  if (kind_of(a) == kind_of(b)) return a == DType::f16 && b == DType::bf16 ? DType::f32 : b;
  if (kind_of(a) != Kind::unsigned_integer || kind_of(b) != Kind::signed_integer) return b;
  size_t bytes = size_of(a) < size_of(b) ? size_of(b) : size_of(a) * 2;
  return bytes <= 2 ? DType::i16 : bytes == 4 ? DType::i32 : DType::i64;
}

Half::Half(float value) {
  uint32_t word = std::bit_cast<uint32_t>(value);
  uint16_t sign = uint16_t(word >> 16 & 0x8000);
  uint32_t magnitude = word & 0x7fffffff;
  if (magnitude > 0x7f800000) {
    bits = uint16_t(sign | 0x7e00);
  } else if (magnitude >= 0x477ff000) {  // rounds to 65536 or more
    bits = uint16_t(sign | 0x7c00);
  } else if (magnitude < 0x38800000) {  // subnormal: the sum's last bit is 2^-24
    bits = uint16_t(sign |
                    (std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) - 0x3f000000));
  } else {
    bits = uint16_t(sign | ((magnitude - 0x38000000 + 0xfff + (magnitude >> 13 & 1)) >> 13));
  }
}

Half::operator float() const {
  uint32_t sign = uint32_t(bits & 0x8000) << 16;
  uint32_t exponent = bits >> 10 & 31, fraction = bits & 1023;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000 | fraction << 13);
  if (exponent != 0) return std::bit_cast<float>(sign | (exponent + 112) << 23 | fraction << 13);
  float magnitude = float(fraction) * 0x1p-24f;
  return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(magnitude));
}

BFloat16::BFloat16(float value) {
  uint32_t word = std::bit_cast<uint32_t>(value);
  bits = (word & 0x7fffffff) > 0x7f800000 ? uint16_t(word >> 16 | 0x40)
                                          : uint16_t((word + 0x7fff + (word >> 16 & 1)) >> 16);
}

BFloat16::operator float() const { return std::bit_cast<float>(uint32_t(bits) << 16); }

}  // namespace encore
