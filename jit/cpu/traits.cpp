#include <encore/jit/cpu/range.h>
#include <encore/jit/cpu/traits.h>

#include <algorithm>
#include <map>

namespace encore::jit {
namespace {

/// The product of the inner extents if all are fixed, otherwise -1.
int64_t fixed_inner_points(const Kernel& kernel) {
  int64_t product = 1;
  for (const Axis& axis : kernel.axes) {
    if (axis.role != Role::inner) continue;
    if (!kernel.sizes[axis.extent].fixed) return -1;
    product *= kernel.sizes[axis.extent].value;
  }
  return product;
}

bool varies_over_inner(const Kernel& kernel, ValueId value) {
  if (value == none) return false;
  for (uint32_t axis = 0; axis < kernel.axes.size(); ++axis)
    if (kernel.axes[axis].role == Role::inner && varying_along(kernel, axis)[value]) return true;
  return false;
}

/// Two inner points may add to the same element.
bool adds_may_collide(const Kernel& kernel) {
  return std::any_of(kernel.instructions.begin(), kernel.instructions.end(),
                     [&](const Instruction& instruction) {
                       return instruction.op == Opcode::store_add &&
                              varies_over_inner(kernel, kernel.accesses[instruction.aux].offset);
                     });
}

/// The points of the whole iteration space if all extents are fixed, otherwise -1.
int64_t fixed_points(const Kernel& kernel) {
  int64_t product = 1;
  for (const Axis& axis : kernel.axes) {
    if (!kernel.sizes[axis.extent].fixed) return -1;
    product *= kernel.sizes[axis.extent].value;
  }
  return product;
}

/// Column totals take the nearest cache for themselves, so that loads wait longer; arithmetic hides
/// what it costs to ask for them early.
bool waits_beside_totals(const Kernel& kernel) {
  constexpr uint32_t least_instructions = 8;
  bool feeds_totals = false, stores = false;
  uint32_t instructions = 0;
  for (const Stage& stage : kernel.stages) {
    if (stage.kind != StageKind::sweep) continue;
    for (uint32_t i = stage.first_accumulator; i < stage.last_accumulator; ++i)
      feeds_totals |= kernel.accumulators[i].column;
    instructions += stage.end - stage.begin;
    for (uint32_t id = stage.begin; id < stage.end; ++id) {
      Opcode op = kernel.instructions[id].op;
      stores |= op == Opcode::store || op == Opcode::store_add;
    }
  }
  return feeds_totals && !stores && instructions >= least_instructions;
}

bool same_size(const Kernel& kernel, SizeId a, SizeId b) {
  if (a == b) return true;
  if (a == none || b == none) return false;
  const Size &first = kernel.sizes[a], &second = kernel.sizes[b];
  return first.fixed && second.fixed && first.value == second.value;
}

bool same_place(const Kernel& kernel, const Access& a, const Access& b) {
  bool same = same_size(kernel, a.base, b.base) && a.strides.size() == b.strides.size();
  for (size_t axis = 0; same && axis < a.strides.size(); ++axis)
    same = same_size(kernel, a.strides[axis], b.strides[axis]);
  return same;
}

/// Longer rows would push what the sweeps read out of the second cache.
constexpr int64_t longest_kept_row_bytes = 128 << 10;

/// The store that gives `argument` its values if sweeps stored and read others there before, all in
/// one place for each point; otherwise `none`.
ValueId last_store_of_kept_row(const Kernel& kernel, uint32_t argument) {
  uint32_t axis = last_axis(kernel, Role::inner);
  if (axis == none || kernel.arguments[argument].use != Use::update) return none;
  auto element = int64_t(size_of(kernel.arguments[argument].dtype));
  if (fixed_inner_points(kernel) * element > longest_kept_row_bytes) return none;
  for (const Accumulator& accumulator : kernel.accumulators)
    if (accumulator.column && kernel.accesses[accumulator.access].argument == argument) return none;
  const Access* place = nullptr;
  ValueId last_store = none;
  int loads = 0;
  bool read_since = false;
  for (const Stage& stage : kernel.stages) {
    for (ValueId id = stage.begin; id < stage.end; ++id) {
      const Instruction& instruction = kernel.instructions[id];
      bool load = instruction.op == Opcode::load;
      if (!load && instruction.op != Opcode::store && instruction.op != Opcode::store_add) continue;
      const Access& access = kernel.accesses[instruction.aux];
      if (access.argument != argument) continue;
      bool plain = stage.kind == StageKind::sweep && access.offset == none &&
                   access.predicate == none && instruction.op != Opcode::store_add &&
                   fixed_or(kernel, stride_along(kernel, access, axis), 0) == 1;
      if (!plain || (place && !same_place(kernel, *place, access)) || (load && !place)) return none;
      place = &access;
      read_since = load;
      loads += load;
      if (!load) last_store = id;
    }
  }
  return loads && !read_since ? last_store : none;
}

int64_t streamed_bytes(const Kernel& kernel) {
  if (kernel.contraction) return 0;
  int64_t bytes = 0;
  for (const Stage& stage : kernel.stages)
    for (uint32_t i = stage.begin; stage.kind == StageKind::sweep && i < stage.end; ++i) {
      const Instruction& instruction = kernel.instructions[i];
      if (!may_stream(kernel, i)) continue;
      bytes += int64_t(size_of(kernel.arguments[kernel.accesses[instruction.aux].argument].dtype));
    }
  int64_t points = fixed_points(kernel);
  return points >= 0 && points * bytes < least_streamed_bytes ? 0 : bytes;
}

}  // namespace

uint32_t last_axis(const Kernel& kernel, Role role) {
  for (size_t axis = kernel.axes.size(); axis-- > 0;)
    if (kernel.axes[axis].role == role) return uint32_t(axis);
  return none;
}

uint32_t line_axis(const Kernel& kernel) {
  uint32_t row = last_axis(kernel, Role::row);
  return row != none ? row : last_axis(kernel, Role::outer);
}

int64_t fixed_or(const Kernel& kernel, SizeId size, int64_t otherwise) {
  return size != none && kernel.sizes[size].fixed ? kernel.sizes[size].value : otherwise;
}

SizeId stride_along(const Kernel& kernel, const Access& access, uint32_t axis) {
  SizeId stride = axis < access.strides.size() ? access.strides[axis] : none;
  return fixed_or(kernel, stride, 1) == 0 ? none : stride;
}

std::vector<bool> varying_along(const Kernel& kernel, uint32_t axis) {
  std::vector<bool> varying(kernel.instructions.size(), false);
  auto varies = [&](ValueId value) { return value != none && varying[value]; };
  for (size_t i = 0; i < varying.size(); ++i) {
    const Instruction& instruction = kernel.instructions[i];
    bool result =
        std::any_of(std::begin(instruction.operands), std::end(instruction.operands), varies);
    if (instruction.op == Opcode::index) result = instruction.aux == axis;
    if (instruction.op == Opcode::product) result = true;
    if (instruction.op == Opcode::store || instruction.op == Opcode::store_add) result = true;
    if (instruction.op == Opcode::load) {
      const Access& access = kernel.accesses[instruction.aux];
      result = stride_along(kernel, access, axis) != none || varies(access.offset) ||
               varies(access.predicate);
    }
    varying[i] = result;
  }
  return varying;
}

int64_t sweep_count(const Kernel& kernel) {
  return std::count_if(kernel.stages.begin(), kernel.stages.end(),
                       [](const Stage& stage) { return stage.kind == StageKind::sweep; });
}

Ahead ahead_of(const Kernel& kernel) {
  auto sweeps = std::count_if(kernel.stages.begin(), kernel.stages.end(),
                              [](const Stage& stage) { return stage.kind == StageKind::sweep; });
  if (sweeps > 1) return Ahead::next_row;
  return waits_beside_totals(kernel) ? Ahead::soon : Ahead::nothing;
}

std::set<ValueId> loads_that_prefetch(const Kernel& kernel) {
  std::map<uint32_t, ValueId> last;  // by argument
  uint32_t line = line_axis(kernel), inner = last_axis(kernel, Role::inner);
  if (ahead_of(kernel) == Ahead::nothing || line == none || inner == none) return {};
  for (const Stage& stage : kernel.stages) {
    for (ValueId id = stage.begin; stage.kind == StageKind::sweep && id < stage.end; ++id) {
      if (kernel.instructions[id].op != Opcode::load) continue;
      const Access& access = kernel.accesses[kernel.instructions[id].aux];
      bool contiguous = fixed_or(kernel, stride_along(kernel, access, inner), 0) == 1;
      if (last_store_of_kept_row(kernel, access.argument) != none) continue;
      if (contiguous && access.offset == none && stride_along(kernel, access, line) != none)
        last[access.argument] = id;
    }
  }
  std::set<ValueId> loads;
  for (auto [argument, id] : last) loads.insert(id);
  return loads;
}

std::vector<KeptRow> kept_rows_of(const Kernel& kernel) {
  std::vector<KeptRow> kept;
  if (kernel.contraction) return kept;
  for (uint32_t argument = 0; argument < kernel.arguments.size(); ++argument)
    if (ValueId last = last_store_of_kept_row(kernel, argument); last != none)
      kept.push_back({argument, last});
  return kept;
}

bool may_stream(const Kernel& kernel, ValueId id) {
  const Instruction& instruction = kernel.instructions[id];
  uint32_t axis = last_axis(kernel, Role::inner);
  if (instruction.op != Opcode::store || axis == none) return false;
  const Access& access = kernel.accesses[instruction.aux];
  if (access.predicate != none || access.offset != none) return false;
  if (fixed_or(kernel, stride_along(kernel, access, axis), 0) != 1) return false;
  return kernel.arguments[access.argument].use == Use::write ||
         last_store_of_kept_row(kernel, access.argument) == id;
}

bool operand_runs_along_depth(const Kernel& kernel, bool a) {
  const Contraction& contraction = *kernel.contraction;
  uint32_t begin = a ? contraction.a_begin : contraction.b_begin;
  uint32_t end = a ? contraction.a_end : contraction.b_end;
  auto contiguous_loads = [&](Role role) {
    uint32_t axis = last_axis(kernel, role);
    return std::count_if(kernel.instructions.begin() + begin, kernel.instructions.begin() + end,
                         [&](const Instruction& instruction) {
                           if (axis == none || instruction.op != Opcode::load) return false;
                           const Access& access = kernel.accesses[instruction.aux];
                           return fixed_or(kernel, stride_along(kernel, access, axis), 0) == 1;
                         });
  };
  return contiguous_loads(Role::contracted) >= contiguous_loads(a ? Role::row : Role::inner);
}

Traits traits_of(const Kernel& kernel) {
  Traits traits;
  for (const Accumulator& accumulator : kernel.accumulators)
    (accumulator.column ? traits.column_accumulators : traits.row_accumulators) = true;
  for (const Instruction& instruction : kernel.instructions)
    if (instruction.op == Opcode::store_add) traits.serial_rows = true;
  int64_t points = fixed_inner_points(kernel);
  traits.splits_inner = !traits.row_accumulators && !adds_may_collide(kernel) &&
                        (points < 0 || points >= 4 * inner_granule);
  traits.streamed_bytes = streamed_bytes(kernel);
  traits.kept_rows = kept_rows_of(kernel);
  return traits;
}

}  // namespace encore::jit
