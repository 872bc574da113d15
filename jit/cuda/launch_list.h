// Driver launches in order, each with its parameter block: what a replay hands to the stream or
// writes into a graph.
//
// Threads: a plain value.
#pragma once
#include <encore/jit/backend.h>
#include <encore/jit/cuda/driver_types.h>
#include <encore/jit/cuda/geometry.h>

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

namespace encore::jit::cuda {

class Launchable;

/// What a library enqueues in its own way.
class LibraryCall {
 public:
  virtual ~LibraryCall() = default;
  virtual void enqueue(const std::byte* block, CUstream stream) const = 0;
};

struct LaunchList {
  struct Launch {
    CUfunction function;
    Geometry geometry;
    size_t block, block_bytes;          // its parameters in `blocks`
    const LibraryCall* call = nullptr;  // then there is no function
    bool is_behind = false;             // the launch before it, though the blocks differ
  };
  struct NeedsScratch {
    const Launchable* code;
    size_t block;
    size_t bytes;
    size_t offset = 0;  // in the scratch memory of the list
  };

  std::vector<Launch> launches;
  std::vector<std::byte> blocks;
  std::vector<NeedsScratch> needs_scratch;
  size_t scratch_bytes = 0;  // as long as launches take turns they share the memory
  /// Memory that launches share beside that. It may be given back once all are enqueued.
  std::vector<std::shared_ptr<void>> temporaries;
  /// What blocks point to on the host.
  std::vector<std::shared_ptr<const void>> pointed_to;

  void clear();
  /// Room for one more block; its place in `blocks`.
  size_t add_block(size_t bytes);
  void add_scratch(NeedsScratch needing);
  /// Gives all launches scratch memory of their own; false, and nothing changes, where that would
  /// be more than `most` bytes.
  bool separate_scratch(size_t most);
  std::byte* block(size_t place) { return blocks.data() + place; }
  const std::byte* block(size_t place) const { return blocks.data() + place; }
  void set_scratch(void* scratch);
};

/// What a CUDA executable is to a sequence of launches.
class Launchable : public Executable {
 public:
  /// Appends what a launch of `segments` enqueues. Whatever of it can fail does so here.
  virtual void pack(std::span<const Segment> segments, LaunchList& to) const = 0;
  /// Writes the address into a block that `pack` listed under `needs_scratch`.
  virtual void set_scratch(std::byte* block, void* scratch) const = 0;
};

}  // namespace encore::jit::cuda
