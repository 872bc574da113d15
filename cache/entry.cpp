#include <encore/cache/entry.h>
#include <zstd.h>

#include <bit>
#include <cstring>

namespace encore::cache {
namespace {

static_assert(std::endian::native == std::endian::little, "files are little-endian");

static_assert(entry_magic.size() == sizeof EntryHeader::magic);
constexpr int compression_level = 3;
constexpr size_t most_kind_size = 64;
constexpr size_t most_expansion = 1 << 16;  // zstd makes 128 KiB of four bytes at best

Hash128 checksum_of(const EntryHeader& header) {
  return hash_bytes(&header, offsetof(EntryHeader, checksum));
}

size_t plain_size(const EntryHeader& header) {
  return header.kind_size + header.key_size + header.payload_size;
}

void append(std::vector<std::byte>& bytes, std::string_view text) {
  auto data = std::as_bytes(std::span(text));
  bytes.insert(bytes.end(), data.begin(), data.end());
}

}  // namespace

Hash128 entry_name(std::string_view kind, std::string_view key) {
  std::vector<std::byte> text;
  text.reserve(kind.size() + key.size() + 32);
  append(text, std::to_string(entry_version) + ' ' + std::to_string(kind.size()) + ' ');
  append(text, kind);
  append(text, key);
  return hash_bytes(text.data(), text.size());
}

std::vector<std::byte> encode_entry(std::string_view kind, std::string_view key,
                                    std::span<const std::byte> payload) {
  if (kind.size() > most_kind_size || key.size() > most_entry_bytes ||
      payload.size() > most_entry_bytes - kind.size() - key.size())
    return {};
  std::vector<std::byte> plain;
  plain.reserve(kind.size() + key.size() + payload.size());
  append(plain, kind);
  append(plain, key);
  plain.insert(plain.end(), payload.begin(), payload.end());

  EntryHeader header{};
  std::memcpy(header.magic, entry_magic.data(), entry_magic.size());
  header.version = entry_version;
  header.kind_size = kind.size();
  header.key_size = key.size();
  header.payload_size = payload.size();
  header.name = entry_name(kind, key);

  std::vector<std::byte> bytes(sizeof header + ZSTD_compressBound(plain.size()));
  header.body_size = ZSTD_compress(bytes.data() + sizeof header, bytes.size() - sizeof header,
                                   plain.data(), plain.size(), compression_level);
  if (ZSTD_isError(header.body_size)) return {};
  bytes.resize(header.entry_size());
  header.body = hash_bytes(bytes.data() + sizeof header, header.body_size);
  header.checksum = checksum_of(header);
  std::memcpy(bytes.data(), &header, sizeof header);
  return bytes;
}

std::optional<EntryHeader> entry_header(std::span<const std::byte> bytes,
                                        std::string_view& problem) {
  EntryHeader header;
  if (bytes.size() < sizeof header) return problem = "it is cut off", std::nullopt;
  std::memcpy(&header, bytes.data(), sizeof header);
  if (std::string_view(header.magic, sizeof header.magic) != entry_magic)
    return problem = "it is not an entry of this cache", std::nullopt;
  if (header.version != entry_version)
    return problem = "it is of another format version", std::nullopt;
  if (checksum_of(header) != header.checksum) return problem = "its checksum differs", std::nullopt;
  // Each alone first, so that no sum overflows.
  const bool possible = header.kind_size <= most_kind_size && header.key_size <= most_entry_bytes &&
                        header.payload_size <= most_entry_bytes &&
                        plain_size(header) <= most_entry_bytes &&
                        header.body_size <= ZSTD_compressBound(most_entry_bytes) &&
                        plain_size(header) <= header.body_size * most_expansion;
  if (!possible) return problem = "it claims impossible sizes", std::nullopt;
  return header;
}

DecodedEntry decode_entry(std::span<const std::byte> bytes) {
  DecodedEntry decoded;
  const auto header = entry_header(bytes, decoded.problem);
  if (!header) return decoded;
  const auto body = bytes.subspan(sizeof(EntryHeader));
  auto refuse = [&](std::string_view problem) { return DecodedEntry{std::nullopt, problem}; };
  if (body.size() < header->body_size) return refuse("it is cut off");
  if (body.size() > header->body_size) return refuse("something follows it");
  if (hash_bytes(body.data(), body.size()) != header->body) return refuse("its checksum differs");
  // An honest writer's checksum says nothing about a dishonest writer's frame.
  const size_t size = plain_size(*header);
  if (ZSTD_getFrameContentSize(body.data(), body.size()) != size)
    return refuse("its sizes contradict each other");
  std::vector<std::byte> plain(size);
  if (ZSTD_decompress(plain.data(), size, body.data(), body.size()) != size)
    return refuse("it does not decompress");
  const char* text = reinterpret_cast<const char*>(plain.data());
  Entry& entry = decoded.entry.emplace();
  entry.kind.assign(text, header->kind_size);
  entry.key.assign(text + header->kind_size, header->key_size);
  entry.payload.assign(plain.begin() + header->kind_size + header->key_size, plain.end());
  if (entry_name(entry.kind, entry.key) != header->name) return refuse("its name is not its key's");
  return decoded;
}

}  // namespace encore::cache
