// Do the instructions give the published bits of Philox 4x32-10?
#include <encore/lazy/philox.h>
#include <gtest/gtest.h>

#include <array>
#include <random>

#include "evaluating_builder.h"

namespace encore {
namespace {

using Block = std::array<uint32_t, 4>;
using Key = std::array<uint32_t, 2>;

Block expanded(Block counter, Key key) {
  auto join = [](uint32_t low, uint32_t high) { return uint64_t(high) << 32 | low; };
  Block result;
  for (int word = 0; word < 4; ++word) {
    EvaluatingBuilder to;
    Value seed = to.input(DType::u64, join(key[0], key[1]));
    Value draw = to.input(DType::u64, join(counter[2], counter[3]));
    Value position = to.input(DType::u64, join(counter[0], counter[1]));
    Value value = philox_word(to, seed, draw, position, word);
    EXPECT_EQ(value.dtype, DType::u32);
    result[word] = uint32_t(to.bits_of(value));
  }
  return result;
}

/// As the paper states it: ten rounds, the key raised by the Weyl constants between them.
Block plain(Block c, Key k) {
  for (int round = 0; round < 10; ++round) {
    if (round > 0) k = {k[0] + 0x9E3779B9u, k[1] + 0xBB67AE85u};
    uint64_t p = uint64_t(0xD2511F53) * c[0], q = uint64_t(0xCD9E8D57) * c[2];
    c = {uint32_t(q >> 32) ^ c[1] ^ k[0], uint32_t(q), uint32_t(p >> 32) ^ c[3] ^ k[1],
         uint32_t(p)};
  }
  return c;
}

struct KnownAnswer {
  Block counter;
  Key key;
  Block result;
};

// Published with the authors' Random123 library.
const KnownAnswer known_answers[] = {
    {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
    {{~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
    {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
     {0xa4093822, 0x299f31d0},
     {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
};

TEST(Philox, GivesThePublishedAnswers) {
  for (const KnownAnswer& known : known_answers) {
    EXPECT_EQ(expanded(known.counter, known.key), known.result);
    EXPECT_EQ(plain(known.counter, known.key), known.result);
  }
}

TEST(Philox, EqualsAPlainVersion) {
  std::mt19937 random(3);
  for (int i = 0; i < 1000; ++i) {
    Block counter;
    for (uint32_t& word : counter) word = random();
    Key key = {uint32_t(random()), uint32_t(random())};
    EXPECT_EQ(expanded(counter, key), plain(counter, key));
  }
}

}  // namespace
}  // namespace encore
