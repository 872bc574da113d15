// Which kernels came into the store lately, so that a compilation can say why it was needed.
//
// Used under the runtime's lock, and only where a kernel is compiled or loaded.
#pragma once
#include <encore/jit/kernel.h>
#include <encore/trace/miss_reason.h>

#include <deque>
#include <string>
#include <unordered_map>
#include <vector>

namespace encore::trace {

/// A kernel that memory did not have.
struct AskedKernel {
  const jit::Kernel& kernel;  // as it is to be compiled
  Hash128 key;
  std::string device;
  uint32_t variant = 0;    // that its sizes want, see jit::Backend::variant
  bool is_joined = false;  // one launch needs it in several sizes
  Location where{};        // the user's line
};

class KernelHistory {
 public:
  static constexpr size_t most_keys = 1 << 14;

  /// Why it has to be compiled.
  Miss explain(const AskedKernel& asked) const;
  /// It is in the store now, compiled or loaded.
  void add(const AskedKernel& asked);
  /// The store is empty now.
  void note_cleared();

 private:
  struct Known {
    bool is_cleared = false;
    std::vector<int64_t> extents{};  // of a structure, when it was first seen
    Location where{};
  };
  const Known* find(Hash128 key) const;
  void add(Hash128 key, Known known);

  std::unordered_map<Hash128, Known, HashOfHash128> known_;  // keys of kernels and of structures
  std::deque<Hash128> keys_;                                 // of `known_`, the latest last
};

}  // namespace encore::trace
