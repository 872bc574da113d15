#include <encore/jit/cuda/schedule.h>

#include <algorithm>
#include <bit>
#include <cstdlib>

namespace encore::jit::cuda {
namespace {

constexpr int64_t narrow_limit = (int64_t(1) << 31) - (int64_t(1) << 22);
constexpr uint32_t registers_in_flight = 32;
constexpr int64_t few_points = 16384;
constexpr int64_t enough_threads = 132 * 1024;
/// More instructions than this side by side hide no more latency, and take long to compile.
constexpr size_t most_unrolled = 512;
/// Neighbouring threads that take vectors of one row: fewer would leave parts of cache lines.
constexpr uint32_t least_team = 8;
constexpr size_t most_parameter_bytes = 4064;
/// Up to so many, columns may lie side by side by 128 threads.
constexpr uint32_t few_column_teams = 4;

bool is_fixed(const Kernel& kernel, SizeId size) {
  return size == none || kernel.sizes[size].fixed;
}

bool fixed_to(const Kernel& kernel, SizeId size, int64_t value) {
  return size != none && kernel.sizes[size].fixed && kernel.sizes[size].value == value;
}

bool is_memory(Opcode op) {
  return op == Opcode::load || op == Opcode::store || op == Opcode::store_add;
}

/// The same place at every point, as far as the text tells.
bool same_map(const Kernel& kernel, const Access& a, const Access& b) {
  auto value = [&](SizeId size) { return size == none ? 0 : kernel.sizes[size].value; };
  auto same = [&](SizeId x, SizeId y) {
    return x == y || (is_fixed(kernel, x) && is_fixed(kernel, y) && value(x) == value(y)) ||
           !is_fixed(kernel, x) || !is_fixed(kernel, y);
  };
  if (!same(a.base, b.base)) return false;
  for (size_t axis = 0; axis < a.strides.size(); ++axis)
    if (!same(a.strides[axis], b.strides[axis])) return false;
  return true;
}

class Scheduler {
 public:
  Scheduler(const Kernel& kernel, const Target& target)
      : kernel_(kernel), target_(target), axes_(varying_axes(kernel)) {
    inner_axes_ = axes_with(kernel, Role::inner);
    inner_ = fixed_points(kernel, Role::inner);
    rows_ = fixed_points(kernel, Role::row);
    outer_ = fixed_points(kernel, Role::outer);
  }

  Schedule run() {
    find_traits();
    find_vectors();
    schedule_.wide = !fits_narrow();
    schedule_.capacity = capacity();
    if (schedule_.row_totals || schedule_.shared_row) {
      plan_rows();
    } else if (schedule_.column_totals || schedule_.serial) {
      plan_columns();
    } else {
      plan_points();
    }
    return std::move(schedule_);
  }

 private:
  bool varies_inside(ValueId value) const { return value != none && (axes_[value] & inner_axes_); }

  void find_traits() {
    for (const Accumulator& accumulator : kernel_.accumulators) {
      (accumulator.column ? schedule_.column_totals : schedule_.row_totals) = true;
      DType dtype = kernel_.instructions[accumulator.value].dtype;
      bool index = accumulator.reduce == Reduce::argmax || accumulator.reduce == Reduce::argmin;
      if (!accumulator.column && is_floating(dtype) && !index && target_.strict)
        schedule_.lanes = true;
    }
    for (const Stage& stage : kernel_.stages)
      for (uint32_t i = stage.begin; i < stage.end; ++i) {
        if (kernel_.instructions[i].op != Opcode::store_add) continue;
        schedule_.serial = true;
        const Access& access = kernel_.accesses[kernel_.instructions[i].aux];
        for (uint32_t axis = 0; stage.kind == StageKind::sweep && axis < kernel_.axes.size();
             ++axis)
          if (kernel_.axes[axis].role == Role::inner && !moves_along(kernel_, access, axis) &&
              !fixed_to(kernel_, kernel_.axes[axis].extent, 1))
            schedule_.one_thread = true;
      }
    schedule_.shared_row = inner_ != 1 && row_may_overwrite();
  }

