#include <encore/lazy/create.h>
#include <encore/lazy/elementwise.h>
#include <encore/lazy/families.h>
#include <encore/lazy/movement.h>
#include <encore/lazy/reduction.h>
#include <encore/lazy/refuse.h>

#include <algorithm>

namespace encore {
namespace {

using At = Tensor::At;

uint32_t mask_of(const Tensor::Axes& axes, int rank, const char* what, At at) {
  if (axes.empty()) return (1u << rank) - 1;
  uint32_t mask = 0;
  for (int64_t axis : axes) {
    uint32_t bit = 1u << normalize_axis(axis, rank, what, current_location(at));
    if (mask & bit) refuse(at, "name every axis once", "{}: axis {} is given twice", what, axis);
    mask |= bit;
  }
  return mask;
}

/// How many elements are combined into one.
int64_t count_of(const Shape& shape, uint32_t mask) {
  int64_t count = 1;
  for (int axis = 0; axis < shape.rank(); ++axis)
    if (mask >> axis & 1) count *= shape[axis];
  return count;
}

Tensor drop_axes(const Tensor& kept, uint32_t mask, bool keepdim, At at) {
  if (keepdim || mask == 0) return kept;
  Shape shape;
  for (int axis = 0; axis < kept.rank(); ++axis)
    if (!(mask >> axis & 1)) shape.push_back(kept.shape()[axis]);
  return reshape(kept, shape, at);
}

bool is_one_of(OpId op, std::initializer_list<OpId> ops) {
  return std::find(ops.begin(), ops.end(), op) != ops.end();
}

/// A reduction that keeps its axes; over single elements it is at most a cast.
Tensor reduce_kept(OpId op, const Tensor& x, uint32_t mask, const char* what, At at) {
  int64_t count = count_of(x.shape(), mask);
  bool extreme = is_one_of(op, {OpId::reduce_max, OpId::reduce_min});
  bool position = is_one_of(op, {OpId::reduce_argmax, OpId::reduce_argmin});
  if ((extreme || position) && count == 0)
    refuse(at, "check numel() first, or concat a neutral element",
           "{}: {} has no element to choose from", what, x.shape().text());
  if (extreme && x.dtype() == DType::boolean)
    refuse(at, "use any or all, or cast first: x.to(u8)", "{}: bool operands are not allowed",
           what);
  if (count != 1) return record_reduction(op, x, mask, at);
  if (extreme) return x;
  if (position) return expand(literal_node(0, DType::i64, x.device()), x.shape(), at);
  if (is_one_of(op, {OpId::reduce_any, OpId::reduce_all})) return x.to(DType::boolean, at);
  return is_floating(x.dtype()) ? x : x.to(DType::i64, at);
}

Tensor reduce(OpId op, const Tensor& x, const Tensor::Axes& axes, bool keepdim, const char* what,
              At at) {
  uint32_t mask = mask_of(axes, x.rank(at), what, at);
  return drop_axes(reduce_kept(op, x, mask, what, at), mask, keepdim, at);
}

Tensor arg_reduce(OpId op, const Tensor& x, std::optional<int64_t> axis, bool keepdim,
                  const char* what, At at) {
  if (axis) return reduce(op, x, {*axis}, keepdim, what, at);
  Shape ones;
  for (int i = 0; i < x.rank(at); ++i) ones.push_back(1);
  Tensor flat = reduce(op, x.flatten(0, -1, at), {0}, false, what, at);
  return keepdim ? reshape(flat, ones, at) : flat;
}

/// Sums and means of 16-bit floats are formed in f32: their sum may be out of range.
DType mean_dtype(DType dtype) { return dtype == DType::f64 ? DType::f64 : DType::f32; }

/// The element count as a runtime argument: kernels serve other extents too.
Arg count_like(int64_t count) { return double(count); }

/// Over all axes in `mask`, which stay; `x` is f32 or f64.
Tensor mean_kept(const Tensor& x, uint32_t mask, At at) {
  Tensor total = reduce_kept(OpId::reduce_sum, x, mask, "mean", at);
  int64_t count = count_of(x.shape(), mask);
  return count == 1 ? total : total / count_like(count);
}

/// Over the axes that the node reduces.
Tensor reduce_like(const GradientOf& of, OpId op, const Tensor& x) {
  return record_reduction(op, x, uint32_t(of.node.attributes[0]), of.node.location);
}

}  // namespace

Tensor Tensor::sum(Axes axes, bool keepdim, At at) const {
  return reduce(OpId::reduce_sum, *this, axes, keepdim, "sum", at);
}
Tensor Tensor::prod(Axes axes, bool keepdim, At at) const {
  return reduce(OpId::reduce_prod, *this, axes, keepdim, "prod", at);
}
Tensor Tensor::max(Axes axes, bool keepdim, At at) const {
  return reduce(OpId::reduce_max, *this, axes, keepdim, "max", at);
}
Tensor Tensor::min(Axes axes, bool keepdim, At at) const {
  return reduce(OpId::reduce_min, *this, axes, keepdim, "min", at);
}
Tensor Tensor::any(Axes axes, bool keepdim, At at) const {
  return reduce(OpId::reduce_any, *this, axes, keepdim, "any", at);
}
Tensor Tensor::all(Axes axes, bool keepdim, At at) const {
  return reduce(OpId::reduce_all, *this, axes, keepdim, "all", at);
}
Tensor Tensor::argmax(std::optional<int64_t> axis, bool keepdim, At at) const {
  return arg_reduce(OpId::reduce_argmax, *this, axis, keepdim, "argmax", at);
}
Tensor Tensor::argmin(std::optional<int64_t> axis, bool keepdim, At at) const {
  return arg_reduce(OpId::reduce_argmin, *this, axis, keepdim, "argmin", at);
}

Tensor Tensor::mean(Axes axes, bool keepdim, At at) const {
  uint32_t mask = mask_of(axes, rank(), "mean", at);
  Scope scope("mean", at);
  Tensor result = mean_kept(to(mean_dtype(dtype()), at), mask, at);
  if (is_floating(dtype())) result = result.to(dtype(), at);
  return drop_axes(result, mask, keepdim, at);
}

Tensor var(const Tensor& x, Tensor::Axes axes, int64_t correction, bool keepdim, At at) {
  require_value(x, at);
  uint32_t mask = mask_of(axes, x.rank(), "var", at);
  if (correction < 0) refuse(at, "use 0 or 1", "var: correction {}", correction);
  Scope scope("var", at);
  Tensor work = x.to(mean_dtype(x.dtype()), at);
  Tensor distance = work - mean_kept(work, mask, at);
  Tensor total = reduce_kept(OpId::reduce_sum, distance * distance, mask, "var", at);
  Tensor result = total / count_like(std::max<int64_t>(0, count_of(x.shape(), mask) - correction));
  if (is_floating(x.dtype())) result = result.to(x.dtype(), at);
  return drop_axes(result, mask, keepdim, at);
}

Tensor standard_deviation(const Tensor& x, Tensor::Axes axes, int64_t correction, bool keepdim,
                          At at) {
  require_value(x, at);
  Scope scope("standard_deviation", at);
  return sqrt(var(x, std::move(axes), correction, keepdim, at));
}

// The product of the others is y / x where nothing is zero; beside a single zero only that zero's
// place has a gradient, the product of all others; beside two zeros nothing has.
Tensor prod_gradient(const GradientOf& of, int) {
  Tensor x = of.in(0);
  Tensor zero = x == lit(0.0), others = where(zero, lit(1.0), x);
  Tensor zeros = reduce_like(of, OpId::reduce_sum, zero);
  Tensor rest = reduce_like(of, OpId::reduce_prod, others);
  return of.dy * where(zero, where(zeros == lit(1), rest, lit(0.0)),
                       where(zeros == lit(0), rest / others, lit(0.0)));
}

// Equal extremes share the gradient equally; so do NaNs, which are the extreme of their row.
Tensor extreme_gradient(const GradientOf& of, int) {
  Tensor x = of.in(0);
  Tensor chosen = ((x == of.y()) | (x != x)).to(of.node.dtype);
  Tensor sharers = reduce_like(of, OpId::reduce_sum, chosen);
  return of.dy * chosen / sharers;
}

}  // namespace encore
