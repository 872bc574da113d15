#include <encore/core/error.h>
#include <encore/core/span.h>
#include <encore/trace/binary_store.h>
#include <encore/trace/statistics.h>

#include <cstring>

namespace encore::trace {
namespace {

constexpr std::string_view binary_kind = "kernel", extents_kind = "extents", code_kind = "code",
                           choice_kind = "choice";

/// What the last byte of a kernel's entry says of the bytes before it.
enum class Holds : uint8_t { all, reference };  // a reference: the shared code's name stands last

template <class Value>
void append(std::vector<std::byte>& bytes, const Value& value) {
  const auto more = std::as_bytes(std::span(&value, 1));
  bytes.insert(bytes.end(), more.begin(), more.end());
}

/// Takes the last bytes; false where there are too few.
template <class Value>
bool take(std::vector<std::byte>& bytes, Value& value) {
  if (bytes.size() < sizeof value) return false;
  std::memcpy(&value, bytes.data() + bytes.size() - sizeof value, sizeof value);
  bytes.resize(bytes.size() - sizeof value);
  return true;
}

}  // namespace

cache::DiskStore* BinaryStore::disk() {
  if (!opened_) {
    if (auto options = cache::disk_options_from_settings())
      disk_ = std::make_unique<cache::DiskStore>(*std::move(options));
    opened_ = true;
  }
  return disk_.get();
}

void BinaryStore::close() {
  disk_ = nullptr;
  latest_code_ = nullptr;
  opened_ = false;
}

std::optional<std::vector<std::byte>> BinaryStore::read(std::string_view kind,
                                                        std::string_view key) {
  if (!disk()) return std::nullopt;
  Span span("read disk", kind);
  const cache::DiskStatistics before = disk()->statistics();
  std::optional<std::vector<std::byte>> bytes = disk()->read(kind, key);
  const cache::DiskStatistics after = disk()->statistics();
  counters().disk_misses += after.misses - before.misses;
  counters().disk_rejects += after.rejected - before.rejected;
  return bytes;
}

BinaryStore::Code BinaryStore::read_code(Hash128 name) {
  if (latest_code_ && latest_name_ == name) return latest_code_;
  std::optional<std::vector<std::byte>> bytes = read(code_kind, name.hex());
  if (!bytes) return nullptr;
  latest_name_ = name;
  return latest_code_ = std::make_shared<const std::vector<std::byte>>(*std::move(bytes));
}

std::optional<jit::Binary> BinaryStore::read_binary(std::string_view key) {
  std::optional<std::vector<std::byte>> bytes = read(binary_kind, key);
  Holds holds;
  if (!bytes || !take(*bytes, holds)) return std::nullopt;
  jit::Binary binary{*std::move(bytes)};
  if (holds == Holds::all) return binary;
  Hash128 name;
  if (take(binary.bytes, name)) binary.shared = read_code(name);
  if (!binary.shared) return std::nullopt;
  return binary;
}

std::shared_ptr<const jit::Executable> BinaryStore::load(jit::Backend& backend,
                                                         const jit::Kernel& kernel,
                                                         std::string_view key) {
  const std::optional<jit::Binary> binary = read_binary(key);
  if (!binary) return nullptr;
  try {
    return backend.load(kernel, *binary);
  } catch (const OutOfMemory&) {
    throw;
  } catch (const DeviceLost&) {
    throw;
  } catch (const Error&) {
    ++counters().disk_rejects;  // it is compiled again, and takes the place of what was there
    return nullptr;
  }
}

void BinaryStore::write(std::string_view kind, std::string_view key,
                        std::span<const std::byte> bytes) {
  Span span("write disk", kind, {}, int64_t(bytes.size()));
  disk()->write(kind, key, bytes);
}

void BinaryStore::store(std::string_view key, const jit::Binary& binary) {
  if (!disk()) return;
  std::vector<std::byte> bytes = binary.bytes;
  if (binary.shared) {
    const Hash128 name = hash_bytes(binary.shared->data(), binary.shared->size());
    if (latest_code_ != binary.shared) write(code_kind, name.hex(), *binary.shared);
    latest_name_ = name, latest_code_ = binary.shared;
    append(bytes, name);
  }
  append(bytes, binary.shared ? Holds::reference : Holds::all);
  write(binary_kind, key, bytes);
}

std::optional<Hash128> BinaryStore::first_extents(std::string_view structure_key) {
  std::optional<std::vector<std::byte>> bytes = read(extents_kind, structure_key);
  Hash128 extents;
  if (!bytes || bytes->size() != sizeof extents) return std::nullopt;
  std::memcpy(&extents, bytes->data(), sizeof extents);
  return extents;
}

std::vector<std::byte> BinaryStore::choice(std::string_view question) {
  return read(choice_kind, question).value_or(std::vector<std::byte>());
}

void BinaryStore::store_choice(std::string_view question, std::span<const std::byte> answer) {
  if (disk()) write(choice_kind, question, answer);
}

void BinaryStore::store_first_extents(std::string_view structure_key, Hash128 extents) {
  if (disk()) write(extents_kind, structure_key, std::as_bytes(std::span(&extents, 1)));
}

}  // namespace encore::trace
