// Cheaper expressions for instructions whose operands lie where ranges.h says.
#pragma once
#include <encore/jit/cuda/ranges.h>

#include <functional>
#include <string>
#include <vector>

namespace encore::jit::cuda {

class RangedSpelling {
 public:
  explicit RangedSpelling(const Kernel& kernel) : kernel_(kernel), ranges_(value_ranges(kernel)) {}

  /// The names of values where the instruction is written; "" for one that has none there.
  using Names = std::function<std::string(ValueId)>;

  /// The value of a pure instruction other than `constant`: as by `spell`, or cheaper.
  std::string spell(const Instruction& instruction, const Names& name) const;

 private:
  std::string limit(const Instruction& instruction, const Names& name) const;
  bool is_reciprocal_near(const Instruction& instruction) const;
  std::string scale2(const Instruction& instruction, const Names& name) const;
  std::string shifted_bits(ValueId exponent, const Names& name) const;
  float constant(ValueId id) const;

  const Kernel& kernel_;
  std::vector<Range> ranges_;
};

}  // namespace encore::jit::cuda
