// Sizes, arguments and accesses of a random kernel, with the rules that give their values back when
// the extents change from one segment to the next.
#pragma once
#include <encore/jit/kernel.h>

#include <functional>
#include <vector>

#include "random_data.h"

namespace encore::jit {

/// One dimension of an argument's memory, walked by an axis of the kernel (or by none: a table's).
struct Dimension {
  uint32_t axis = none;
  int64_t extent = 0;  // of a table; else the axis's
  int64_t step = 1;
  bool reversed = false;
};

class RandomLayout {
 public:
  using Sizes = std::vector<int64_t>;
  using Rule = std::function<int64_t(const Sizes&)>;

  /// Adds to `kernel`; both must outlive this.
  RandomLayout(Kernel& kernel, Random& random) : kernel_(kernel), random_(random) {}

  /// A size of its own; where it is not fixed, other segments get another value.
  SizeId free_size(int64_t value);

  /// An argument of its own with these dimensions, slowest first, and an access that walks it.
  /// With `skipped`, the first that many indices of dimensions[0] lie before the argument.
  uint32_t make_access(DType dtype, Use use, const std::vector<Dimension>& dimensions,
                       int64_t skipped = 0);

  /// The same walk over another argument, whose memory the one of `access` is, too.
  uint32_t make_alias(uint32_t access, DType dtype, Use use);

  /// An argument with a copy of `dimensions` for each chunk; needs rows_per_chunk.
  uint32_t make_chunked_access(DType dtype, const std::vector<Dimension>& dimensions);

  /// The step from one entry of dimensions[0] to the next.
  SizeId stride_size(const std::vector<Dimension>& dimensions);

  Sizes values() const;
  /// Values for another segment, with other extents where they are not fixed.
  Sizes other_values();
  /// Elements of an argument; 0 where its memory is another's.
  int64_t elements(size_t argument, const Sizes& sizes) const { return elements_[argument](sizes); }
  /// By argument: whose memory it has, mostly its own.
  const std::vector<uint32_t>& owners() const { return owners_; }

 private:
  /// A size that depends on the dimensions' extents: it can be fixed only if they all are.
  SizeId derived_size(const std::vector<Dimension>& dimensions, Rule rule);
  int64_t extent_in(const Dimension& dimension, const Sizes& sizes) const;
  int64_t stride_in(const std::vector<Dimension>& dimensions, size_t at, const Sizes& sizes) const;
  int64_t total_in(const std::vector<Dimension>& dimensions, const Sizes& sizes) const;
  SizeId make_base(const std::vector<Dimension>& dimensions, int64_t pad, int64_t skipped);
  uint32_t add_argument(DType dtype, Use use, Rule elements);

  Kernel& kernel_;
  Random& random_;
  std::vector<Rule> rules_;     // by size; none: free
  std::vector<Rule> elements_;  // by argument
  std::vector<uint32_t> owners_;
};

}  // namespace encore::jit
