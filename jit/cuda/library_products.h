// The products of one device that cuBLASLt makes: each shape's algorithm, chosen once.
//
// There are two for a shape, the fastest of all and the fastest of those that need little
// workspace, for products in whose program there is no room. They are the library's first ideas
// until `choose` was called for the shape. Of more than `most_shapes` the half that was asked for
// longest ago is forgotten. May be used from any thread.
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
  static constexpr size_t most_shapes = 1024;

  LibraryProducts(const Gpu& gpu, DeviceMemory& memory) : gpu_(gpu), memory_(memory) {}

  /// A product and which of its algorithms runs.
  struct Chosen {
    std::shared_ptr<const CublasLtProduct> product;
    size_t algorithm = 0;
    size_t workspace_bytes() const { return product->workspace_bytes(algorithm); }
  };

  /// Whether the library is there and has an algorithm. What it lacks is told once on stderr.
  bool can(const CublasLtShape& shape);
  /// The fastest if it needs no more workspace, else the one that needs little. Throws DeviceError:
  /// there is none.
  Chosen get(const CublasLtShape& shape, size_t most_workspace = ~size_t(0));

  /// All that the choice of algorithms depends on; empty: it was made.
  std::string question(const CublasLtShape& shape);
  /// Chooses by what `known` says, or by measuring where that is no answer. What an answer for
  /// later processes is; empty where the device had no memory to measure in, or all failed.
  std::vector<std::byte> choose(const CublasLtShape& shape, std::span<const std::byte> known);

 private:
  struct Entry {
    std::shared_ptr<const CublasLtProduct> product;  // null: the library refused
    std::string refusal;
    size_t fastest = 0, thrifty = 0;
    bool is_chosen = false;
    uint64_t asked = 0;  // when it was last asked for
  };
  Entry& entry(const CublasLtShape& shape);
  void forget_half();

  const Gpu& gpu_;
  DeviceMemory& memory_;
  std::mutex mutex_;  // guards what follows
  std::map<CublasLtShape, Entry> entries_;
  uint64_t now_ = 0;  // counts the times that an entry was asked for
};

/// Calls of the library that this process enqueued; a graph that holds some counts when they are
/// put into it.
int64_t library_calls();
void count_library_call();

}  // namespace encore::jit::cuda
