#include <encore/core/error.h>
#include <encore/jit/cuda/contraction.h>
#include <encore/jit/cuda/contraction_wgmma.h>
#include <encore/jit/cuda/geometry.h>
#include <encore/jit/cuda/schedule.h>
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>

namespace encore::jit::cuda {
namespace {

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

struct Extents {
  int64_t outer, rows, inner, chunks;
  int64_t lines() const { return outer * rows; }
};

Extents extents_of(const Kernel& kernel, const Segment& segment) {
  return {extent_product(kernel, Role::outer, segment.sizes),
          extent_product(kernel, Role::row, segment.sizes),
          extent_product(kernel, Role::inner, segment.sizes), chunk_count(kernel, segment.sizes)};
}

/// How one segment uses its blocks.
struct Share {
  int64_t blocks = 0;
  int64_t tiles = 1;
  int64_t teams = 0;  // of a block, where a launch says how many
  int64_t scratch = 0;
};

/// Are the places of all vectors multiples of their width?
bool allows_vectors(const Kernel& kernel, const Schedule& schedule, const Segment& segment) {
  int64_t n = schedule.vector;
  auto divides = [&](SizeId id) { return id == none || segment.sizes[id] % n == 0; };
  if (!divides(kernel.axes[schedule.vector_axis].extent)) return false;
  for (size_t i = 0; i < kernel.accesses.size(); ++i) {
    if (!schedule.vector_access[i]) continue;
    const Access& access = kernel.accesses[i];
    size_t bytes =
        std::min<size_t>(16, size_t(n) * size_of(kernel.arguments[access.argument].dtype));
    if (reinterpret_cast<uintptr_t>(segment.arguments[access.argument]) % bytes) return false;
    if (!divides(access.base) || !divides(access.chunk_stride)) return false;
    for (uint32_t axis = 0; axis < access.strides.size(); ++axis)
      if (axis != schedule.vector_axis && !divides(access.strides[axis])) return false;
  }
  return true;
}

uint32_t total_words(const Kernel& kernel) {
  uint32_t words = 0;
  for (const Accumulator& accumulator : kernel.accumulators)
    words += accumulator.reduce == Reduce::argmax || accumulator.reduce == Reduce::argmin ? 2 : 1;
  return words;
}

/// Teams that find room in a block, each on a row of its own. Wide ones need named barriers.
int64_t teams_of(const RowPlan& plan, uint32_t threads) {
  const int64_t teams = std::max(1u, threads / plan.team);
  return plan.team > 32 ? std::min<int64_t>(teams, 15) : teams;
}

/// `vector`: the elements that a thread takes at once; `threads`: those of a block.
Share share_of(const Kernel& kernel, const Schedule& schedule, const Variant& variant,
               const Extents& extents, uint32_t vector, const RowPlan& plan, uint32_t threads) {
  Share share;
  bool chunked = schedule.column_totals || schedule.serial;
  int64_t units = schedule.serial ? extents.outer : extents.outer * extents.chunks;
  // Column totals are written for no rows, too; nothing else happens there.
  if (!schedule.column_totals && extents.rows == 0) units = 0;
  switch (variant.shape) {
    case Shape::points: {
      int64_t points = extents.lines() * std::max<int64_t>(extents.inner, 1);
      share.blocks = divide_up(points / vector, int64_t(variant.team) * variant.unroll);
      break;
    }
    case Shape::columns:
      share.tiles = std::max<int64_t>(1, divide_up(extents.inner, int64_t(variant.team) * vector));
      share.blocks = units * variant.owners * share.tiles;
      break;
    case Shape::rows: {
      int64_t teams = variant.teams;
      if (variant.any_width) teams = share.teams = chunked ? plan.teams : teams_of(plan, threads);
      share.blocks = chunked ? units : divide_up(extents.lines(), teams);
      if (schedule.column_totals && !variant.slots)
        share.scratch = units * teams * extents.inner * 8 * int64_t(kernel.accumulators.size());
      break;
    }
    case Shape::split:
      share.tiles = divide_up(extents.inner, int64_t(variant.team) * plan.vector * 4);
      // About four blocks for each of 132 multiprocessors.
      share.tiles = std::clamp<int64_t>(
          share.tiles, 1,
          std::min<int64_t>(most_parts, 528 / std::max<int64_t>(1, extents.lines()) + 1));
      share.blocks = extents.lines() * share.tiles;
      share.scratch = share.blocks * 8 * total_words(kernel);
      break;
  }
  return share;
}

/// What a launch runs: one function, or all steps of a split.
struct Choice {
  uint32_t first = 0, last = 1;
  uint32_t threads = 0;
};

Choice choose(const Schedule& schedule, std::span<const RowPlan> plans) {
  const std::vector<Variant>& variants = schedule.variants;
  const uint32_t count = uint32_t(variants.size());
  if (!variants[0].any_width)
    return {0, variants[0].shape == Shape::split ? count : 1, variants[0].threads()};
  uint32_t threads = schedule.row.chunked ? 1 : 256;
  bool split = count > 2;
  for (const RowPlan& plan : plans) {
    split &= plan.split;
    threads = std::max(threads, schedule.row.chunked ? plan.team * plan.teams : plan.team);
  }
  if (split) return {2, count, variants[2].threads()};
  return threads <= 256 ? Choice{0, 1, threads} : Choice{1, 2, threads};
}

/// Bit 0: whole vectors; 1-4: threads of a team, as a power of two; 5-6: elements of a vector,
/// likewise; 8-23: teams; 32-63: tiles.
uint64_t control_word(bool vectors, const RowPlan& plan, const Share& share) {
  return uint64_t(vectors) | uint64_t(std::countr_zero(plan.team)) << 1 |
         uint64_t(std::countr_zero(plan.vector)) << 5 | uint64_t(share.teams) << 8 |
         uint64_t(share.tiles) << 32;
}

}  // namespace

LaunchLayout::LaunchLayout(const Kernel& kernel, const Target& target)
    : kernel_(std::make_shared<const Kernel>(kernel)) {
  if (kernel.contraction) {
    contraction_ =
        std::make_shared<const ContractionSchedule>(schedule_contraction(kernel, target));
  } else {
    schedule_ = std::make_shared<const Schedule>(make_schedule(kernel, target));
    capacity_ = schedule_->capacity;
  }
  words_ = 2 + uint32_t(kernel.arguments.size() + kernel.scalars.size());
  for (const Size& size : kernel.sizes) words_ += !size.fixed;
  scratch_at_ = (4 * (capacity_ + 2) + 7) / 8 * 8;
  segments_at_ = scratch_at_ + 8;
  parameter_bytes_ = segments_at_ + 8 * size_t(words_) * capacity_;
  if (!contraction_ || !has_boxes(*contraction_)) return;
  maps_at_ =
      (parameter_bytes_ + TensorMap::alignment - 1) / TensorMap::alignment * TensorMap::alignment;
  parameter_bytes_ = maps_at_ + 2 * TensorMap::bytes;
}

uint32_t LaunchLayout::functions() const {
  return uint32_t(contraction_ ? contraction_->plans.size() : schedule_->variants.size());
}

Steps LaunchLayout::pack_contraction(const Segment& segment, std::byte* block) const {
  const uint32_t function = choose_plan(*kernel_, *contraction_, segment.sizes);
  Geometry geometry = contraction_geometry(*kernel_, contraction_->plans[function], segment.sizes);
  geometry.function = function;
  std::memset(block, 0, segments_at_);
  const uint32_t header[] = {1, 0, geometry.grid_x};
  std::memcpy(block, header, sizeof header);
  put_segment(segment, 0, 0, block + segments_at_);
  Steps steps;
  if (geometry.grid_x > 0) steps.launches[steps.count++] = geometry;
  if (maps_at_) std::memset(block + maps_at_, 0, 2 * TensorMap::bytes);
  steps.needs_maps = geometry.grid_x > 0 && contraction_->plans[function].boxed;
  return steps;
}

/// The words of a segment: two that the layout decided, then what it was launched with.
void LaunchLayout::put_segment(const Segment& segment, uint64_t control, uint64_t scratch,
                               std::byte* at) const {
  auto put = [&](uint64_t word) {
    std::memcpy(at, &word, sizeof word);
    at += sizeof word;
  };
  put(control);
  put(scratch);
  for (size_t a = 0; a < kernel_->arguments.size(); ++a)
    put(reinterpret_cast<uintptr_t>(segment.arguments[a]));
  for (size_t s = 0; s < kernel_->sizes.size(); ++s)
    if (!kernel_->sizes[s].fixed) put(uint64_t(segment.sizes[s]));
  for (size_t s = 0; s < kernel_->scalars.size(); ++s) put(segment.scalars[s]);
}

Steps LaunchLayout::pack(std::span<const Segment> segments, std::byte* block) const {
  ENCORE_ASSERT(segments.size() <= capacity_);
  if (contraction_) return pack_contraction(segments[0], block);
  const Kernel& kernel = *kernel_;
  std::array<RowPlan, 128> plans;
  const bool has_plans =
      schedule_->variants[0].any_width || schedule_->variants[0].shape == Shape::split;
  for (size_t i = 0; has_plans && i < segments.size(); ++i)
    plans[i] = plan_row(schedule_->row, {kernel, segments[i].sizes}, schedule_->vector_axis);
  const Choice choice = choose(*schedule_, {plans.data(), segments.size()});
  const Variant& variant = schedule_->variants[choice.first];
  std::memset(block, 0, segments_at_);
  auto put32 = [&](size_t at, uint32_t value) { std::memcpy(block + at, &value, sizeof value); };
  put32(0, uint32_t(segments.size()));
  int64_t blocks = 0, scratch = 0;
  for (size_t i = 0; i < segments.size(); ++i) {
    const Segment& segment = segments[i];
    bool vectors = schedule_->vector > 1 && allows_vectors(kernel, *schedule_, segment);
    if (schedule_->vector > 1 && !vectors && !schedule_->needs_single)
      throw Error(
          fmt::format("kernel '{}' was given memory that is not aligned to 16 bytes", kernel.name),
          {});
    const Extents extents = extents_of(kernel, segment);
    Share share = share_of(kernel, *schedule_, variant, extents, vectors ? schedule_->vector : 1,
                           plans[i], choice.threads);
    put32(4 + 4 * i, uint32_t(blocks));
    if (variant.any_teams)
      share.teams = column_teams(extents.rows, segment.sizes[kernel.rows_per_chunk], extents.inner);
    put_segment(segment, control_word(vectors, plans[i], share), uint64_t(scratch),
                block + segments_at_ + 8 * size_t(words_) * i);
    blocks += share.blocks, scratch += share.scratch;
  }
  for (size_t i = segments.size(); i <= capacity_; ++i) put32(4 + 4 * i, uint32_t(blocks));
  if (blocks >= int64_t(1) << 31)
    throw Error(
        fmt::format("kernel '{}' needs {} blocks; 2^31 - 1 are possible", kernel.name, blocks), {});
  Steps steps;
  if (blocks == 0) return steps;
  for (uint32_t function = choice.first; function < choice.last; ++function)
    steps.launches[steps.count++] = {function, uint32_t(blocks), choice.threads, 0};
  steps.scratch_bytes = size_t(scratch);
  return steps;
}

std::array<TensorMap, 2> LaunchLayout::tensor_maps(const Segment& segment,
                                                   const Geometry& step) const {
  return cuda::tensor_maps(*kernel_, contraction_->plans[step.function], segment);
}

void LaunchLayout::set_scratch(std::byte* block, void* scratch) const {
  uint64_t address = reinterpret_cast<uintptr_t>(scratch);
  std::memcpy(block + scratch_at_, &address, sizeof address);
}

}  // namespace encore::jit::cuda