  /// A row stage stores where its own row, through another argument or the same, was read.
  bool row_may_overwrite() const {
    for (const Stage& stage : kernel_.stages) {
      if (stage.kind != StageKind::row) continue;
      for (uint32_t i = stage.begin; i < stage.end; ++i) {
        if (kernel_.instructions[i].op != Opcode::store) continue;
        const Access& target = kernel_.accesses[kernel_.instructions[i].aux];
        for (uint32_t j = 0; j < i; ++j) {
          if (kernel_.instructions[j].op != Opcode::load || varies_inside(j)) continue;
          const Access& source = kernel_.accesses[kernel_.instructions[j].aux];
          if (size_of(kernel_.arguments[source.argument].dtype) ==
                  size_of(kernel_.arguments[target.argument].dtype) &&
              same_map(kernel_, source, target))
            return true;
        }
      }
    }
    return false;
  }

  // ---- Vectors ---------------------------------------------------------------------------------

  DType stored_dtype(const Access& access) const {
    return kernel_.arguments[access.argument].dtype;
  }

  /// Neighbours along the vector axis are neighbours in memory.
  bool is_contiguous(const Access& access) const {
    uint32_t axis = schedule_.vector_axis;
    uint64_t bit = uint64_t(1) << axis;
    bool whole = access.predicate == none || !(axes_[access.predicate] & bit);
    return whole && access.offset == none && fixed_to(kernel_, access.strides[axis], 1);
  }

  /// With `n` elements at once; what is not fixed is checked at launch.
  bool is_aligned(const Access& access, int64_t n) const {
    auto divides = [&](SizeId size) {
      return is_fixed(kernel_, size) ? kernel_.size(size) % n == 0 : true;
    };
    if (!divides(access.base) || !divides(access.chunk_stride)) return false;
    for (uint32_t axis = 0; axis < kernel_.axes.size(); ++axis)
      if (axis != schedule_.vector_axis && !divides(access.strides[axis])) return false;
    return true;
  }

  void find_vectors() {
    schedule_.vector_axis = last_axis_of(kernel_, Role::inner);
    schedule_.vector_access.assign(kernel_.accesses.size(), false);
    if (schedule_.vector_axis == none || schedule_.lanes || schedule_.one_thread) return;
    size_t smallest = 16, largest = 0;
    for (const Access& access : kernel_.accesses) {
      if (!is_contiguous(access)) continue;
      smallest = std::min(smallest, size_of(stored_dtype(access)));
      largest = std::max(largest, size_of(stored_dtype(access)));
    }
    if (!largest) return;
    uint32_t n = uint32_t(std::min<size_t>(8, 16 / smallest));
    while (n * largest > 32) n /= 2;
    while (n > 1 && n * kernel_.instructions.size() > 2 * max_instructions) n /= 2;
    SizeId extent = kernel_.axes[schedule_.vector_axis].extent;
    while (n > 1 && is_fixed(kernel_, extent) && kernel_.size(extent) % n != 0) n /= 2;
    if (n < 2) return;
    bool any = false;
    for (size_t i = 0; i < kernel_.accesses.size(); ++i) {
      const Access& access = kernel_.accesses[i];
      schedule_.vector_access[i] = is_contiguous(access) && is_aligned(access, n);
      any |= schedule_.vector_access[i];
    }
    if (any) schedule_.vector = n;
    schedule_.needs_single = std::any_of(kernel_.sizes.begin(), kernel_.sizes.end(),
                                         [](const Size& size) { return !size.fixed; });
  }

  bool fits_narrow() const {
    int64_t points = 1;
    for (const Size& size : kernel_.sizes)
      if (!size.fixed) return false;
    for (const Axis& axis : kernel_.axes) {
      points *= std::max<int64_t>(1, kernel_.size(axis.extent));
      if (points > narrow_limit) return false;
    }
    for (const Access& access : kernel_.accesses) {
      int64_t span = std::abs(kernel_.size(access.base));
      for (uint32_t axis = 0; axis < kernel_.axes.size(); ++axis)
        span +=
            std::abs(kernel_.size(access.strides[axis])) * kernel_.size(kernel_.axes[axis].extent);
      span += std::abs(kernel_.size(access.chunk_stride)) * std::max<int64_t>(1, rows_);
      if (span > narrow_limit) return false;
    }
    return true;
  }

  uint32_t capacity() const {
    size_t words = 2 + kernel_.arguments.size() + kernel_.scalars.size();
    for (const Size& size : kernel_.sizes) words += !size.fixed;
    return uint32_t(std::clamp<size_t>((most_parameter_bytes - 24) / (8 * words + 4), 1, 128));
  }

  // ---- Shapes ----------------------------------------------------------------------------------

