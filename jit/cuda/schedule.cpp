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

/// The same place at every point, as far as the text of the kernel for all sizes tells.
bool same_map(const Kernel& kernel, const Access& a, const Access& b) {
  auto always = [&](SizeId size) {
    return size == none || fixed_to(kernel, size, 0) || fixed_to(kernel, size, 1);
  };
  auto same = [&](SizeId x, SizeId y) {
    return x == y || !always(x) || !always(y) || kernel.size(x) == kernel.size(y);
  };
  if (!same(a.base, b.base)) return false;
  for (size_t axis = 0; axis < a.strides.size(); ++axis)
    if (!same(a.strides[axis], b.strides[axis])) return false;
  return true;
}

/// With `n` elements at once; what is not known is checked at launch.
bool is_aligned(const KnownSizes& sizes, uint32_t number, uint32_t vector_axis, int64_t n) {
  const Access& access = sizes.kernel.accesses[number];
  auto divides = [&](SizeId size) { return !sizes.has(size) || sizes[size] % n == 0; };
  if (!divides(access.base) || !divides(access.chunk_stride)) return false;
  for (uint32_t axis = 0; axis < access.strides.size(); ++axis)
    if (axis != vector_axis && !divides(access.strides[axis])) return false;
  return true;
}

/// As many elements at once as divide the extent, if any access can take them.
uint32_t fitting_vector(const RowTraits& traits, const KnownSizes& sizes, uint32_t vector_axis) {
  uint32_t n = traits.widest;
  if (n < 2) return 1;
  const SizeId extent = sizes.kernel.axes[vector_axis].extent;
  while (n > 1 && sizes.has(extent) && sizes[extent] % n != 0) n /= 2;
  const bool any =
      std::any_of(traits.neighbours.begin(), traits.neighbours.end(),
                  [&](uint32_t access) { return is_aligned(sizes, access, vector_axis, n); });
  return any ? n : 1;
}

