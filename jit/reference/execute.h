// Executes a kernel point by point, exactly as jit/kernel.h says: the slow, obvious way.
//
// A Program is immutable and may run on several threads at once.
#pragma once
#include <encore/jit/backend.h>
#include <encore/jit/kernel.h>
#include <encore/jit/reference/evaluate.h>

#include <cstddef>
#include <span>
#include <vector>

namespace encore::jit {

/// An instruction made ready to run: a missing operand is the value after the last one, always 0.
struct Step {
  Evaluation evaluation;  // null: not pure
  ValueId operands[3];
};

class Program {
 public:
  explicit Program(const Kernel& kernel);

  /// `argument_bytes` is empty, or has the size of every argument; then an access outside of its
  /// argument throws Error.
  void run(const Segment& segment, std::span<const size_t> argument_bytes = {}) const;

  const Kernel& kernel() const { return kernel_; }
  std::span<const Step> steps() const { return steps_; }

 private:
  Kernel kernel_;
  std::vector<Step> steps_;
};

}  // namespace encore::jit