  /// 4-byte registers that the vectors of one slot take: loads that differ inside a row.
  uint32_t load_registers() const {
    uint32_t registers = 0;
    for (size_t i = 0; i < kernel_.instructions.size(); ++i)
      if (kernel_.instructions[i].op == Opcode::load && varies_inside(ValueId(i)))
        registers += size_of(kernel_.instructions[i].dtype) == 8 ? 2 : 1;
    return std::max(1u, registers) * schedule_.vector;
  }

  uint32_t unroll(uint32_t most) const {
    uint32_t count = std::clamp(registers_in_flight / load_registers(), 1u, most);
    while (count > 1 && count * schedule_.vector * kernel_.instructions.size() > most_unrolled)
      count /= 2;
    return std::bit_floor(count);
  }

  void plan_points() {
    int64_t points = inner_ < 0 || rows_ < 0 || outer_ < 0 ? -1 : inner_ * rows_ * outer_;
    if (points >= 0 && points <= few_points) {
      // A thread for each point: what counts is how long one takes.
      schedule_.vector = 1;
      schedule_.variants.push_back({.shape = Shape::points, .team = 64});
      return;
    }
    schedule_.variants.push_back({.shape = Shape::points, .team = 256, .unroll = unroll(4)});
  }

  void plan_columns() {
    Variant variant{.shape = Shape::columns, .team = 32, .unroll = unroll(8)};
    if (schedule_.one_thread) variant = {.shape = Shape::columns, .team = 1, .unroll = 1};
    bool ordered = target_.strict || schedule_.serial;
    bool known = inner_ >= 0 && rows_ >= 0 && is_fixed(kernel_, kernel_.rows_per_chunk);
    if (!ordered && known) {
      int64_t rows = kernel_.size(kernel_.rows_per_chunk);
      variant.teams = column_teams(rows_, rows, inner_);
      // Few columns: rather more threads than wide loads.
      int64_t columns = (rows_ + rows - 1) / rows * inner_ * std::max<int64_t>(outer_, 1);
      while (schedule_.vector > 1 && columns / schedule_.vector * 16 < enough_threads / 2)
        schedule_.vector /= 2;
    } else if (!ordered) {
      variant.teams = most_column_teams;
      variant.any_teams = true;
    }
    if (!schedule_.one_thread && variant.teams <= few_column_teams &&
        (inner_ < 0 || inner_ >= 128 * int64_t(schedule_.vector))) {
      variant.team = 128;
      // Several warps to a column hide by themselves how long loads take.
      if (variant.teams > 1) variant.unroll = std::max(1u, variant.unroll / 2);
    }
    if (may_own_rows()) {
      variant.owners = 256;
      variant.unroll = 1;
    }
    schedule_.variants.push_back(variant);
  }

  /// Many rows, each of which adds to one place that the row itself knows: whoever owns the place
  /// takes the row. All rows of one place have one owner, which takes them in ascending order.
  bool may_own_rows() const {
    if (!schedule_.serial || schedule_.one_thread || schedule_.column_totals) return false;
    if (rows_ >= 0 && rows_ < 64) return false;
    ValueId offset = none;
    for (const Stage& stage : kernel_.stages)
      for (uint32_t i = stage.begin; i < stage.end; ++i) {
        if (kernel_.instructions[i].op != Opcode::store_add) continue;
        const Access& access = kernel_.accesses[kernel_.instructions[i].aux];
        if (access.offset == none || varies_inside(access.offset)) return false;
        if (offset != none && offset != access.offset) return false;
        offset = access.offset;
        for (uint32_t axis = 0; axis < kernel_.axes.size(); ++axis)
          if (kernel_.axes[axis].role == Role::row && moves_along(kernel_, access, axis))
            return false;
      }
    return true;
  }

  bool has_fixed_row() const { return inner_ >= 0; }

  void plan_rows() {
    if (schedule_.one_thread) {
      schedule_.variants.push_back({.shape = Shape::rows, .team = 1, .unroll = 1});
      return;
    }
    bool chunked = schedule_.column_totals || schedule_.serial;
    if (schedule_.lanes) {
      schedule_.variants.push_back({.shape = Shape::rows,
                                    .team = 32,
                                    .teams = chunked ? 1u : 4u,
                                    .unroll = unroll(schedule_.vector == 1 ? 8 : 4)});
      schedule_.variants.back().slots = resident_slots(32);
      return;
    }
    if (has_fixed_row())
      plan_fixed_rows(chunked);
    else
      plan_any_rows(chunked);
  }

