// Compiled kernels on disk, for the processes to come.
//
// A binary stands under the backend's fingerprint and the kernel's whole text, so it is found by
// whoever would compile the same. Beside it each structure (the text without its extents) has an
// entry that says which extents it was first compiled for: a process that comes with others makes
// the generic kernel at once.
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

  /// The next use reads the settings anew.
  void close();

 private:
  cache::DiskStore* disk();
  std::optional<std::vector<std::byte>> read(std::string_view kind, std::string_view key);

  bool opened_ = false;
  std::unique_ptr<cache::DiskStore> disk_;  // none: the cache is off
};

}  // namespace encore::trace
