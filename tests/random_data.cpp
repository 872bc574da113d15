#include "random_data.h"

#include <encore/lazy/instruction.h>

#include <cstring>
#include <limits>

namespace encore::jit {
namespace {

struct FloatLimits {
  double largest, smallest_normal, smallest;
};

FloatLimits limits_of(DType dtype) {
  if (dtype == DType::f16) return {65504, 0x1p-14, 0x1p-24};
  if (dtype == DType::bf16) return {0x1.fep127, 0x1p-126, 0x1p-133};
  if (dtype == DType::f32) return {0x1.fffffep127, 0x1p-126, 0x1p-149};
  return {std::numeric_limits<double>::max(), 0x1p-1022, 0x1p-1074};
}

uint64_t low_bytes(uint64_t bits, DType dtype) {
  size_t unused = 64 - 8 * size_of(dtype);
  return bits << unused >> unused;
}

}  // namespace

std::vector<uint64_t> edge_values(DType dtype) {
  std::vector<uint64_t> values;
  if (dtype == DType::boolean) return {0, 1};
  if (is_integer(dtype)) {
    uint64_t sign = uint64_t(1) << (8 * size_of(dtype) - 1);
    for (uint64_t bits : {uint64_t(0), uint64_t(1), uint64_t(2), uint64_t(7), ~uint64_t(0),
                          ~uint64_t(1), sign, sign - 1, sign + 1, sign >> 1})
      values.push_back(low_bytes(bits, dtype));
    return values;
  }
  FloatLimits limits = limits_of(dtype);
  double infinity = std::numeric_limits<double>::infinity();
  for (double value : {0.0, 0.5, 1.0, 1.5, 2.5, 3.0, 100.75, 2147483648.0, 0x1p63, limits.largest,
                       limits.smallest_normal, limits.smallest, 3 * limits.smallest, infinity})
    for (double sign : {1.0, -1.0}) values.push_back(Scalar(sign * value).bits_as(dtype));
  values.push_back(Scalar(std::numeric_limits<double>::quiet_NaN()).bits_as(dtype));
  return values;
}

uint64_t random_bits(Random& random, DType dtype) {
  if (dtype == DType::boolean) return random.bits() & 1;
  if (random.chance(5)) return random.pick(edge_values(dtype));
  if (is_floating(dtype)) return Scalar(random.between(-4, 4)).bits_as(dtype);
  if (random.chance(30)) return low_bytes(random.bits(), dtype);
  int64_t lowest = is_signed(dtype) ? -20 : 0;
  return Scalar(lowest + int64_t(random.below(40))).bits_as(dtype);
}

std::vector<std::byte> random_memory(Random& random, DType dtype, int64_t elements) {
  size_t width = size_of(dtype);
  std::vector<std::byte> memory(size_t(elements) * width);
  for (size_t at = 0; at < memory.size(); at += width) {
    uint64_t bits = random_bits(random, dtype);
    std::memcpy(memory.data() + at, &bits, width);
  }
  return memory;
}

}  // namespace encore::jit