  /// Values that a thread keeps for each element of its row.
  uint32_t kept_registers(bool chunked) const {
    uint32_t registers = 0;
    std::vector<std::pair<uint32_t, std::vector<SizeId>>> seen;
    for (size_t i = 0; i < kernel_.instructions.size(); ++i) {
      const Instruction& instruction = kernel_.instructions[i];
      if (instruction.op != Opcode::load || !varies_inside(ValueId(i))) continue;
      const Access& access = kernel_.accesses[instruction.aux];
      std::pair key(access.argument, access.strides);
      if (std::find(seen.begin(), seen.end(), key) != seen.end()) continue;
      seen.push_back(key);
      registers += size_of(instruction.dtype) == 8 ? 2 : 1;
    }
    for (const Accumulator& accumulator : kernel_.accumulators)
      if (accumulator.column && chunked) registers += size_of(accumulator.dtype) == 8 ? 2 : 1;
    return std::max(1u, registers);
  }

  uint32_t resident_slots(uint32_t team) const {
    if (!has_fixed_row() || inner_ == 0) return 0;
    int64_t vectors = inner_ / schedule_.vector;
    if (schedule_.lanes && schedule_.vector_axis != none) {
      int64_t last = kernel_.size(kernel_.axes[schedule_.vector_axis].extent);
      vectors = inner_ / last * ((last + 31) / 32) * 32;
    }
    int64_t slots = (vectors + team - 1) / team;
    int64_t elements = slots * schedule_.vector;
    bool fits = elements <= 32 && elements * kept_registers(true) <= 96 &&
                elements * int64_t(kernel_.instructions.size()) <= 6144;
    return fits ? uint32_t(slots) : 0;
  }

  void plan_fixed_rows(bool chunked) {
    int64_t vectors = std::max<int64_t>(1, inner_ / schedule_.vector);
    uint32_t kept = kept_registers(chunked);
    // Elements of a row that one thread takes.
    int64_t elements = kept <= 1 ? 32 : kept <= 3 ? 16 : 8;
    int64_t wanted = std::max<int64_t>(1, inner_ / elements);
    uint32_t team = std::max(least_team, uint32_t(std::bit_ceil(uint64_t(wanted))));
    team = std::min<uint32_t>(team, uint32_t(std::bit_ceil(uint64_t(vectors))));
    team = std::clamp(team, 1u, 1024u);
    if (team > 32 && kept <= 1 && inner_ <= 1024) team = 32;
    Variant variant{
        .shape = Shape::rows, .team = team, .unroll = unroll(schedule_.vector == 1 ? 8 : 4)};
    variant.slots = resident_slots(team);
    if (!variant.slots && team < 512) {
      for (uint32_t wider = 2 * team; wider <= 1024 && !variant.slots; wider *= 2)
        if ((variant.slots = resident_slots(wider))) variant.team = wider;
    }
    if (!variant.slots) variant.team = std::min(team, 512u);
    bool one_team = chunked && (target_.strict || schedule_.serial || !variant.slots);
    variant.teams = one_team ? 1 : std::max(1u, 256 / variant.team);
    if (chunked && !one_team && is_fixed(kernel_, kernel_.rows_per_chunk)) {
      int64_t most = std::max<int64_t>(1, kernel_.size(kernel_.rows_per_chunk) / 2);
      while (variant.teams > most && variant.threads() > 32) variant.teams /= 2;
    }
    while (variant.teams > 15 && variant.team > 32) variant.teams /= 2;
    if (chunked && variant.slots && variant.threads() >= 256)
      variant.blocks = std::max(1u, 768 / variant.threads());
    if (can_split(chunked) && inner_ >= least_split_row && outer_ >= 0 && rows_ >= 0 &&
        outer_ * rows_ <= most_split_rows)
      return plan_split();
    schedule_.variants.push_back(variant);
  }

  void plan_any_rows(bool chunked) {
    uint32_t flight = unroll(schedule_.vector == 1 ? 8 : 4);
    schedule_.variants.push_back(
        {.shape = Shape::rows, .team = 32, .teams = chunked ? 1u : 8u, .unroll = flight});
    schedule_.variants.push_back({.shape = Shape::rows, .team = 512, .unroll = flight});
    if (can_split(chunked)) plan_split();
  }

