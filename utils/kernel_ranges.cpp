#include <encore/utils/kernel_ranges.h>

#include <algorithm>
#include <limits>

namespace encore {
namespace {

using jit::Instruction;
using jit::Kernel;
using jit::none;
using jit::ValueId;

constexpr int64_t lowest = std::numeric_limits<int64_t>::min();
constexpr int64_t highest = std::numeric_limits<int64_t>::max();
constexpr Interval everything{lowest, highest};

Interval all_of(DType dtype) {
  if (dtype == DType::boolean) return {0, 1};
  if (!is_integer(dtype) || size_of(dtype) == 8)
    return dtype == DType::u64 ? Interval{0, highest} : everything;
  const int bits = 8 * int(size_of(dtype));
  if (!is_signed(dtype)) return {0, (int64_t(1) << bits) - 1};
  return {-(int64_t(1) << (bits - 1)), (int64_t(1) << (bits - 1)) - 1};
}

int64_t clamped(__int128 value) { return int64_t(std::clamp<__int128>(value, lowest, highest)); }

Interval common(Interval a, Interval b) {
  return {std::max(a.low, b.low), std::min(a.high, b.high)};
}
Interval both(Interval a, Interval b) {
  if (a.empty() || b.empty()) return a.empty() ? b : a;
  return {std::min(a.low, b.low), std::max(a.high, b.high)};
}
Interval add(Interval a, Interval b) {
  return {clamped(__int128(a.low) + b.low), clamped(__int128(a.high) + b.high)};
}
Interval negative(Interval a) { return {clamped(-__int128(a.high)), clamped(-__int128(a.low))}; }
Interval multiply(Interval a, Interval b) {
  const __int128 corners[] = {__int128(a.low) * b.low, __int128(a.low) * b.high,
                              __int128(a.high) * b.low, __int128(a.high) * b.high};
  const auto [low, high] = std::minmax_element(std::begin(corners), std::end(corners));
  return {clamped(*low), clamped(*high)};
}
Interval divide(Interval a, Interval b) {
  if (b.low < 1) return everything;
  const int64_t corners[] = {a.low / b.low, a.low / b.high, a.high / b.low, a.high / b.high};
  const auto [low, high] = std::minmax_element(std::begin(corners), std::end(corners));
  return {*low, *high};
}
Interval remainder(Interval a, Interval b) {
  if (b.low < 1) return everything;
  const int64_t most = b.high - 1;
  return {a.low >= 0 ? 0 : std::max(a.low, -most), a.high <= 0 ? 0 : std::min(a.high, most)};
}
Interval magnitude(Interval a) {
  if (a.low >= 0) return a;
  const Interval flipped = negative(a);
  return {a.high > 0 ? 0 : flipped.low, std::max(a.high, flipped.high)};
}
Interval bit_and(Interval a, Interval b) {
  if (a.low < 0 && b.low < 0) return everything;
  return {0, a.low < 0 ? b.high : b.low < 0 ? a.high : std::min(a.high, b.high)};
}
Interval shift_right(Interval a, Interval b) {
  if (b.low != b.high || b.low < 0 || b.low > 62) return everything;
  return {a.low >> b.low, a.high >> b.low};
}
Interval truth(bool always, bool never) { return {always, !never}; }

bool is_store(Opcode op) { return op == Opcode::store || op == Opcode::store_add; }
bool may_wrap(Opcode op) {
  return op == Opcode::add || op == Opcode::sub || op == Opcode::mul || op == Opcode::neg ||
         op == Opcode::abs;
}

Interval literal(const Instruction& constant) {
  if (constant.dtype == DType::u64 && constant.bits >> 63) return {highest, highest};
  const int unused = 64 - 8 * int(size_of(constant.dtype));
  const int64_t value = is_signed(constant.dtype) ? int64_t(constant.bits << unused) >> unused
                                                  : int64_t(constant.bits);
  return {value, value};
}

}  // namespace

KernelRanges::KernelRanges(const Kernel& kernel)
    : kernel_(kernel), bounds_(kernel.arguments.size()), written_(kernel.arguments.size()) {
  for (const Instruction& instruction : kernel.instructions)
    if (is_store(instruction.op)) written_[kernel.accesses[instruction.aux].argument] = true;
  for (size_t i = 0; i < bounds_.size(); ++i) {
    const DType dtype = kernel.arguments[i].dtype;
    bounds_[i] = dtype == DType::boolean ? 2 : std::min<int64_t>(all_of(dtype).high, 100);
  }
  values_ = forward(nullptr);
  find_bounds();
  values_ = forward(nullptr);
}

Interval KernelRanges::axis_positions(uint32_t axis) const {
  return {0, kernel_.size(kernel_.axes[axis].extent) - 1};
}

Interval KernelRanges::loaded(const Instruction& load) const {
  const uint32_t argument = kernel_.accesses[load.aux].argument;
  if (written_[argument] || is_floating(load.dtype)) return all_of(load.dtype);
  return {0, bounds_[argument] - 1};
}

Interval KernelRanges::value(const Intervals& known, const Instruction& instruction) const {
  auto operand = [&](int i) { return known[instruction.operands[i]]; };
  const Interval all = all_of(instruction.dtype);
  const bool floating = is_floating(instruction.dtype);
  switch (instruction.op) {
    case Opcode::constant:
      return floating ? all : literal(instruction);
    case Opcode::scalar:
      return floating ? all : Interval{1, 1};
    case Opcode::size:
      return {kernel_.size(instruction.aux), kernel_.size(instruction.aux)};
    case Opcode::index:
      return {0, std::max<int64_t>(axis_positions(instruction.aux).high, 0)};
    case Opcode::load:
      return loaded(instruction);
    case Opcode::reduced: {
      const jit::Accumulator& accumulator = kernel_.accumulators[instruction.aux];
      if (accumulator.reduce == jit::Reduce::max || accumulator.reduce == jit::Reduce::min)
        return both(all, known[accumulator.value]);
      if (accumulator.reduce != jit::Reduce::argmax && accumulator.reduce != jit::Reduce::argmin)
        return all;
      __int128 points = 1;
      for (uint32_t axis = 0; axis < kernel_.axes.size(); ++axis)
        if (kernel_.axes[axis].role == jit::Role::inner) points *= axis_positions(axis).high + 1;
      return {0, clamped(std::max<__int128>(points, 1) - 1)};
    }
    case Opcode::add:
      return instruction.dtype == DType::boolean ? both(operand(0), operand(1))
                                                 : add(operand(0), operand(1));
    case Opcode::sub:
      return add(operand(0), negative(operand(1)));
    case Opcode::mul:
      return multiply(operand(0), operand(1));
    case Opcode::div:
      return divide(operand(0), operand(1));
    case Opcode::rem:
      return remainder(operand(0), operand(1));
    case Opcode::neg:
      return negative(operand(0));
    case Opcode::abs:
      return magnitude(operand(0));
    case Opcode::min:
      return {std::min(operand(0).low, operand(1).low), std::min(operand(0).high, operand(1).high)};
    case Opcode::max:
      return {std::max(operand(0).low, operand(1).low), std::max(operand(0).high, operand(1).high)};
    case Opcode::lt:
      return truth(operand(0).high < operand(1).low, operand(0).low >= operand(1).high);
    case Opcode::le:
      return truth(operand(0).high <= operand(1).low, operand(0).low > operand(1).high);
    case Opcode::bit_and:
      return bit_and(operand(0), operand(1));
    case Opcode::bit_not:
      return instruction.dtype == DType::boolean ? Interval{1 - operand(0).high, 1 - operand(0).low}
                                                 : all;
    case Opcode::shr:
      return shift_right(operand(0), operand(1));
    case Opcode::select:
      if (operand(0).low == 1) return operand(1);
      return operand(0).high == 0 ? operand(2) : both(operand(1), operand(2));
    case Opcode::cast: {
      const DType from = kernel_.instructions[instruction.operands[0]].dtype;
      const bool huge = from == DType::u64 && operand(0).high == highest;
      return is_floating(from) || huge ? all : operand(0);
    }
    default:
      return all;
  }
}

/// By instruction; `limits` are what is known besides. What may wrap around is unknown. Nothing
/// where the limits contradict what is known.
KernelRanges::Intervals KernelRanges::forward(const Intervals* limits) const {
  Intervals known;
  for (const Instruction& instruction : kernel_.instructions) {
    const Interval all = all_of(instruction.dtype);
    Interval found = all;
    if (!is_store(instruction.op) && !is_floating(instruction.dtype))
      found = value(known, instruction);
    const bool fits = found.low >= all.low && found.high <= all.high;
    const bool saturated = found.low == lowest || found.high == highest;
    if (!fits || (saturated && may_wrap(instruction.op))) found = all;
    if (limits) found = common(found, (*limits)[known.size()]);
    if (found.empty()) return {};
    known.push_back(found);
  }
  return known;
}

/// Follows what is loaded through casts and choices to what it is compared with.
void KernelRanges::find_bounds() {
  std::vector<uint32_t> source(kernel_.instructions.size(), none);  // argument
  std::vector<int64_t> found(bounds_.size(), highest);
  for (ValueId id = 0; id < kernel_.instructions.size(); ++id) {
    const Instruction& instruction = kernel_.instructions[id];
    auto bounded_by = [&](int operand, int64_t bound) {
      const uint32_t argument = source[instruction.operands[operand]];
      if (argument != none && bound > 0) found[argument] = std::min(found[argument], bound);
    };
    auto high = [&](int operand) { return values_[instruction.operands[operand]].high; };
    const bool equality = instruction.op == Opcode::eq || instruction.op == Opcode::ne;
    if (instruction.op == Opcode::load && is_integer(instruction.dtype))
      source[id] = kernel_.accesses[instruction.aux].argument;
    if (instruction.op == Opcode::cast && is_integer(instruction.dtype))
      source[id] = source[instruction.operands[0]];
    if (instruction.op == Opcode::select)
      source[id] = std::min(source[instruction.operands[1]], source[instruction.operands[2]]);
    if (instruction.op == Opcode::lt) bounded_by(0, high(1));
    if (instruction.op == Opcode::le && high(1) < highest && high(1) > 0)
      bounded_by(0, high(1) + 1);
    if (equality && high(1) < highest && high(1) > 0) bounded_by(0, high(1) + 1);
    if (equality && high(0) < highest && high(0) > 0) bounded_by(1, high(0) + 1);
  }
  for (size_t i = 0; i < bounds_.size(); ++i)
    if (found[i] != highest && is_integer(kernel_.arguments[i].dtype))
      bounds_[i] = std::min(found[i], all_of(kernel_.arguments[i].dtype).high);
}

/// What follows where `condition` is true, from the last instruction to the first.
void KernelRanges::narrow(Intervals& limits, ValueId condition) const {
  enum Truth : uint8_t { unknown, holds, fails };
  std::vector<Truth> truths(condition + 1, unknown);
  truths[condition] = holds;
  auto at_most = [&](ValueId low, ValueId high, int64_t gap) {
    const DType dtype = kernel_.instructions[low].dtype;
    if (!is_integer(dtype) || dtype == DType::u64) return;
    limits[low].high = std::min(limits[low].high, clamped(__int128(values_[high].high) - gap));
    limits[high].low = std::max(limits[high].low, clamped(__int128(values_[low].low) + gap));
  };
  for (ValueId id = condition + 1; id-- > 0;) {
    const Truth truth = truths[id];
    if (truth == unknown) continue;
    const Instruction& instruction = kernel_.instructions[id];
    const ValueId a = instruction.operands[0], b = instruction.operands[1];
    const bool conjunction = instruction.op == Opcode::bit_and || instruction.op == Opcode::mul;
    const bool disjunction = instruction.op == Opcode::bit_or || instruction.op == Opcode::add;
    if ((conjunction && truth == holds) || (disjunction && truth == fails))
      truths[a] = truths[b] = truth;
    if (instruction.op == Opcode::bit_not) truths[a] = truth == holds ? fails : holds;
    if (instruction.op == Opcode::lt) truth == holds ? at_most(a, b, 1) : at_most(b, a, 0);
    if (instruction.op == Opcode::le) truth == holds ? at_most(a, b, 0) : at_most(b, a, 1);
  }
}

/// From x + c to x, from the last instruction to the first.
void KernelRanges::narrow_operands(Intervals& limits) const {
  for (ValueId id = ValueId(limits.size()); id-- > 0;) {
    const Instruction& instruction = kernel_.instructions[id];
    const bool sum = instruction.op == Opcode::add, difference = instruction.op == Opcode::sub;
    if (instruction.dtype != DType::i64 || (!sum && !difference)) continue;
    const ValueId a = instruction.operands[0], b = instruction.operands[1];
    auto pass = [&](ValueId to, Interval other) {
      if (other.low != other.high) return;
      Interval moved = limits[id];
      if (moved.low != lowest) moved.low = clamped(__int128(moved.low) - other.low);
      if (moved.high != highest) moved.high = clamped(__int128(moved.high) - other.low);
      limits[to] = common(limits[to], moved);
    };
    pass(a, sum ? values_[b] : negative(values_[b]));
    if (sum) pass(b, values_[a]);
  }
}

Interval KernelRanges::reach(const jit::Access& access) const {
  Intervals limits(kernel_.instructions.size(), everything);
  if (access.predicate != none) {
    narrow(limits, access.predicate);
    narrow_operands(limits);
  }
  const Intervals known = forward(&limits);
  if (known.size() < limits.size()) return {};  // the predicate is never true
  const int64_t base = kernel_.size(access.base);
  Interval reached{base, base};
  for (uint32_t axis = 0; axis < access.strides.size(); ++axis) {
    if (access.strides[axis] == none) continue;
    Interval positions = axis_positions(axis);
    for (ValueId id = 0; id < known.size(); ++id) {
      const Instruction& instruction = kernel_.instructions[id];
      if (instruction.op == Opcode::index && instruction.aux == axis)
        positions = common(positions, known[id]);
    }
    if (positions.empty()) return {};
    const int64_t stride = kernel_.size(access.strides[axis]);
    reached = add(reached, multiply(positions, {stride, stride}));
  }
  std::vector<int64_t> sizes;
  for (const jit::Size& size : kernel_.sizes) sizes.push_back(size.value);
  const int64_t chunk_stride = kernel_.size(access.chunk_stride);
  reached = add(reached, multiply({0, jit::chunk_count(kernel_, sizes.data()) - 1},
                                  {chunk_stride, chunk_stride}));
  if (access.offset == none) return reached;
  return add(reached, known[access.offset]);
}

}  // namespace encore
