#include <encore/core/hash.h>

#define XXH_INLINE_ALL
#include <fmt/format.h>
#include <xxhash.h>

namespace encore {

std::string Hash128::hex() const { return fmt::format("{:016x}{:016x}", high, low); }

Hash128 hash_bytes(const void* data, size_t size) {
  XXH128_hash_t hash = XXH3_128bits(data, size);
  return {hash.low64, hash.high64};
}

}  // namespace encore
