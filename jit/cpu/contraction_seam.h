// Where the blocked contraction (contraction.h, micro-kernels made by AsmJit) meets the code that
// LLVM compiles for the rest of the same kernel: its epilogue and its operand programs.
//
// Positions are linear over all axes of a role, the last axis varying fastest: `row` counts row
// points, `column` inner points, `outer` outer points, `depth` contracted points.
//
// Threads: the functions are called from several threads at once, always on disjoint tiles.
#pragma once
#include <encore/jit/backend.h>
#include <encore/jit/kernel.h>

#include <cstdint>

namespace encore::jit {

/// A rectangle of complete sums at one outer point. Its rows lie within one chunk of rows, and for
/// each column the tiles of a chunk come in ascending row order, from one thread.
struct Tile {
  const void* product;  // of the contraction's dtype; row r, column c at [r * stride + c]
  int64_t stride;       // in elements
  int64_t outer;
  int64_t row, rows;
  int64_t column, columns;
  // The running total of the a-th column accumulator (in the order of Kernel::accumulators) at the
  // tile's column c lies at byte a * totals_stride + c * (size of its dtype) of `totals`.
  // The tile that begins a chunk (row % rows_per_chunk == 0) ignores what is there and starts from
  // the identity; the tile that ends one (its last row ends the chunk or is the kernel's last)
  // writes the totals through the accumulator's access instead. A kernel without rows gets one
  // tile of 0 rows per column range, which does both.
  std::byte* totals;
  int64_t totals_stride;  // in bytes
};

/// Runs the epilogue on a tile: setup, then the row stage for each row, then the sweep. What a row
/// stage stores or accumulates happens only in tiles with column == 0 (its total lies at c = 0).
using TileFinisher = void (*)(void* const* arguments, const int64_t* sizes, const uint64_t* scalars,
                              const Tile* tile);

/// A rectangle of an operand at one outer point, wanted as values of the contraction's dtype.
struct OperandBlock {
  void* to;
  int64_t stride;  // elements from one line to the next
  int64_t outer;
  int64_t position, count;  // rows of a, or columns of b
  int64_t depth, depths;    // contracted points
};

/// Evaluates an operand. Lines run along the contracted points (`along_depth`; one line per row or
/// column) or along the rows or columns (one line per contracted point), whichever reads memory
/// better; within a line elements are contiguous. Nothing outside the rectangle is written.
struct OperandEvaluator {
  void (*evaluate)(void* const* arguments, const int64_t* sizes, const uint64_t* scalars,
                   const OperandBlock* block) = nullptr;
  bool along_depth = false;
};

/// What LLVM compiled for a kernel; absent where `contraction_needs` says that it is not needed.
struct ContractionCode {
  TileFinisher finish = nullptr;
  OperandEvaluator a, b;
};

}  // namespace encore::jit