/// Vectors of a row that each thread of a team keeps in registers; 0: too many.
uint32_t resident_slots(int64_t vectors, uint32_t vector, uint32_t team, uint32_t kept,
                        size_t instructions) {
  const int64_t slots = (vectors + team - 1) / team, elements = slots * vector;
  const bool fits =
      elements <= 32 && elements * kept <= 96 && elements * int64_t(instructions) <= 6144;
  return fits ? uint32_t(slots) : 0;
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

  void find_vectors() {
    schedule_.vector_axis = last_axis_of(kernel_, Role::inner);
    schedule_.vector_access.assign(kernel_.accesses.size(), false);
    if (schedule_.vector_axis == none || schedule_.lanes || schedule_.one_thread) return;
    RowTraits& traits = schedule_.row;
    size_t smallest = 16, largest = 0;
    for (uint32_t i = 0; i < kernel_.accesses.size(); ++i) {
      if (!is_contiguous(kernel_.accesses[i])) continue;
      traits.neighbours.push_back(i);
      smallest = std::min(smallest, size_of(stored_dtype(kernel_.accesses[i])));
      largest = std::max(largest, size_of(stored_dtype(kernel_.accesses[i])));
    }
    if (!largest) return;
    uint32_t n = uint32_t(std::min<size_t>(8, 16 / smallest));
    while (n * largest > 32) n /= 2;
    while (n > 1 && n * kernel_.instructions.size() > 2 * max_instructions) n /= 2;
    traits.widest = n;
    const KnownSizes sizes{kernel_};
    n = fitting_vector(traits, sizes, schedule_.vector_axis);
    if (n < 2) return;
    schedule_.vector = n;
    for (uint32_t i : traits.neighbours)
      schedule_.vector_access[i] = is_aligned(sizes, i, schedule_.vector_axis, n);
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

  void plan_rows() {
    if (schedule_.one_thread) {
      schedule_.variants.push_back({.shape = Shape::rows, .team = 1, .unroll = 1});
      return;
    }
    RowTraits& traits = schedule_.row;
    traits.chunked = schedule_.column_totals || schedule_.serial;
    traits.one_team = target_.strict || schedule_.serial;
    traits.kept = kept_registers(schedule_.lanes || traits.chunked);
    traits.may_split = can_split(traits.chunked);
    if (schedule_.lanes)
      plan_lanes();
    else if (inner_ >= 0)
      plan_fixed_rows();
    else
      plan_any_rows();
  }

  void plan_lanes() {
    schedule_.variants.push_back({.shape = Shape::rows,
                                  .team = 32,
                                  .teams = schedule_.row.chunked ? 1u : 4u,
                                  .unroll = unroll(schedule_.vector == 1 ? 8 : 4)});
    if (inner_ <= 0) return;
    int64_t points = inner_;
    if (schedule_.vector_axis != none) {
      const int64_t last = kernel_.size(kernel_.axes[schedule_.vector_axis].extent);
      points = inner_ / last * ((last + 31) / 32) * 32;
    }
    schedule_.variants.back().slots =
        resident_slots(points, 1, 32, schedule_.row.kept, kernel_.instructions.size());
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

  void plan_fixed_rows() {
    const RowPlan plan = plan_row(schedule_.row, KnownSizes{kernel_}, schedule_.vector_axis);
    if (plan.split) return plan_split();
    Variant variant{.shape = Shape::rows,
                    .team = plan.team,
                    .teams = plan.teams,
                    .slots = plan.slots,
                    .unroll = unroll(schedule_.vector == 1 ? 8 : 4)};
    if (schedule_.row.chunked && variant.slots && variant.threads() >= 256)
      variant.blocks = std::max(1u, 768 / variant.threads());
    schedule_.variants.push_back(variant);
  }

  /// Functions for teams of any width, of up to 256 threads and of more.
  void plan_any_rows() {
    schedule_.variants.push_back({.shape = Shape::rows,
                                  .team = 256,
                                  .unroll = unroll(schedule_.vector == 1 ? 8 : 4),
                                  .any_width = true});
    schedule_.variants.push_back(
        {.shape = Shape::rows, .team = 1024, .unroll = unroll(2), .any_width = true});
    if (schedule_.row.may_split) plan_split();
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

int64_t KnownSizes::points(Role role) const {
  int64_t points = 1;
  bool all = true;
  for (const Axis& axis : kernel.axes) {
    if (axis.role != role) continue;
    all &= has(axis.extent);
    if (has(axis.extent)) points *= (*this)[axis.extent];
  }
  return all || points == 0 ? points : -1;
}

int64_t fixed_points(const Kernel& kernel, Role role) { return KnownSizes{kernel}.points(role); }

RowPlan plan_row(const RowTraits& traits, const KnownSizes& sizes, uint32_t vector_axis) {
  RowPlan plan{.vector = fitting_vector(traits, sizes, vector_axis)};
  const size_t instructions = sizes.kernel.instructions.size();
  const int64_t inner = sizes.points(Role::inner), rows = sizes.points(Role::row),
                outer = sizes.points(Role::outer);
  const int64_t vectors = std::max<int64_t>(1, inner / plan.vector);
  auto slots = [&](uint32_t team) {
    if (inner == 0) return 0u;
    return resident_slots(inner / plan.vector, plan.vector, team, traits.kept, instructions);
  };
  // Elements of a row that one thread takes.
  const int64_t elements = traits.kept <= 1 ? 32 : traits.kept <= 3 ? 16 : 8;
  const int64_t wanted = std::max<int64_t>(1, inner / elements);
  uint32_t team = std::max(least_team, uint32_t(std::bit_ceil(uint64_t(wanted))));
  team = std::min<uint32_t>(team, uint32_t(std::bit_ceil(uint64_t(vectors))));
  team = std::clamp(team, 1u, 1024u);
  if (team > 32 && traits.kept <= 1 && inner <= 1024) team = 32;
  plan.slots = slots(team);
  for (uint32_t wider = 2 * team; team < 512 && wider <= 1024 && !plan.slots; wider *= 2)
    if ((plan.slots = slots(wider))) team = wider;
  if (!plan.slots) team = std::min(team, 512u);
  plan.team = team;
  const bool one_team = traits.chunked && (traits.one_team || !plan.slots);
  plan.teams = one_team ? 1 : std::max(1u, 256 / team);
  const SizeId rows_per_chunk = sizes.kernel.rows_per_chunk;
  if (traits.chunked && !one_team && rows_per_chunk != none && sizes.has(rows_per_chunk)) {
    const int64_t most = std::max<int64_t>(1, sizes[rows_per_chunk] / 2);
    while (plan.teams > most && plan.teams * team > 32) plan.teams /= 2;
  }
  while (plan.teams > 15 && team > 32) plan.teams /= 2;
  plan.split = traits.may_split && inner >= least_split_row && outer >= 0 && rows >= 0 &&
               outer * rows <= most_split_rows;
  return plan;
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
