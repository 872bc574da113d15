// Contractions on the GPU: tiles in shared memory, products by fma or on tensor cores, the epilogue
// on the tile before it leaves.
//
// Order of accumulation: in strict mode, and always for f64 and integers, one chain over ascending
// contracted points, as jit/kernel.h says. Otherwise products of floating numbers may be added in
// the tensor cores' order and in up to 16 parts that are added in order; how depends on extents and
// dtypes only. Column accumulators of floating sums likewise.
//
// Threads: all functions are pure.
#pragma once
#include <encore/jit/cuda/geometry.h>
#include <encore/jit/cuda/target.h>
#include <encore/jit/kernel.h>

#include <string>
#include <string_view>
#include <vector>

namespace encore::jit::cuda {

/// What multiplies: fma on registers, or tensor cores with operands as named.
enum class Multiplier : uint8_t { fma, tf32, split_tf32, bf16, f16 };

/// How one function cuts a contraction into blocks.
struct ContractionPlan {
  Multiplier multiplier = Multiplier::fma;
  uint16_t rows = 64, columns = 64, depths = 16;  // a block's tile
  uint16_t down = 16, across = 16;                // threads (fma) or warps that share it
  uint16_t stages = 2;                            // pairs of tiles in shared memory
  uint16_t residents = 1;                         // blocks that a multiprocessor should hold
  uint16_t splits = 1;  // blocks of one cluster that share the contracted points
  bool boxed = false;   // `down` warpgroups multiply what the copy engine brings
  bool operator==(const ContractionPlan&) const = default;

  uint32_t threads() const {
    if (boxed) return uint32_t(down) * 128 + 32;
    return uint32_t(down) * across * (multiplier == Multiplier::fma ? 1 : 32);
  }
};

/// One plan per function of the generated text: that of the sizes where all are fixed, that of the
/// kernel's variant where it has one, otherwise those that `choose_plan` chooses from.
struct ContractionSchedule {
  std::vector<ContractionPlan> plans;
};
ContractionSchedule schedule_contraction(const Kernel& kernel, const Target& target);

/// The `Kernel::variant` that has only the plan for the sizes as they are; 0 where there is no
/// choice.
uint32_t contraction_variant(const Kernel& kernel, const Target& target);

/// Which plan serves a launch with these sizes.
uint32_t choose_plan(const Kernel& kernel, const ContractionSchedule& schedule,
                     const int64_t* sizes);

/// Seconds that a launch takes by the formula that plans are chosen by, for the sizes as they are.
double planned_seconds(const Kernel& kernel, const Target& target);

/// The launch of `plan` (the function's number is left 0); no blocks where there is nothing to do.
Geometry contraction_geometry(const Kernel& kernel, const ContractionPlan& plan,
                              const int64_t* sizes);

/// The functions of a kernel with a contraction, one per plan, and the device code that they stand
/// on, which the preprocessor takes once a program.
std::string generate_contraction(const Kernel& kernel, const std::string& symbol,
                                 const Target& target);
/// Likewise with plans of one's own, which suit the kernel.
std::string generate_contraction(const Kernel& kernel, const std::string& symbol,
                                 const Target& target, const ContractionSchedule& schedule);

}  // namespace encore::jit::cuda
