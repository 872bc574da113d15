// What a trace compiles to: its launches in order, and where every buffer lives. Replaying binds
// the slots of a new capture to it.
#pragma once
#include <encore/jit/backend.h>
#include <encore/trace/capture.h>

#include <memory>
#include <vector>

namespace encore::trace {

struct Program {
  struct Segment {
    std::vector<uint32_t> buffers;
    std::vector<int64_t> sizes;
    std::vector<uint32_t> scalar_slots;
    uint32_t scratch = ~0u;  // a buffer
  };
  struct Launch {
    std::vector<Segment> segments;
  };
  /// In a leaf's memory, else in that of a new buffer, else in the arena.
  struct Place {
    uint32_t leaf = ~0u;    // slot
    uint32_t inside = ~0u;  // the place that the new buffer is made for, maybe this one
    int64_t offset = 0;
    uint32_t output = ~0u;  // the first output that it is
    int64_t bytes = 0;
  };

  std::vector<uint64_t> words;  // the trace's key in full
  std::vector<Launch> launches;
  std::shared_ptr<const jit::Labels> labels;  // by launch
  std::unique_ptr<jit::Sequence> sequence;    // runs them
  std::vector<Place> places;                  // by buffer
  std::vector<uint32_t> output_buffers;
  std::vector<uint32_t> overwritten_leaves;  // slots
  int64_t arena_bytes = 0;
  uint32_t pointer_count = 0, scalar_count = 0, segment_count = 0;  // sums over all segments

  int64_t bytes() const;
};

/// Scratch memory of replays on one device. The arena is kept from one to the next only on devices
/// whose prepared launches name its address.
struct ReplayScratch {
  Ref<Buffer> arena;
  std::vector<void*> places;
  std::vector<void*> pointers;
  std::vector<uint64_t> scalars;
  std::vector<jit::Segment> segments;
  std::vector<std::span<const jit::Segment>> launches;
  int64_t released_bytes = 0;  // of the arena that the latest replay gave back
  jit::Progress progress;      // of the latest replay
};

/// Runs the program on the capture's leaves and scalars; one buffer per output. Everything is
/// allocated before the first launch. Donated leaves that were taken over have lost their buffer.
std::vector<Ref<Buffer>> replay(const Program& program, const Capture& capture,
                                jit::Backend& backend, ReplayScratch& scratch);

}  // namespace encore::trace
