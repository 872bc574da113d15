// 128-bit content hashes (XXH3). Equal bytes give equal hashes on every machine.
#pragma once
#include <compare>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace encore {

struct Hash128 {
  uint64_t low = 0;
  uint64_t high = 0;
  auto operator<=>(const Hash128&) const = default;
  std::string hex() const;
};

Hash128 hash_bytes(const void* data, size_t size);
inline Hash128 hash_text(std::string_view text) { return hash_bytes(text.data(), text.size()); }
inline Hash128 hash_words(std::span<const uint64_t> words) {
  return hash_bytes(words.data(), words.size_bytes());
}

struct HashOfHash128 {
  size_t operator()(const Hash128& hash) const { return hash.low; }
};

}  // namespace encore
