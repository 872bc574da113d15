#include <encore/core/error.h>
#include <encore/utils/kernel_work.h>
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <tuple>

namespace encore {
namespace {

using jit::Access;
using jit::Instruction;
using jit::Kernel;
using jit::none;
using jit::Role;

int operations(Opcode op) {
  switch (op) {
    case Opcode::add:
    case Opcode::sub:
    case Opcode::mul:
    case Opcode::div:
    case Opcode::rem:
    case Opcode::min:
    case Opcode::max:
    case Opcode::sqrt:
    case Opcode::floor:
    case Opcode::ceil:
    case Opcode::trunc:
    case Opcode::round:
    case Opcode::scale2:
      return 1;
    case Opcode::fma:
      return 2;
    default:
      return 0;
  }
}

class Counter {
 public:
  Counter(const Kernel& kernel, const KernelRanges& ranges) : kernel_(kernel), ranges_(ranges) {
    for (const jit::Size& size : kernel.sizes) sizes_.push_back(size.value);
    work_.reach.resize(kernel.arguments.size());
    moved_.resize(kernel.arguments.size());
  }

  KernelWork count() {
    const bool row[4] = {true, true}, sweep[4] = {true, true, true}, setup[4] = {};
    for (const jit::Stage& stage : kernel_.stages) {
      const auto& roles = stage.kind == jit::StageKind::setup ? setup
                          : stage.kind == jit::StageKind::row ? row
                                                              : sweep;
      count_instructions(stage.begin, stage.end, roles);
      for (uint32_t i = stage.first_accumulator; i < stage.last_accumulator; ++i)
        count_accumulator(kernel_.accumulators[i], roles);
    }
    if (kernel_.contraction) count_contraction(*kernel_.contraction);
    for (size_t i = 0; i < moved_.size(); ++i) {
      const Interval reach = work_.reach[i];
      const double most = reach.empty() ? 0 : double(reach.high) - double(reach.low) + 1;
      work_.bytes += (std::min(moved_[i].read, most) + std::min(moved_[i].written, most)) *
                     double(size_of(kernel_.arguments[i].dtype));
    }
    return std::move(work_);
  }

 private:
  /// Elements of an argument; equal accesses count once.
  struct Moved {
    double read = 0, written = 0;
  };
  using Map = std::tuple<uint32_t, int64_t, std::vector<int64_t>, int64_t, uint32_t>;

  double points(const bool (&roles)[4]) const {
    double product = 1;
    for (int role = 0; role < 4; ++role)
      if (roles[role]) product *= double(extent_product(kernel_, Role(role), sizes_.data()));
    return product;
  }

  void count_instructions(uint32_t begin, uint32_t end, const bool (&roles)[4]) {
    for (uint32_t i = begin; i < end; ++i) {
      const Instruction& instruction = kernel_.instructions[i];
      if (is_floating(instruction.dtype)) work_.flops += operations(instruction.op) * points(roles);
      const bool adds = instruction.op == Opcode::store_add;
      const bool stores = adds || instruction.op == Opcode::store;
      if (instruction.op == Opcode::load || stores)
        count_access(kernel_.accesses[instruction.aux], roles, !stores || adds, stores);
    }
  }

  void count_accumulator(const jit::Accumulator& accumulator, const bool (&roles)[4]) {
    if (is_floating(accumulator.dtype)) work_.flops += points(roles);
    if (!accumulator.column) return;
    const bool totals[4] = {true, false, roles[int(Role::inner)], false};
    count_access(kernel_.accesses[accumulator.access], totals, false, true);
  }

  void count_contraction(const jit::Contraction& contraction) {
    const bool a[4] = {true, true, false, true}, b[4] = {true, false, true, true};
    count_instructions(contraction.a_begin, contraction.a_end, a);
    count_instructions(contraction.b_begin, contraction.b_end, b);
    work_.flops += 2 * points({true, true, true, true});
  }

  /// What the kernel itself has stored it need not fetch.
  void count_access(const Access& access, const bool (&roles)[4], bool reads, bool writes) {
    Interval& reach = work_.reach[access.argument];
    const Interval here = ranges_.reach(access);
    constexpr int64_t far = int64_t(1) << 42;
    if (!here.empty() && (here.low < -far || here.high > far))
      throw Error(fmt::format("which elements of argument {} the kernel reaches cannot be told",
                              access.argument),
                  {}, "an offset that it computes has no bounds");
    if (!here.empty())
      reach = reach.empty()
                  ? here
                  : Interval{std::min(reach.low, here.low), std::max(reach.high, here.high)};
    std::vector<int64_t> strides;
    double count = access.offset == none ? 1 : points(roles);
    for (size_t axis = 0; axis < access.strides.size(); ++axis) {
      strides.push_back(kernel_.size(access.strides[axis]));
      if (access.offset == none && strides.back() != 0)
        count *= double(sizes_[kernel_.axes[axis].extent]);
    }
    if (access.chunk_stride != none) count *= double(chunk_count(kernel_, sizes_.data()));
    if (!here.empty()) count = std::min(count, double(here.high) - double(here.low) + 1);
    if (here.empty()) count = 0;
    auto& [was_read, was_written] =
        seen_[Map(access.argument, kernel_.size(access.base), std::move(strides),
                  kernel_.size(access.chunk_stride), access.offset)];
    if (reads && !was_read && !was_written) moved_[access.argument].read += count;
    if (writes && !was_written) moved_[access.argument].written += count;
    was_read |= reads;
    was_written |= writes;
  }

  const Kernel& kernel_;
  const KernelRanges& ranges_;
  std::vector<int64_t> sizes_;
  KernelWork work_;
  std::vector<Moved> moved_;                   // by argument
  std::map<Map, std::pair<bool, bool>> seen_;  // read, written
};

}  // namespace

KernelWork work_of(const Kernel& kernel, const KernelRanges& ranges) {
  return Counter(kernel, ranges).count();
}

}  // namespace encore
