// Contractions by warpgroups of compute capability 9.0 (wgmma): the copy engine brings tiles as
// boxes of the operands' tensors, a warp of its own sends for them, and 128 threads together
// multiply what lies in shared memory.
//
// Threads: all functions are pure.
#pragma once
#include <encore/jit/cuda/contraction.h>
#include <encore/jit/cuda/tensor_map.h>

#include <array>
#include <string>
#include <string_view>

namespace encore::jit::cuda {

/// Whether a kernel's text allows boxes of its operands, for some sizes at least.
bool allows_boxes(const Kernel& kernel, const Target& target, Multiplier multiplier);

/// Whether these sizes, of a kernel whose text allows boxes, do.
bool sizes_allow_boxes(const Kernel& kernel, const int64_t* sizes);

bool has_boxes(const ContractionSchedule& schedule);

/// What the copy engine is told of a and b for a launch of `plan`. Throws Error for memory that is
/// not aligned to 16 bytes, which no buffer is.
std::array<TensorMap, 2> tensor_maps(const Kernel& kernel, const ContractionPlan& plan,
                                     const Segment& segment);

/// Shared memory of a block: tiles at multiples of 1024 bytes, behind them the barriers.
uint32_t boxed_stage_bytes(const ContractionPlan& plan);
uint32_t boxed_shared_bytes(const Kernel& kernel, const ContractionPlan& plan);
uint32_t barriers_at(const Kernel& kernel, const ContractionPlan& plan);

/// Single machine instructions; tests put functions of the host in their place.
std::string_view wgmma_intrinsics();
/// The product of one warpgroup of `plan`, a machine instruction with many operands.
std::string wgmma_instruction(const ContractionPlan& plan, bool a_along_depth, bool b_along_depth);
/// The walk over tiles; in `namespace contraction`, needs the above.
std::string_view wgmma_tiles();

}  // namespace encore::jit::cuda