  bool can_split(bool chunked) const {
    if (chunked || schedule_.shared_row || sweeps() + 1 > 8) return false;
    bool totals = false;
    for (const Stage& stage : kernel_.stages)
      totals |= stage.kind == StageKind::sweep && stage.first_accumulator < stage.last_accumulator;
    for (const Instruction& instruction : kernel_.instructions) {
      if (!is_memory(instruction.op)) continue;
      // What a sweep stores, a later one may load, but only at the same point: not from elsewhere.
      const Access& access = kernel_.accesses[instruction.aux];
      if (kernel_.arguments[access.argument].use == Use::update &&
          (access.offset != none || access.predicate != none))
        return false;
    }
    return totals;
  }

  uint32_t sweeps() const {
    return uint32_t(std::count_if(kernel_.stages.begin(), kernel_.stages.end(),
                                  [](const Stage& s) { return s.kind == StageKind::sweep; }));
  }

  /// One function for each sweep, and one for what comes after the last.
  void plan_split() {
    uint32_t count = sweeps();
    bool after = kernel_.stages.back().kind == StageKind::row;
    for (uint32_t step = 0; step < count + after; ++step)
      schedule_.variants.push_back({.shape = Shape::split,
                                    .team = 512,
                                    .unroll = unroll(schedule_.vector == 1 ? 8 : 4),
                                    .step = step});
  }

  const Kernel& kernel_;
  Target target_;
  std::vector<uint64_t> axes_;
  uint64_t inner_axes_ = 0;
  int64_t inner_, rows_, outer_;
  Schedule schedule_;
};

}  // namespace

uint64_t axes_with(const Kernel& kernel, Role role) {
  uint64_t mask = 0;
  for (size_t axis = 0; axis < kernel.axes.size(); ++axis)
    if (kernel.axes[axis].role == role) mask |= uint64_t(1) << axis;
  return mask;
}

uint32_t last_axis_of(const Kernel& kernel, Role role) {
  for (size_t axis = kernel.axes.size(); axis-- > 0;)
    if (kernel.axes[axis].role == role) return uint32_t(axis);
  return none;
}

bool moves_along(const Kernel& kernel, const Access& access, uint32_t axis) {
  return access.strides[axis] != none && !fixed_to(kernel, access.strides[axis], 0);
}

int64_t fixed_points(const Kernel& kernel, Role role) {
  int64_t points = 1;
  bool free = false;
  for (const Axis& axis : kernel.axes) {
    if (axis.role != role) continue;
    free |= !kernel.sizes[axis.extent].fixed;
    if (kernel.sizes[axis.extent].fixed) points *= kernel.sizes[axis.extent].value;
  }
  return free && points != 0 ? -1 : points;
}

std::vector<uint64_t> varying_axes(const Kernel& kernel) {
  std::vector<uint64_t> axes(kernel.instructions.size());
  auto of = [&](ValueId value) { return value == none ? 0 : axes[value]; };
  for (size_t i = 0; i < axes.size(); ++i) {
    const Instruction& instruction = kernel.instructions[i];
    uint64_t mask = 0;
    for (ValueId operand : instruction.operands) mask |= of(operand);
    if (instruction.op == Opcode::index) mask |= uint64_t(1) << instruction.aux;
    if (instruction.op == Opcode::reduced)
      mask |= varies_by_total | axes_with(kernel, Role::outer) | axes_with(kernel, Role::row);
    if (is_memory(instruction.op)) {
      const Access& access = kernel.accesses[instruction.aux];
      mask |= of(access.offset) | of(access.predicate);
      for (uint32_t axis = 0; axis < kernel.axes.size(); ++axis)
        if (moves_along(kernel, access, axis)) mask |= uint64_t(1) << axis;
    }
    axes[i] = mask;
  }
  return axes;
}

uint32_t column_teams(int64_t rows, int64_t rows_per_chunk, int64_t inner) {
  int64_t chunks = std::max<int64_t>(1, (rows + rows_per_chunk - 1) / rows_per_chunk);
  int64_t wanted = std::min<int64_t>(most_column_teams, rows_per_chunk / 4);
  // What adds up the chunks of several reductions side by side sees them as one.
  if (chunks > 1)
    wanted = std::min(wanted, 16 * enough_threads / std::max<int64_t>(1, chunks * inner));
  return uint32_t(std::bit_floor(uint64_t(std::max<int64_t>(1, wanted))));
}

Schedule make_schedule(const Kernel& kernel, const Target& target) {
  return Scheduler(kernel, target).run();
}

}  // namespace encore::jit::cuda
