// Which elements of its arguments a kernel can touch, told from its text: bounds of every value by
// interval arithmetic, narrowed by what an access's predicate says.
#pragma once
#include <encore/jit/kernel.h>

#include <cstdint>
#include <vector>

namespace encore {

/// All integers from low to high; none where low > high.
struct Interval {
  int64_t low = 0, high = -1;

  bool empty() const { return low > high; }
  bool operator==(const Interval&) const = default;
};

class KernelRanges {
 public:
  /// `kernel` is one that verify_kernel accepts, and outlives this.
  explicit KernelRanges(const jit::Kernel& kernel);

  /// Integers of an argument that is only read are assumed to lie in [0, bound): what the kernel
  /// compares them with, else 100. An argument of booleans has 2.
  int64_t bound(uint32_t argument) const { return bounds_[argument]; }

  /// The elements at which the access can be. Where the kernel computes its own offset and nothing
  /// bounds that, this is as wide as integers are.
  Interval reach(const jit::Access& access) const;

 private:
  using Intervals = std::vector<Interval>;

  Intervals forward(const Intervals* limits) const;
  Interval value(const Intervals& known, const jit::Instruction& instruction) const;
  Interval loaded(const jit::Instruction& load) const;
  Interval axis_positions(uint32_t axis) const;
  void find_bounds();
  void narrow(Intervals& limits, jit::ValueId condition) const;
  void narrow_operands(Intervals& limits) const;

  const jit::Kernel& kernel_;
  std::vector<int64_t> bounds_;  // by argument
  std::vector<bool> written_;
  Intervals values_;  // by instruction
};

}  // namespace encore
