#include <encore/jit/cuda/ranges.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <iterator>
#include <set>

namespace encore::jit::cuda {
namespace {

class Finder {
 public:
  explicit Finder(const Kernel& kernel) : kernel_(kernel), ranges_(kernel.instructions.size()) {}

  std::vector<Range> run() {
    for (ValueId id = 0; id < ranges_.size(); ++id)
      if (is_floating(kernel_.instructions[id].dtype)) ranges_[id] = range_of(id);
    return std::move(ranges_);
  }

 private:
  const Instruction& instruction(ValueId id) const { return kernel_.instructions[id]; }
  bool is_constant(ValueId id) const { return instruction(id).op == Opcode::constant; }

  Range range_of(ValueId id) const {
    const Instruction& i = instruction(id);
    auto operand = [&](int n) { return ranges_[i.operands[n]]; };
    switch (i.op) {
      case Opcode::constant:
        return literal(i);
      case Opcode::neg:
        return {-operand(0).high, -operand(0).low};
      case Opcode::abs:
        return magnitude(operand(0));
      case Opcode::add:
        return rounded(sum(operand(0), operand(1)), i.dtype);
      case Opcode::sub:
        return rounded(sum(operand(0), {-operand(1).high, -operand(1).low}), i.dtype);
      case Opcode::mul:
        return rounded(product(operand(0), operand(1)), i.dtype);
      case Opcode::fma:
        return rounded(meet(sum(product(operand(0), operand(1)), operand(2)), remainder(i)),
                       i.dtype);
      case Opcode::scale2:
        return rounded(product(operand(0), power_of_two(operand(1))), i.dtype);
      case Opcode::floor:
      case Opcode::ceil:
      case Opcode::trunc:
      case Opcode::round:
        return {std::floor(operand(0).low), std::ceil(operand(0).high)};
      case Opcode::min:
      case Opcode::max:
        return hull(operand(0), operand(1));
      case Opcode::select:
        return choice(i);
      default:
        return {};
    }
  }

  static Range literal(const Instruction& i) {
    double value = i.dtype == DType::f32 ? double(std::bit_cast<float>(uint32_t(i.bits)))
                                         : std::bit_cast<double>(i.bits);
    return std::isfinite(value) ? Range{value, value} : Range{};
  }

  static Range hull(Range a, Range b) { return {std::min(a.low, b.low), std::max(a.high, b.high)}; }

  static Range magnitude(Range a) {
    return {std::max({0.0, a.low, -a.high}), std::max(std::abs(a.low), std::abs(a.high))};
  }

  static Range sum(Range a, Range b) { return {a.low + b.low, a.high + b.high}; }

  static Range product(Range a, Range b) {
    double ends[] = {a.low * b.low, a.low * b.high, a.high * b.low, a.high * b.high};
    auto [low, high] = std::minmax_element(std::begin(ends), std::end(ends));
    bool known = std::none_of(std::begin(ends), std::end(ends), [](double x) { return x != x; });
    return known ? Range{*low, *high} : Range{};
  }

  static Range meet(Range a, Range b) { return {std::max(a.low, b.low), std::min(a.high, b.high)}; }

  static Range power_of_two(Range a) { return {std::exp2(a.low), std::exp2(a.high)}; }

  /// x - k c for k = x / c rounded to an integer by adding a large number: c / 2 at most, however
  /// large x. That two products of k and x cancel is what intervals do not see.
  Range remainder(const Instruction& i) const {
    const Instruction& rounded_quotient = instruction(i.operands[0]);
    const ValueId x = i.operands[2];
    if (rounded_quotient.op != Opcode::sub || !is_constant(i.operands[1])) return {};
    const Instruction& quotient = instruction(rounded_quotient.operands[0]);
    const double magic = i.dtype == DType::f32 ? 0x1.8p23 : 0x1.8p52;
    auto is_magic = [&](ValueId id) {
      return is_constant(id) && ranges_[id].low == magic && ranges_[id].high == magic;
    };
    if (quotient.op != Opcode::fma || quotient.operands[0] != x ||
        !is_constant(quotient.operands[1]) || !is_magic(quotient.operands[2]) ||
        !is_magic(rounded_quotient.operands[1]) || !ranges_[x].within(-0x1p20, 0x1p20))
      return {};
    const double c = -ranges_[i.operands[1]].low, inverse = ranges_[quotient.operands[1]].low;
    const double most = std::max(-ranges_[x].low, ranges_[x].high);
    const double bound = std::abs(c) * 0.5 + most * std::abs(1 - c * inverse);
    return {-bound, bound};
  }

  /// Room for one rounding, and for those of these computations.
  static Range rounded(Range a, DType dtype) {
    if (a.low != a.low || a.high != a.high) return {};
    double step = dtype == DType::f32 ? 0x1p-22 : 0x1p-50;
    return {a.low - std::abs(a.low) * step - 1e-30, a.high + std::abs(a.high) * step + 1e-30};
  }

  /// select(x < y, x, y) is the smaller one, select(x < y, y, x) the larger; with a NaN, the last.
  Range choice(const Instruction& i) const {
    ValueId yes = i.operands[1], no = i.operands[2];
    Range a = ranges_[yes], b = ranges_[no];
    const Instruction& condition = instruction(i.operands[0]);
    if (condition.op != Opcode::lt) return hull(a, b);
    Range best;
    if (condition.operands[0] == yes && condition.operands[1] == no)
      best = {std::min(a.low, b.low), std::min(a.high, b.high)};
    else if (condition.operands[0] == no && condition.operands[1] == yes)
      best = {std::max(a.low, b.low), std::max(a.high, b.high)};
    else
      return hull(a, b);
    return is_constant(yes) ? best : hull(best, b);
  }

  const Kernel& kernel_;
  std::vector<Range> ranges_;
};

}  // namespace

std::vector<Range> value_ranges(const Kernel& kernel) { return Finder(kernel).run(); }

bool nan_follows(const Kernel& kernel, ValueId value, ValueId cause) {
  std::set<ValueId> seen;
  std::vector<ValueId> stack{value};
  while (!stack.empty()) {
    ValueId next = stack.back();
    stack.pop_back();
    if (next == cause) return true;
    if (next == none || next < cause || !seen.insert(next).second) continue;
    const Instruction& instruction = kernel.instructions[next];
    switch (instruction.op) {
      case Opcode::add:
      case Opcode::sub:
      case Opcode::mul:
      case Opcode::div:
      case Opcode::fma:
      case Opcode::neg:
      case Opcode::abs:
      case Opcode::sqrt:
        if (is_floating(instruction.dtype))
          stack.insert(stack.end(), std::begin(instruction.operands),
                       std::end(instruction.operands));
        break;
      default:
        break;
    }
  }
  return false;
}

}  // namespace encore::jit::cuda
