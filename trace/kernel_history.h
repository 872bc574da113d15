// Which kernels came into the store lately, so that a compilation can say why it was needed.
//
// Used under the runtime's lock, and only where a kernel is compiled or loaded.
#pragma once
#include <encore/jit/kernel.h>
#include <encore/trace/miss_reason.h>

#include <deque>
#include <string_view>
#include <unordered_map>

namespace encore::trace {

class KernelHistory {
 public:
  static constexpr size_t most_keys = 1 << 14;

  /// `kernel` was compiled, or else loaded, for `device`, as there was none under `key` in memory.
  /// Counts and tells why it was compiled.
  void note(const jit::Kernel& kernel, Hash128 key, std::string_view device, bool is_compiled);
  /// The store is empty now.
  void note_cleared();

 private:
  struct Known {
    bool is_cleared = false;
  };
  MissReason reason_of(const jit::Kernel& kernel, Hash128 key, Hash128 structure) const;
  void add(Hash128 key);

  std::unordered_map<Hash128, Known, HashOfHash128> known_;  // keys of kernels and of structures
  std::deque<Hash128> keys_;                                 // of `known_`, the latest last
};

}  // namespace encore::trace
