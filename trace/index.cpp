#include <encore/trace/index.h>

namespace encore::trace {

IndexExpression Indexer::axis(int axis) const {
  IndexExpression result;
  result.coefficients[axis] = 1;
  return result;
}

IndexExpression Indexer::scaled(const IndexExpression& a, int64_t by, KernelBuilder& builder) {
  IndexExpression result = a;
  for (int64_t& coefficient : result.coefficients) coefficient *= by;
  result.constant *= by;
  if (by == 0) result.dynamic = {};
  if (result.dynamic && by != 1) result.dynamic = builder.mul(result.dynamic, builder.size(by));
  return result;
}

IndexExpression Indexer::sum(const IndexExpression& a, const IndexExpression& b) const {
  IndexExpression result = a;
  for (int axis = 0; axis < max_axes; ++axis) result.coefficients[axis] += b.coefficients[axis];
  result.constant += b.constant;
  if (!result.dynamic)
    result.dynamic = b.dynamic;
  else if (b.dynamic)
    result.dynamic = builder_.add(result.dynamic, b.dynamic);
  return result;
}

IndexExpression Indexer::affine(const IndexExpression& a, int64_t step, int64_t start) const {
  IndexExpression result = scaled(a, step, builder_);
  result.constant += start;
  return result;
}

Value Indexer::value(const IndexExpression& a) const {
  Value total = a.dynamic;
  auto take = [&](Value part) { total = total ? builder_.add(total, part) : part; };
  for (size_t axis = 0; axis < extents_.size(); ++axis)
    if (a.coefficients[axis] != 0)
      take(builder_.mul(builder_.index(uint32_t(axis)), builder_.size(a.coefficients[axis])));
  if (a.constant != 0 || !total) take(builder_.size(a.constant));
  return total;
}

Indexer::Range Indexer::range(const IndexExpression& a) const {
  Range result{!a.dynamic, a.constant, a.constant};
  for (size_t axis = 0; axis < extents_.size(); ++axis) {
    int64_t reach = a.coefficients[axis] * std::max<int64_t>(extents_[axis] - 1, 0);
    (reach < 0 ? result.low : result.high) += reach;
  }
  return result;
}

Value Indexer::in_bounds(const IndexExpression& a, int64_t extent) const {
  Range reach = range(a);
  if (reach.known && reach.low >= 0 && reach.high < extent) return {};
  Value position = value(a), result;
  if (!reach.known || reach.low < 0)
    result = builder_.compare(Opcode::le, builder_.size(0), position);
  if (!reach.known || reach.high >= extent) {
    Value below = builder_.compare(Opcode::lt, position, builder_.size(extent));
    result = result ? builder_.emit(Opcode::bit_and, DType::boolean, {result, below}) : below;
  }
  return result;
}

void Indexer::split(IndexExpression a, int64_t by, IndexExpression& quotient,
                    IndexExpression& remainder) const {
  quotient = remainder = {};
  if (!a.dynamic) {
    for (int axis = 0; axis < max_axes; ++axis)
      (a.coefficients[axis] % by == 0 ? quotient : remainder).coefficients[axis] =
          a.coefficients[axis];
    quotient.constant = a.constant / by * by;
    remainder.constant = a.constant - quotient.constant;
    Range rest = range(remainder);
    if (rest.low >= 0 && rest.high < by) {
      for (int64_t& coefficient : quotient.coefficients) coefficient /= by;
      quotient.constant /= by;
      return;
    }
  }
  Value whole = value(a), divisor = builder_.size(by);
  quotient = remainder = {};
  quotient.dynamic = builder_.div(whole, divisor);
  remainder.dynamic = builder_.binary(Opcode::rem, whole, divisor);
}

Index Indexer::reshape(const Index& index, const Shape& from, const Shape& to) const {
  Index result(to.rank());
  int f = 0, t = 0;
  // Groups of dims with equal products map onto each other.
  while (f < from.rank() || t < to.rank()) {
    int f_begin = f, t_begin = t;
    int64_t f_product = 1, t_product = 1;
    if (f < from.rank()) f_product = from[f++];
    if (t < to.rank()) t_product = to[t++];
    while (f_product != t_product) {
      if (f_product < t_product && f < from.rank())
        f_product *= from[f++];
      else if (t < to.rank())
        t_product *= to[t++];
      else if (f < from.rank())
        f_product *= from[f++];
      else
        break;
    }
    if (f - f_begin == 1 && t - t_begin == 1) {
      result[t_begin] = index[f_begin];
      continue;
    }
    IndexExpression flat;
    for (int dim = f_begin; dim < f; ++dim) flat = sum(affine(flat, from[dim], 0), index[dim]);
    for (int dim = t; dim-- > t_begin;) {
      if (dim == t_begin) {
        result[dim] = flat;
      } else if (to[dim] != 1) {
        IndexExpression rest;
        split(flat, to[dim], flat, rest);
        result[dim] = rest;
      }
    }
  }
  return result;
}

}  // namespace encore::trace
