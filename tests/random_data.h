// Random bits that tests feed to kernels: ordinary numbers, with the edges of every dtype mixed in.
#pragma once
#include <encore/lazy/dtype.h>

#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

namespace encore::jit {

class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}

  uint64_t bits() { return engine_(); }
  size_t below(size_t bound) { return engine_() % bound; }
  bool chance(int percent) { return below(100) < size_t(percent); }
  double between(double low, double high) {
    return low + (high - low) * double(engine_() >> 11) * 0x1p-53;
  }
  template <class T>
  const T& pick(const std::vector<T>& choices) {
    return choices[below(choices.size())];
  }
  template <class T>
  void shuffle(std::vector<T>& items) {
    for (size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[below(i)]);
  }

 private:
  std::mt19937_64 engine_;
};

/// A value as `dtype` stores it, in the low bytes.
uint64_t random_bits(Random& random, DType dtype);

std::vector<std::byte> random_memory(Random& random, DType dtype, int64_t elements);

/// Values at which instructions change their behaviour: zeros, ones, limits, subnormals, NaN.
std::vector<uint64_t> edge_values(DType dtype);

}  // namespace encore::jit
