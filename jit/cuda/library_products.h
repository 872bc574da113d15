// The products of one device that cuBLASLt makes: each shape's algorithm, chosen once.
//
// An algorithm is the library's first idea until `choose` was called for the shape; what that
// chose stays for the process. May be used from any thread.
#pragma once
#include <encore/jit/cuda/cublaslt.h>
#include <encore/jit/cuda/memory.h>

#include <map>
#include <memory>
#include <mutex>
#include <string>

namespace encore::jit::cuda {

class LibraryProducts {
 public:
  LibraryProducts(const Gpu& gpu, DeviceMemory& memory) : gpu_(gpu), memory_(memory) {}

  /// A product and which of its algorithms runs.
  struct Chosen {
    const CublasLtProduct* product = nullptr;
    size_t algorithm = 0;
  };

  /// Whether the library is there and has an algorithm. What it lacks is told once on stderr.
  bool can(const CublasLtShape& shape);
  /// Throws DeviceError: it has none.
  Chosen get(const CublasLtShape& shape);

  /// All that the choice of an algorithm depends on; empty: it was made.
  std::string question(const CublasLtShape& shape);
  /// Chooses by what `known` says, or by measuring where that is no answer. What an answer for
  /// later processes is; empty where the device had no memory to measure in, or all failed.
  std::vector<std::byte> choose(const CublasLtShape& shape, std::span<const std::byte> known);

 private:
  struct Entry {
    std::unique_ptr<const CublasLtProduct> product;  // null: the library refused
    std::string refusal;
    size_t algorithm = 0;
    bool is_chosen = false;
  };
  Entry& entry(const CublasLtShape& shape);

  const Gpu& gpu_;
  DeviceMemory& memory_;
  std::mutex mutex_;  // guards what follows
  std::map<CublasLtShape, Entry> entries_;
};

/// Calls of the library that this process enqueued; a graph that holds some counts when they are
/// put into it.
int64_t library_calls();
void count_library_call();

}  // namespace encore::jit::cuda
