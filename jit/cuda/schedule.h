// How a kernel is spread over the GPU, decided from its text and the target alone, so that the text
// of the code and the layout of its launches agree wherever they are made. In what order sums are
// taken depends on their extents only, not on whether the text knows these or a launch tells them.
//
//   points   no point needs another: threads take vectors of inner points
//   columns  rows in order, one thread a vector of columns: column accumulators, store_add
//   rows     a team of threads (part of a warp, or up to a block) takes a whole row; in every sweep
//            a thread has the same inner points
//   split    as rows, but parts of a row go to several blocks, and each sweep is a function of its
//            own that leaves its totals in scratch memory
#pragma once
#include <encore/jit/cuda/target.h>
#include <encore/jit/kernel.h>

#include <algorithm>
#include <vector>

namespace encore::jit::cuda {

enum class Shape : uint8_t { points, columns, rows, split };

/// One function of the generated text.
struct Variant {
  Shape shape = Shape::points;
  uint32_t team = 256;     // threads that share a row; columns: that lie side by side
  uint32_t teams = 1;      // in a block
  uint32_t slots = 0;      // rows: vectors of a row that a thread keeps; 0: it reads them again
  uint32_t unroll = 1;     // vectors (columns: rows) in flight
  uint32_t step = 0;       // split: up to which sweep it goes
  uint32_t blocks = 0;     // that a multiprocessor shall hold at least; 0: as it comes
  uint32_t owners = 1;     // columns: among which rows are shared out by the place that they add to
  bool any_teams = false;  // columns: a launch says how many of the teams have work
  bool any_width = false;  // rows: a launch says how many threads a team has; at most `team`
  uint32_t threads() const { return team * teams; }
};

/// What the text of a kernel says about how its rows are best shared out.
struct RowTraits {
  uint32_t widest = 1;               // elements that a thread takes at once, if extents allow
  std::vector<uint32_t> neighbours;  // accesses to neighbours in memory along the vector axis
  uint32_t kept = 1;                 // 4-byte registers that an element takes where a row is kept
  bool chunked = false;              // chunks of rows belong to a block
  bool one_team = false;             // and their order is the rows'
  bool may_split = false;
};

struct Schedule {
  std::vector<Variant> variants;
  RowTraits row;
  uint32_t vector = 1;              // elements that a thread takes at once; 1: single ones only
  bool needs_single = true;         // a launch may forbid vectors
  uint32_t vector_axis = none;      // the last inner axis
  std::vector<bool> vector_access;  // by access: may be a vector along that axis
  bool wide = false;                // positions need 64 bits
  bool serial = false;              // store_add: rows in ascending order
  bool one_thread = false;          // even the points of a row must keep their order
  bool row_totals = false, column_totals = false;
  bool lanes = false;       // row totals keep the order of jit/kernel.h
  bool shared_row = false;  // a row stage may overwrite what its row reads
  uint32_t capacity = 1;
};

Schedule make_schedule(const Kernel& kernel, const Target& target);

/// Sizes of a kernel as far as they are known: all that a launch has, or those in the text.
struct KnownSizes {
  const Kernel& kernel;
  const int64_t* launched = nullptr;

  bool has(SizeId id) const { return id == none || launched || kernel.sizes[id].fixed; }
  int64_t operator[](SizeId id) const {
    return id == none ? 0 : launched ? launched[id] : kernel.sizes[id].value;
  }
  /// The product of a role's extents if all are known, else -1.
  int64_t points(Role role) const;
};

/// How a row is summed up: a team of threads takes turns at vectors of elements, and where rows
/// come in chunks, the block's teams take turns at rows.
struct RowPlan {
  uint32_t vector = 1;
  uint32_t team = 1, teams = 1;
  uint32_t slots = 0;  // vectors of a row that a thread can keep; 0: too many
  bool split = false;  // parts of a row go to several blocks
};
RowPlan plan_row(const RowTraits& traits, const KnownSizes& sizes, uint32_t vector_axis);

/// Teams that share the rows of a chunk of columns. Part of the order of sums, so a matter of one
/// reduction's own extents.
uint32_t column_teams(int64_t rows, int64_t rows_per_chunk, int64_t inner);
inline constexpr uint32_t most_column_teams = 16;

/// By instruction: a bit for each axis that its value differs along; bit 63: it depends on a row
/// accumulator.
std::vector<uint64_t> varying_axes(const Kernel& kernel);
inline constexpr uint64_t varies_by_total = uint64_t(1) << 63;

uint64_t axes_with(const Kernel& kernel, Role role);
uint32_t last_axis_of(const Kernel& kernel, Role role);

/// Is the stride along an axis something else than 0?
bool moves_along(const Kernel& kernel, const Access& access, uint32_t axis);

/// The product of a role's extents if all are fixed, else -1.
int64_t fixed_points(const Kernel& kernel, Role role);

/// Rows of so many points are split when there are no more rows than this, into so many parts.
inline constexpr int64_t least_split_row = 65536;
inline constexpr int64_t most_split_rows = 66;
inline constexpr int64_t most_parts = 512;

}  // namespace encore::jit::cuda
