// Compiled kernels on disk, for the processes to come.
//
// A binary stands under the backend's fingerprint and the kernel's whole text, so it is found by
// whoever would compile the same. Beside it each structure (the text without its extents) has an
// entry that says which extents it was first compiled for: a process that comes with others makes
// the generic kernel at once. Code that several kernels share is an entry of its own, named by its
// hash, which theirs refer to. What was measured stands under all that it depends on.
//
// Used under the runtime's lock.
#pragma once
#include <encore/cache/disk_store.h>
#include <encore/jit/backend.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace encore::trace {

class BinaryStore {
 public:
  /// Null when the binary is not there, or is none that the backend can load.
  std::shared_ptr<const jit::Executable> load(jit::Backend& backend, const jit::Kernel& kernel,
                                              std::string_view key);
  void store(std::string_view key, const jit::Binary& binary);

  /// The key of the first extents' kernel of a structure.
  std::optional<Hash128> first_extents(std::string_view structure_key);
  void store_first_extents(std::string_view structure_key, Hash128 extents);

  /// What a device was measured to do best; see Backend::question. Empty: it is not known.
  std::vector<std::byte> choice(std::string_view question);
  void store_choice(std::string_view question, std::span<const std::byte> answer);

  /// The next use reads the settings anew.
  void close();

 private:
  cache::DiskStore* disk();
  std::optional<std::vector<std::byte>> read(std::string_view kind, std::string_view key);
  void write(std::string_view kind, std::string_view key, std::span<const std::byte> bytes);
  using Code = std::shared_ptr<const std::vector<std::byte>>;
  std::optional<jit::Binary> read_binary(std::string_view key);
  Code read_code(Hash128 name);

  bool opened_ = false;
  std::unique_ptr<cache::DiskStore> disk_;  // none: the cache is off
  Hash128 latest_name_{};                   // of the shared code that was stored or read last
  Code latest_code_;
};

}  // namespace encore::trace
