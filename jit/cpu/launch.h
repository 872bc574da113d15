// Splits a launch into calls of the kernel's function and runs them on the pool.
//
// What is split depends on the kernel: points (outer, row) are independent unless rows are serial;
// with column accumulators a unit is a chunk of rows. Where no row accumulator forbids it the inner
// points are split too. Results never depend on the split: orders of accumulation are fixed by
// kernel.h.
#pragma once
#include <encore/jit/backend.h>
#include <encore/jit/cpu/range.h>
#include <encore/jit/cpu/traits.h>

#include <span>
#include <vector>

namespace encore::jit {

class Launcher {
 public:
  explicit Launcher(const Kernel& kernel);
  void launch(KernelFunction function, std::span<const Segment> segments) const;

 private:
  struct Unit;
  struct Extents;
  Extents extents_of(const Segment& segment) const;
  double cost_ns(const Extents& extents) const;
  Unit whole(const Segment& segment, const Extents& extents) const;
  void split(const Segment& segment, const Extents& extents, double unit_ns,
             std::vector<Unit>& units) const;
  void split_lines(const Extents& extents, int64_t pieces, Unit unit,
                   std::vector<Unit>& units) const;
  void split_points(const Extents& extents, int64_t pieces, Unit unit,
                    std::vector<Unit>& units) const;
  void run(KernelFunction function, std::span<const Unit> units) const;

  Kernel kernel_;
  Traits traits_;
  double point_ns_, row_ns_;                  // of one inner point and of one row, roughly
  size_t totals_bytes_ = 0, kept_bytes_ = 0;  // of all column accumulators, per inner point
};

}  // namespace encore::jit
