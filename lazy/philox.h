// Random bits as instructions: Philox 4x32-10 (Salmon, Moraes, Dror, Shaw 2011), a counter-based
// generator. The same arguments give the same bits on every backend, in any order.
#pragma once
#include <encore/lazy/instruction.h>

namespace encore {

/// Word `word` (0 … 3, u32) of the block with counter (position, draw) and key `seed`, each of the
/// three u64 and taken low half first.
Value philox_word(Builder& to, Value seed, Value draw, Value position, int word);

}  // namespace encore
