// What a kernel's structure allows: read by the code generator and by the launcher, which must
// agree.
#pragma once
#include <encore/jit/kernel.h>

#include <set>
#include <vector>

namespace encore::jit {

/// An argument that sweeps pass values of the current row through before they store what it is for:
/// until then the row is kept in a buffer of the thread, so that memory is written once.
struct KeptRow {
  uint32_t argument;
  ValueId last_store;
};

struct Traits {
  bool row_accumulators = false;
  bool column_accumulators = false;
  bool serial_rows = false;    // store_add: rows in ascending order, on one thread
  bool splits_inner = false;   // a call may cover a part of the inner points
  int64_t streamed_bytes = 0;  // what stores that may bypass the caches write for an inner point
  std::vector<KeptRow> kept_rows;
};

Traits traits_of(const Kernel& kernel);

/// A launch that writes less than this never bypasses the caches.
inline constexpr int64_t least_streamed_bytes = 4 << 20;

/// What a kernel's loads ask memory for early. A row that several sweeps pass over is too short for
/// the processor to foresee the next one; elsewhere its own foresight is mostly better.
enum class Ahead : uint8_t { nothing, next_row, soon };
Ahead ahead_of(const Kernel& kernel);

/// The loads beside which that is done: the last ones of each argument.
std::set<ValueId> loads_that_prefetch(const Kernel& kernel);

std::vector<KeptRow> kept_rows_of(const Kernel& kernel);

/// May this instruction bypass the caches? Only plain stores of whole vectors in a sweep to what
/// the kernel does not read.
bool may_stream(const Kernel& kernel, ValueId id);

/// The last axis of a role, or `none`.
uint32_t last_axis(const Kernel& kernel, Role role);

/// Does a contraction's operand read memory better along the contracted points than along its rows
/// (a) or columns (b)?
bool operand_runs_along_depth(const Kernel& kernel, bool a);

/// The axis that one row is left for the next on: the last row axis, without rows the last outer
/// one; or `none`.
uint32_t line_axis(const Kernel& kernel);

/// For each instruction: does its value differ along `axis`? Stores count as differing.
std::vector<bool> varying_along(const Kernel& kernel, uint32_t axis);

/// The stride of an access along an axis: `none` where it is missing or fixed 0.
SizeId stride_along(const Kernel& kernel, const Access& access, uint32_t axis);

/// The value of a size if it is part of the kernel's text, otherwise `otherwise`.
int64_t fixed_or(const Kernel& kernel, SizeId size, int64_t otherwise);

}  // namespace encore::jit
