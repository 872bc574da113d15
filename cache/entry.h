// One keyed value as bytes: what a file of the disk store holds, and what packs are rows of.
//
//   magic, version, sizes, name, checksums  |  zstd of kind, key and payload
//
// Nothing about the machine or the moment is in it, so equal entries are equal bytes. Reading
// trusts nothing: whatever the bytes are, the answer is the entry that was written or a problem in
// words.
#pragma once
#include <encore/core/hash.h>

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace encore::cache {

inline constexpr std::string_view entry_magic = "encore\r\n";
inline constexpr uint32_t entry_version = 1;
inline constexpr size_t most_entry_bytes = size_t(512) << 20;  // of kind, key and payload together

struct EntryHeader {
  char magic[8];
  uint32_t version;
  uint32_t kind_size;
  uint64_t key_size;
  uint64_t payload_size;
  uint64_t body_size;  // compressed
  Hash128 name;
  Hash128 body;      // its hash
  Hash128 checksum;  // of all of the above
  size_t entry_size() const { return sizeof(EntryHeader) + body_size; }
};
static_assert(sizeof(EntryHeader) == 88);

struct Entry {
  std::string kind;
  std::string key;
  std::vector<std::byte> payload;
};

/// An entry, or what is wrong with the bytes.
struct DecodedEntry {
  std::optional<Entry> entry;
  std::string_view problem;
};

/// Under which name an entry is filed: a hash of format version, kind and key.
Hash128 entry_name(std::string_view kind, std::string_view key);

/// Empty where the entry is too large.
std::vector<std::byte> encode_entry(std::string_view kind, std::string_view key,
                                    std::span<const std::byte> payload);
/// What stands first in `bytes`; nothing where it is damaged, is no entry of this format version,
/// or claims sizes which no entry has. Then `problem` says what.
std::optional<EntryHeader> entry_header(std::span<const std::byte> bytes,
                                        std::string_view& problem);
/// `bytes` must be one entry and nothing else.
DecodedEntry decode_entry(std::span<const std::byte> bytes);

}  // namespace encore::cache
