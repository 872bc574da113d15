// What a launch of a generated kernel looks like: grid, parameter block, scratch memory.
//
// The parameter block, as every function of the kernel takes it by value:
//
//   uint32 segment_count
//   uint32 first_block[capacity + 1]
//   (padding to 8)
//   uint64 scratch                       the address that `set_scratch` wrote
//   uint64 segment[capacity][words]      {control; pointers[A]; sizes that are not fixed[S];
//   scalars[C]}
//   (padding to 128)
//   tensor map[2]                        only where a function takes them
//
// `control` is what the layout decided for this segment's extents. Everything here is a function of
// the kernel's text, the target and the launch's sizes and pointers.
//
// Threads: immutable after construction.
#pragma once
#include <encore/jit/backend.h>
#include <encore/jit/cuda/target.h>
#include <encore/jit/cuda/tensor_map.h>
#include <encore/jit/kernel.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace encore::jit::cuda {

/// One driver launch. `function` counts what the generated text defines.
struct Geometry {
  uint32_t function = 0;
  uint32_t grid_x = 0, threads = 0;
  uint32_t shared_bytes = 0;  // dynamic; above 48 KiB the function needs the driver's permission
  bool operator==(const Geometry&) const = default;
};

/// Driver launches to enqueue in order, all with the one parameter block; none where there is
/// nothing to do.
struct Steps {
  static constexpr uint32_t most = 8;
  std::array<Geometry, most> launches;
  uint32_t count = 0;
  size_t scratch_bytes = 0;  // of uninitialized memory, for this launch alone; aligned to 256
  bool needs_maps = false;   // then `tensor_maps` must be encoded into the block at `maps_at`

  const Geometry* begin() const { return launches.data(); }
  const Geometry* end() const { return launches.data() + count; }
};

struct Schedule;             // schedule.h
struct ContractionSchedule;  // contraction.h

class LaunchLayout {
 public:
  LaunchLayout(const Kernel& kernel, const Target& target);

  /// Functions in the generated text; a launch uses some of them.
  uint32_t functions() const;
  /// Segments that fit into one parameter block; launches with more are cut.
  uint32_t capacity() const { return capacity_; }
  /// At most 4064.
  size_t parameter_bytes() const { return parameter_bytes_; }
  /// Writes the block for up to capacity() segments. Where Steps::scratch_bytes is not 0,
  /// `set_scratch` must follow.
  Steps pack(std::span<const Segment> segments, std::byte* block) const;
  void set_scratch(std::byte* block, void* scratch) const;
  /// What the copy engine is told for the step that `pack` returned.
  std::array<TensorMap, 2> tensor_maps(const Segment& segment, const Geometry& step) const;
  size_t maps_at() const { return maps_at_; }

 private:
  Steps pack_contraction(const Segment& segment, std::byte* block) const;
  void put_segment(const Segment& segment, uint64_t control, uint64_t scratch, std::byte* at) const;

  std::shared_ptr<const Kernel> kernel_;
  std::shared_ptr<const Schedule> schedule_;                // of kernels without a contraction
  std::shared_ptr<const ContractionSchedule> contraction_;  // of kernels with one
  uint32_t capacity_ = 1, words_ = 0;
  size_t scratch_at_ = 0, segments_at_ = 0, maps_at_ = 0, parameter_bytes_ = 0;
};

}  // namespace encore::jit::cuda
