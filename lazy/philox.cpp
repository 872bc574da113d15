#include <encore/lazy/math_term.h>
#include <encore/lazy/philox.h>

namespace encore {
namespace {

using math::Term;

constexpr int round_count = 10;

struct Halves {
  Term low, high;
};

Halves halves_of(const Term& x) { return {x.cast(DType::u32), (x >> 32).cast(DType::u32)}; }

Term high_product(const Term& x, uint32_t factor) {
  return x.emit(Opcode::mul_high, DType::u32, x.constant(factor));
}

}  // namespace

Value philox_word(Builder& to, Value seed, Value draw, Value position, int word) {
  constexpr uint32_t factors[] = {0xD2511F53, 0xCD9E8D57}, steps[] = {0x9E3779B9, 0xBB67AE85};
  Halves near = halves_of({to, position}), far = halves_of({to, draw}), key = halves_of({to, seed});
  Term block[] = {near.low, near.high, far.low, far.high};
  for (int round = 1; round < round_count; ++round) {
    Term first = high_product(block[2], factors[1]) ^ block[1] ^ key.low;
    Term third = high_product(block[0], factors[0]) ^ block[3] ^ key.high;
    Term second = block[2] * factors[1], fourth = block[0] * factors[0];
    block[0] = first, block[1] = second, block[2] = third, block[3] = fourth;
    key = {key.low + steps[0], key.high + steps[1]};
  }
  // The last round makes one word only.
  switch (word) {
    case 0:
      return high_product(block[2], factors[1]) ^ block[1] ^ key.low;
    case 1:
      return block[2] * factors[1];
    case 2:
      return high_product(block[0], factors[0]) ^ block[3] ^ key.high;
    default:
      return block[0] * factors[0];
  }
}

}  // namespace encore
