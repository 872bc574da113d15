// Expands every column of elementwise.def and reduction.def; the only file that sees the rows'
// code.
#include <encore/lazy/elementwise.h>
#include <encore/lazy/families.h>
#include <encore/lazy/lowering.h>
#include <encore/lazy/math_expansion.h>
#include <encore/lazy/op.h>

#include <cmath>
#include <iterator>
#include <numbers>

namespace encore {
namespace {

/// maximum's and minimum's: nothing to the loser, half each where both are equal.
Tensor share_extreme(const Tensor& g, const Tensor& a, const Tensor& b, const Tensor& loses) {
  return where(a == b, g * lit(0.5), where(loses, lit(0.0), g));
}

#define LOWER(expression)                              \
  [](Builder& to, std::span<const Value> v) -> Value { \
    (void)to;                                          \
    return expression;                                 \
  }
// Inputs are looked at only where the row names them, so an unused one costs nothing but a handle.
#define GRADIENT(expression)                                                             \
  [](const GradientOf& of, [[maybe_unused]] int input) -> Tensor {                       \
    [[maybe_unused]] const Tensor& g = of.dy;                                            \
    [[maybe_unused]] const Tensor y = of.y(), a = of.in(0),                              \
                                  b = of.node.operand_count() > 1 ? of.in(1) : Tensor(), \
                                  c = of.node.operand_count() > 2 ? of.in(2) : Tensor(); \
    return expression;                                                                   \
  }

}  // namespace

// clang-format off
const OpInfo op_rows[] = {
    {.name = "leaf", .family = OpFamily::source, .arity = 0},
    {.name = "scalar", .family = OpFamily::source, .arity = 0},
    {.name = "literal", .family = OpFamily::source, .arity = 0},
    {.name = "iota", .family = OpFamily::source, .arity = 0},
    {.name = "variable", .family = OpFamily::identity, .gradient = GRADIENT(g)},
    {.name = "to_device", .family = OpFamily::identity, .gradient = GRADIENT(g.to(a.device()))},
    {.name = "reshape", .family = OpFamily::movement, .gradient = reshape_gradient},
    {.name = "permute", .family = OpFamily::movement, .gradient = permute_gradient},
    {.name = "expand", .family = OpFamily::movement, .gradient = GRADIENT(g)},  // the walker sums
    {.name = "slice", .family = OpFamily::movement, .gradient = slice_gradient},
    {.name = "pad", .family = OpFamily::movement, .arity = 2, .gradient = pad_gradient},
    {.name = "concat", .family = OpFamily::movement, .arity = -1, .gradient = concat_gradient},
    {.name = "take", .family = OpFamily::indexing, .arity = 2, .gradient = take_gradient,
     .saves = saves_b},
    {.name = "take_along", .family = OpFamily::indexing, .arity = 2, .gradient = take_along_gradient,
     .saves = saves_b},
    {.name = "index_add", .family = OpFamily::indexing, .arity = 3, .gradient = index_add_gradient,
     .saves = saves_b},
    {.name = "scatter_add", .family = OpFamily::indexing, .arity = 3, .gradient = scatter_add_gradient,
     .saves = saves_b},
    {.name = "matmul", .family = OpFamily::contraction, .arity = 2, .gradient = matmul_gradient,
     .saves = saves_a | saves_b},
    {.name = "random_bits", .family = OpFamily::random, .arity = 2},
#define UNARY(id, ...) {.name = #id, .arity = 1, __VA_ARGS__},
#define BINARY(id, ...) {.name = #id, .arity = 2, __VA_ARGS__},
#define TERNARY(id, ...) {.name = #id, .arity = 3, __VA_ARGS__},
#include <encore/lazy/elementwise.def>
#undef UNARY
#undef BINARY
#undef TERNARY
#define REDUCTION(id, ...) {.name = #id, .family = OpFamily::reduction, .arity = 1, __VA_ARGS__},
#include <encore/lazy/reduction.def>
#undef REDUCTION
};
// clang-format on

namespace {

constexpr int elementwise_begin = int(OpId::random_bits) + 1;
constexpr int reduction_begin = int(OpId::reduce_sum);
static_assert(std::size(op_rows) == size_t(OpId::reduce_argmin) + 1, "every op has one row");
static_assert(int(OpId::iota) == 3, "Node::is_source relies on sources coming first");

}  // namespace

std::span<const OpInfo> elementwise_ops() {
  return std::span(op_rows).subspan(elementwise_begin, reduction_begin - elementwise_begin);
}
std::span<const OpInfo> reduction_ops() { return std::span(op_rows).subspan(reduction_begin); }
OpId first_elementwise() { return OpId(elementwise_begin); }
OpId first_reduction() { return OpId(reduction_begin); }

}  // namespace encore
