// The kernel IR: one loop nest over one iteration space, as every backend compiles it.
//
// A kernel visits points (outer, row, inner). `outer` axes are independent of each other; `row`
// axes are visited in ascending order within a chunk of rows; `inner` axes run inside a *sweep*. A
// kernel is a list of stages:
//
//   setup   runs once a launch; its values are the same everywhere
//   row     runs once for each (outer, row) point
//   sweep   runs for each inner point of the current (outer, row); may feed accumulators
//   finish  runs once for each (outer, chunk) after its rows; for column accumulators only
//
// Values are numbered through the whole kernel: value i is the result of instructions[i]. A value
// of a setup or row stage may be used in every later stage; a value of a sweep only in that sweep.
// What a sweep leaves behind are its accumulators, read by `reduced` in a later row stage, and its
// stores. Column accumulators add up over the rows of a chunk; they need no `reduced`: at the end
// of a chunk their totals are written through `access`, whose map runs over outer axes, the chunk
// and, for a value of a sweep, inner axes.
//
// Sizes (extents, strides, offsets) live in one table. A fixed size is part of the kernel's text;
// the others are passed with every launch, so one kernel serves many shapes. 0 and 1 are always
// fixed.
//
// Order of accumulation, the same for every backend: a row accumulator has `lane_count` lanes;
// inner point number i (counted through all inner axes' LAST axis only, each run along the last
// axis starts at lane 0) goes to lane i % lane_count, lane by lane in ascending order; at the end
// lane j takes in lane j + h for h = lane_count/2, …, 1 (operand order: lane j first). A column
// accumulator takes its rows in ascending order, starting from the identity. `sum` of a floating
// product is mul, then add. An accumulator whose value was computed in a row stage (a row scalar)
// is always a column one.
//
// Threads: a Kernel is a plain value; share it only when no one writes it.
#pragma once
#include <encore/core/hash.h>
#include <encore/core/settings.h>
#include <encore/lazy/dtype.h>
#include <encore/lazy/instruction.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace encore::jit {

using ValueId = uint32_t;
using SizeId = uint32_t;
inline constexpr uint32_t none = ~0u;

struct Size {
  int64_t value = 0;
  bool fixed = true;  // part of the kernel's text
};

enum class Role : uint8_t { outer, row, inner, contracted };

/// Axes are ordered by role, as in the enum; within a role the last varies fastest.
struct Axis {
  Role role;
  SizeId extent;
};

enum class Use : uint8_t { read, write, update };

/// A buffer that the kernel is handed at launch, aligned to its dtype. Two arguments may be the
/// same memory only where each point reads what it later writes (in-place elementwise).
struct Argument {
  DType dtype;
  Use use;
};

/// Where a load or store goes: argument[base + sum(strides[axis] * index(axis)) + offset], counted
/// in elements. With `predicate` false the access does not happen.
struct Access {
  uint32_t argument = 0;
  SizeId base = none;           // none: 0
  std::vector<SizeId> strides;  // one per axis of the kernel; none: 0
  SizeId chunk_stride = none;   // times the chunk number; column accumulators only
  ValueId offset = none;        // an i64 value, for div/mod and indirect maps
  ValueId predicate = none;     // a bool value
};

struct Instruction {
  Opcode op;
  DType dtype;
  ValueId operands[3] = {none, none, none};
  uint32_t aux = 0;
  uint64_t bits = 0;
};

enum class Reduce : uint8_t { sum, prod, max, min, any, all, argmax, argmin };

/// argmax and argmin: the dtype is i64, `value` is what is compared, and the result is the index on
/// the inner axes (row-major over all inner axes) of the first extreme; a NaN beats everything, the
/// first NaN wins. Only as row accumulators.
struct Accumulator {
  Reduce reduce;
  DType dtype;    // a compute dtype
  ValueId value;  // must have dtype `dtype`, except for argmax and argmin
  bool column = false;
  uint32_t access = none;    // column: where a chunk's total goes
  ValueId predicate = none;  // points where it is false do not count
};

enum class StageKind : uint8_t { setup, row, sweep };

/// Instructions [begin, end), then the accumulators [first_accumulator, last_accumulator) that this
/// stage feeds (a sweep: row and column ones; a row stage: column ones of row scalars).
struct Stage {
  StageKind kind;
  uint32_t begin = 0, end = 0;
  uint32_t first_accumulator = 0, last_accumulator = 0;
};

/// product(outer, row, inner) = sum over the contracted axes of a * b, in ascending order of the
/// contracted index, each step one fma (floating) or mul and add (integers), starting from 0, in
/// `dtype`. Batch is the outer axes, M the row axes, N the inner axes, K the contracted axes. An
/// operand is a small program over (outer, row or inner, contracted) indices; mostly one load.
/// A GPU may take another order for floating dtypes outside strict mode, and round operands of f32
/// as far as `precision` allows.
struct Contraction {
  DType dtype;
  uint32_t a_begin = 0, a_end = 0;  // instructions; a uses no inner index, b no row index
  uint32_t b_begin = 0, b_end = 0;
  ValueId a = none, b = none;
  MatmulPrecision precision = MatmulPrecision::highest;
};

/// No kernel has more instructions than this; a backend may want fewer (Limits). Longer chains are
/// split.
inline constexpr uint32_t max_instructions = 2048;

/// Lanes of a row accumulator of this dtype; argmax and argmin count by the compared value's dtype.
constexpr uint32_t lane_count(DType dtype) { return size_of(dtype) == 8 ? 16 : 32; }

struct Kernel {
  std::string name;  // for people: dumps, profiles; never in a key
  std::vector<Size> sizes;
  std::vector<Axis> axes;
  std::vector<Argument> arguments;
  std::vector<DType> scalars;  // scalar slots
  std::vector<Access> accesses;
  std::vector<Instruction> instructions;
  std::vector<Accumulator> accumulators;
  std::vector<Stage> stages;
  std::optional<Contraction> contraction;  // then one sweep only; it may use `product`
  SizeId rows_per_chunk = none;            // none: no column accumulators; else at least 1
  uint32_t variant = 0;                    // which kind of code, see Backend::variant; 0: any

  int64_t size(SizeId id) const { return id == none ? 0 : sizes[id].value; }
};

/// The identity of a reduction, as `dtype` stores it, in the low bytes.
uint64_t identity_bits(Reduce reduce, DType dtype);

/// The extents product of the axes of a role, taken from `sizes` (the launch's).
int64_t extent_product(const Kernel& kernel, Role role, const int64_t* sizes);

/// Chunks that the rows are cut into: ceil(rows / rows_per_chunk), at least 1.
int64_t chunk_count(const Kernel& kernel, const int64_t* sizes);

/// The canonical text: everything that generated code depends on, and nothing else. Sizes that are
/// not fixed print as `s3`, so all extents of one structure share a text. `parse_kernel` reads it.
std::string to_text(const Kernel& kernel);

/// `to_text` below the kernel's name and the values of the sizes that are not fixed.
std::string describe(const Kernel& kernel);

/// The kernel that serves all extents of its structure: no size is fixed but 0 and 1.
Kernel with_sizes_as_arguments(Kernel kernel);

/// Hash of `to_text`.
Hash128 key_of(const Kernel& kernel);

/// Memory that the kernel holds beside itself.
size_t held_bytes(const Kernel& kernel);

/// Throws encore::Error that names the offending instruction, stage or access.
void verify_kernel(const Kernel& kernel);

}  // namespace encore::jit
