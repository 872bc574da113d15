#include <encore/core/error.h>
#include <encore/jit/cuda/contraction.h>
#include <encore/jit/cuda/contraction_traits.h>
#include <encore/jit/cuda/contraction_wgmma.h>

#include <algorithm>

namespace encore::jit::cuda {
namespace {

constexpr int64_t multiprocessors = 132;
// Of shorter sums the errors of operands in two parts are larger than those of a chain of fma.
constexpr int64_t least_split_depth = 8;
// Fewer contracted points are not worth a meeting of blocks.
constexpr int64_t least_shared_depth = 64;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

struct Extents {
  int64_t outer, rows, columns, depths, chunk_rows;
};

Extents extents_of(const Kernel& kernel, const int64_t* sizes) {
  auto points = [&](Role role) { return extent_product(kernel, role, sizes); };
  int64_t chunk_rows = kernel.rows_per_chunk == none ? 0 : sizes[kernel.rows_per_chunk];
  return {points(Role::outer), points(Role::row), points(Role::inner), points(Role::contracted),
          chunk_rows};
}

/// Blocks of one launch, clusters counted once.
int64_t unit_count(const Extents& e, const ContractionPlan& plan) {
  int64_t down = std::max<int64_t>(1, ceil_div(e.rows, e.chunk_rows ? e.chunk_rows : plan.rows));
  return e.outer * down * std::max<int64_t>(1, ceil_div(e.columns, plan.columns));
}

/// Blocks that a multiprocessor has registers and shared memory for.
int64_t residents_of(const ContractionPlan& plan) {
  if (plan.boxed) return plan.residents;
  const int64_t points = int64_t(plan.rows) * plan.columns;
  return points >= 8192 ? 1 : points >= 4096 ? 2 : 4;
}

/// Picoseconds: `steps` are those of one block, `together` blocks share a multiprocessor.
struct Cost {
  int64_t step, round;
};

/// Tiles that are loaded and multiplied by all threads in turns.
Cost cost_of_copied(const ContractionPlan& plan, int64_t together) {
  const bool split = plan.multiplier == Multiplier::split_tf32;
  const bool wide = split || plan.multiplier == Multiplier::tf32;
  const int64_t point = split ? 142 : wide ? 52 : 20, line = wide ? 3000 : 1500;
  const int64_t work =
      std::max(int64_t(plan.rows) * plan.columns * point, int64_t(plan.rows + plan.columns) * line);
  return {390'000 + work * together, 500'000};
}

/// Tiles that come as boxes: a step takes the same for all dtypes, as its bytes are the same. Only
/// blocks that share a multiprocessor hide the time that passes before and after the products.
Cost cost_of_boxed(const ContractionPlan& plan, int64_t together) {
  constexpr int64_t step = 60'000, point = 21, line = 1000, round = 1'400'000, round_point = 65;
  const int64_t points = int64_t(plan.rows) * plan.columns;
  const int64_t work = std::max(points * point, int64_t(plan.rows + plan.columns) * line);
  return {step + work * together, round + points * round_point * together};
}

/// Picoseconds that a launch takes on an H200, less what all plans take. Products of many sizes
/// were measured there within a fifth of this: a step takes a fixed time, in which blocks that
/// share a multiprocessor wait together, and one for multiplying or for loading, whichever is
/// longer.
int64_t cost_of(const Extents& e, const ContractionPlan& plan) {
  constexpr int64_t meeting = 1'500'000;
  const int64_t chunk_rows = std::clamp<int64_t>(e.chunk_rows, 1, std::max<int64_t>(1, e.rows));
  const int64_t tiles = e.chunk_rows ? ceil_div(chunk_rows, plan.rows) : 1;
  const int64_t steps = ceil_div(ceil_div(e.depths, plan.depths), plan.splits) * tiles;
  const int64_t blocks = ceil_div(unit_count(e, plan) * plan.splits, multiprocessors);
  const int64_t together = std::min(blocks, residents_of(plan));
  const Cost cost = plan.boxed ? cost_of_boxed(plan, together) : cost_of_copied(plan, together);
  return ceil_div(blocks, residents_of(plan)) *
             (steps * cost.step + cost.round * (plan.boxed ? tiles : 1)) +
         (plan.splits > 1 ? meeting : 0);
}

/// What the operands allow a tensor core to see.
Multiplier multiplier_of(const Kernel& kernel, const Target& target) {
  const Contraction& contraction = *kernel.contraction;
  if (target.strict || contraction.dtype != DType::f32) return Multiplier::fma;
  const DType a = stored_dtype(kernel, true), b = stored_dtype(kernel, false);
  if (a == b && a == DType::bf16) return Multiplier::bf16;
  if (a == b && a == DType::f16) return Multiplier::f16;
  return contraction.precision == MatmulPrecision::highest ? Multiplier::split_tf32
                                                           : Multiplier::tf32;
}

/// Each warpgroup multiplies 64 rows. Blocks of column accumulators take all rows of a chunk.
void add_boxed(std::vector<ContractionPlan>& plans, const Kernel& kernel, Multiplier multiplier) {
  const uint16_t depths = multiplier == Multiplier::tf32 ? 32 : 64;
  auto add = [&](uint16_t rows, uint16_t columns, uint16_t stages, uint16_t residents,
                 uint16_t most_splits = 1) {
    for (uint16_t splits = 1; splits <= most_splits; splits *= 2)
      plans.push_back({multiplier, rows, columns, depths, uint16_t(rows / 64), 1, stages, residents,
                       splits, true});
  };
  if (kernel.rows_per_chunk == none) {
    add(256, 128, 4, 1);
    add(128, 128, 3, 2);
  } else {
    add(128, 128, 6, 1);  // totals need the registers of a second block
  }
  add(64, 64, 4, 3, 4);
}

/// By falling size of tiles, then rising number of parts.
std::vector<ContractionPlan> candidates(const Kernel& kernel, const Target& target) {
  ContractionPlan exact;
  if (size_of(kernel.contraction->dtype) == 8) exact.depths = 8;
  const Multiplier multiplier = multiplier_of(kernel, target);
  if (multiplier == Multiplier::fma) return {exact};
  std::vector<ContractionPlan> plans;
  if (multiplier == Multiplier::split_tf32) plans.push_back(exact);
  // Operands in two parts need twice the registers.
  const bool split = multiplier == Multiplier::split_tf32;
  const ContractionPlan large = split ? ContractionPlan{multiplier, 128, 64, 32, 4, 2, 3}
                                      : ContractionPlan{multiplier, 128, 128, 32, 2, 4, 4};
  const bool copies = is_copied(kernel, large, true) && is_copied(kernel, large, false);
  // The larger a tile, the less it loads for each product; large products are bound by that.
  if (copies && multiplier == Multiplier::tf32)
    plans.push_back({multiplier, 128, 256, 32, 2, 4, 3});
  if (copies) plans.push_back(large);
  if (allows_boxes(kernel, target, multiplier)) add_boxed(plans, kernel, multiplier);
  // The smaller, the more multiprocessors share a small product; so do parts of sums.
  auto add_parts = [&](ContractionPlan plan, uint16_t most_splits) {
    if (target.compute_capability < 90) most_splits = 1;  // clusters of blocks
    for (plan.splits = 1; plan.splits <= most_splits; plan.splits *= 2) plans.push_back(plan);
  };
  // Blocks of column accumulators take all rows of a chunk, so their tiles are narrow.
  if (kernel.rows_per_chunk != none) {
    add_parts({multiplier, 128, 32, 32, 4, 2, 3}, 8);
  } else {
    add_parts({multiplier, 64, 64, 32, 2, 4, 3}, 8);
    add_parts({multiplier, 32, 32, 32, 2, 2, 4}, 4);
  }
  return plans;
}

/// Parts of a sum pay where each block has a multiprocessor of its own (measured on an H200).
bool may_split(const Extents& e, const ContractionPlan& plan) {
  return plan.splits == 1 ||
         (e.depths > least_shared_depth && unit_count(e, plan) * plan.splits <= multiprocessors);
}

bool has_fixed_sizes(const Kernel& kernel) {
  return std::all_of(kernel.sizes.begin(), kernel.sizes.end(),
                     [](const Size& size) { return size.fixed; });
}

/// The plan for the sizes as they are.
uint32_t plan_of_sizes(const Kernel& kernel, const ContractionSchedule& schedule) {
  std::vector<int64_t> sizes;
  for (const Size& size : kernel.sizes) sizes.push_back(size.value);
  return choose_plan(kernel, schedule, sizes.data());
}

/// Fusion makes no such kernels.
void refuse_what_tiles_cannot_do(const Kernel& kernel) {
  bool refused = false;
  for (const Accumulator& accumulator : kernel.accumulators) refused |= !accumulator.column;
  for (const Instruction& instruction : kernel.instructions)
    refused |= instruction.op == Opcode::store_add;
  if (refused)
    throw Error("kernel '" + kernel.name +
                    "': products with row totals or sums in memory are not made on CUDA devices",
                {});
}

}  // namespace

ContractionSchedule schedule_contraction(const Kernel& kernel, const Target& target) {
  refuse_what_tiles_cannot_do(kernel);
  ContractionSchedule schedule{candidates(kernel, target)};
  if (has_fixed_sizes(kernel)) return {{schedule.plans[plan_of_sizes(kernel, schedule)]}};
  if (kernel.variant) return {{schedule.plans.at(kernel.variant - 1)}};
  return schedule;
}

uint32_t contraction_variant(const Kernel& kernel, const Target& target) {
  const ContractionSchedule schedule{candidates(kernel, target)};
  if (has_fixed_sizes(kernel) || schedule.plans.size() == 1) return 0;
  return plan_of_sizes(kernel, schedule) + 1;
}

uint32_t choose_plan(const Kernel& kernel, const ContractionSchedule& schedule,
                     const int64_t* sizes) {
  const std::vector<ContractionPlan>& plans = schedule.plans;
  const Extents e = extents_of(kernel, sizes);
  if (plans.size() == 1) return 0;
  if (plans[0].multiplier == Multiplier::fma && e.depths < least_split_depth) return 0;
  const bool boxes = has_boxes(schedule) && sizes_allow_boxes(kernel, sizes);
  uint32_t best = none;
  for (uint32_t i = plans[0].multiplier == Multiplier::fma; i < plans.size(); ++i)
    if (may_split(e, plans[i]) && (boxes || !plans[i].boxed) &&
        (best == none || cost_of(e, plans[i]) < cost_of(e, plans[best])))
      best = i;
  return best;
}

double planned_seconds(const Kernel& kernel, const Target& target) {
  const ContractionSchedule schedule{candidates(kernel, target)};
  std::vector<int64_t> sizes;
  for (const Size& size : kernel.sizes) sizes.push_back(size.value);
  const ContractionPlan& plan = schedule.plans[choose_plan(kernel, schedule, sizes.data())];
  return 1e-12 * double(cost_of(extents_of(kernel, sizes.data()), plan));
}

Geometry contraction_geometry(const Kernel& kernel, const ContractionPlan& plan,
                              const int64_t* sizes) {
  Geometry geometry;
  geometry.grid_x = uint32_t(unit_count(extents_of(kernel, sizes), plan) * plan.splits);
  geometry.threads = plan.threads();
  geometry.shared_bytes = shared_bytes(kernel, plan);
  return geometry;
}

}  // namespace encore::jit::cuda
