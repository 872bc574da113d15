// What an op is: its id, and the facts of its row.
//
// Elementwise ops come from elementwise.def and reductions from reduction.def, one row each. The
// other families (movement, indexing, contraction, random) are few; each op's shape rule and
// gradient stand in the file of its family (movement.cpp, indexing.cpp, contraction.cpp,
// random.cpp).
#pragma once
#include <encore/lazy/dtype.h>
#include <encore/lazy/instruction.h>

#include <cstdint>
#include <span>
#include <string_view>

namespace encore {

class Tensor;
struct Node;

enum class OpId : uint8_t {
  // sources
  leaf,     // holds a buffer
  scalar,   // a C++ number of the user's: a runtime argument, its value in no key
  literal,  // a number that the library wrote: part of the key
  iota,     // position along attributes[0], i64
  // identities
  variable,   // names a parameter's cell; lowers to nothing
  to_device,  // its input on another device; born with its buffer
  // movement: one input, an index map
  reshape,  // to the node's shape, row-major order kept
  permute,  // attributes[i]: the input's axis that becomes axis i
  expand,   // broadcasts to the node's shape (NumPy's rule)
  slice,    // attributes: start of each axis, then step of each axis (steps may be negative)
  pad,      // attributes: low of each axis, then high; inputs: x, the filling scalar
  concat,   // attributes[0]: axis
  // indexing; a negative index counts from the end; one out of range reads 0 and writes nothing
  take,        // x, index (any shape), attributes[0] axis: x[:axis] + index + x[axis+1:]
  take_along,  // x, index of x's rank, attributes[0] axis: result has index's shape
  index_add,   // x, 1-d index, source, attributes[0] axis: x[.., index[i], ..] += source[.., i, ..]
  scatter_add,  // x, index, source of index's shape, attributes[0] axis; added in index order
  // contraction
  matmul,  // [batch.., m, k] x [batch.., k, n], batch axes equal (expand first)
  // random: inputs seed (i64), draw index (i64); attributes[0] word: u32 bits of Philox 4x32-10
  random_bits,
#define UNARY(name, ...) name,
#define BINARY(name, ...) name,
#define TERNARY(name, ...) name,
#include <encore/lazy/elementwise.def>
#undef UNARY
#undef BINARY
#undef TERNARY
#define REDUCTION(name, ...) \
  reduce_##name,  // attributes[0]: bit mask of axes; axes stay with extent 1
#include <encore/lazy/reduction.def>
#undef REDUCTION
};

// clang-format off
enum class OpFamily : uint8_t {
  source, identity, movement, indexing, contraction, random, elementwise, reduction
};
// clang-format on

/// What a gradient rule may look at.
struct GradientOf;

/// The gradient of input number `input`, as a tensor expression; an empty Tensor: no gradient.
using GradientRule = Tensor (*)(const GradientOf& of, int input);

enum class Types : uint8_t {
  same,      // operands promote; the result has that dtype
  floating,  // integers and bool become f32
  number,    // as `same`, but bool is refused
  bits,      // integers and bool only
  compare,   // operands promote; the result is bool
  test,      // one operand; the result is bool
  logical,   // operands become bool (x != 0); so is the result
  where,     // bool, then two that promote
};

/// Which operands or results a gradient rule reads; a hint for what a read stores.
enum Saves : uint8_t { saves_nothing = 0, saves_a = 1, saves_b = 2, saves_c = 4, saves_result = 8 };

struct OpInfo {
  std::string_view name;
  OpFamily family = OpFamily::elementwise;
  int arity = 1;  // -1: any
  Types types = Types::same;
  /// Appends the op's instructions; operands have compute dtypes. Elementwise only.
  Value (*lower)(Builder& to, std::span<const Value> operands) = nullptr;
  GradientRule gradient = nullptr;  // null: no gradient flows
  uint8_t saves = saves_nothing;
  bool commutes = false;
  bool cheap = true;  // recomputing costs less than a load
  /// The op on doubles, for tests; null where it has none (bits).
  double (*reference)(double a, double b, double c) = nullptr;
  /// The op on integers, for tests; null: as on doubles.
  int64_t (*integer_reference)(int64_t a, int64_t b, int64_t c) = nullptr;
};

/// By id; use `info`.
extern const OpInfo op_rows[];
inline const OpInfo& info(OpId op) { return op_rows[int(op)]; }
inline std::string_view name_of(OpId op) { return info(op).name; }
inline OpFamily family_of(OpId op) { return info(op).family; }
constexpr bool is_elementwise(OpId op) { return op > OpId::random_bits && op < OpId::reduce_sum; }

/// Every row of elementwise.def, in order; ids ascend from `first_elementwise`.
std::span<const OpInfo> elementwise_ops();
std::span<const OpInfo> reduction_ops();
OpId first_elementwise();
OpId first_reduction();

}  // namespace encore
