#include <encore/core/error.h>
#include <encore/trace/binary_store.h>
#include <encore/trace/statistics.h>

#include <cstring>

namespace encore::trace {
namespace {

constexpr std::string_view binary_kind = "kernel", extents_kind = "extents";

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
  opened_ = false;
}

std::optional<std::vector<std::byte>> BinaryStore::read(std::string_view kind,
                                                        std::string_view key) {
  if (!disk()) return std::nullopt;
  const cache::DiskStatistics before = disk()->statistics();
  std::optional<std::vector<std::byte>> bytes = disk()->read(kind, key);
  const cache::DiskStatistics after = disk()->statistics();
  counters().disk_misses += after.misses - before.misses;
  counters().disk_rejects += after.rejected - before.rejected;
  return bytes;
}

std::shared_ptr<const jit::Executable> BinaryStore::load(jit::Backend& backend,
                                                         const jit::Kernel& kernel,
                                                         std::string_view key) {
  std::optional<std::vector<std::byte>> bytes = read(binary_kind, key);
  if (!bytes) return nullptr;
  try {
    return backend.load(kernel, {*std::move(bytes)});
  } catch (const OutOfMemory&) {
    throw;
  } catch (const DeviceLost&) {
    throw;
  } catch (const Error&) {
    ++counters().disk_rejects;  // it is compiled again, and takes the place of what was there
    return nullptr;
  }
}

void BinaryStore::store(std::string_view key, const jit::Binary& binary) {
  if (disk()) disk()->write(binary_kind, key, binary.bytes);
}

std::optional<Hash128> BinaryStore::first_extents(std::string_view structure_key) {
  std::optional<std::vector<std::byte>> bytes = read(extents_kind, structure_key);
  Hash128 extents;
  if (!bytes || bytes->size() != sizeof extents) return std::nullopt;
  std::memcpy(&extents, bytes->data(), sizeof extents);
  return extents;
}

void BinaryStore::store_first_extents(std::string_view structure_key, Hash128 extents) {
  if (disk()) disk()->write(extents_kind, structure_key, std::as_bytes(std::span(&extents, 1)));
}

}  // namespace encore::trace
