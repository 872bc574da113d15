#include <encore/trace/index.h>

#include <algorithm>
#include <utility>

namespace encore::trace {
namespace {

void add_scaled(LinearIndex& to, const LinearIndex& a, int64_t by) {
  for (int axis = 0; axis < max_axes; ++axis) to.coefficients[axis] += by * a.coefficients[axis];
  to.constant += by * a.constant;
}

/// high * (s / (d m) % n) + low * (s / d % m) is low * (s / d % (m n)) if high is low * m.
bool join(IndexPart& low, const IndexPart& high) {
  if (low.modulus == 0 || low.source != high.source || high.divisor != low.divisor * low.modulus ||
      high.coefficient != low.coefficient * low.modulus)
    return false;
  low.modulus *= high.modulus;
  return true;
}

/// Joins parts that were split from one source, until none can be joined.
void join_parts(IndexExpression& a) {
  auto& parts = a.parts;
  for (size_t i = 0; i < parts.size(); ++i)
    for (size_t j = 0; j < parts.size(); ++j) {
      if (i == j || !join(parts[i], parts[j])) continue;
      IndexPart joined = parts[i];
      parts.erase(parts.begin() + int64_t(std::max(i, j)));
      parts.erase(parts.begin() + int64_t(std::min(i, j)));
      if (joined.divisor == 1 && joined.modulus == 0)
        add_scaled(a, joined.source, joined.coefficient);
      else
        parts.push_back(joined);
      return join_parts(a);
    }
}

}  // namespace

IndexExpression Indexer::axis(int axis) const {
  IndexExpression result;
  result.coefficients[axis] = 1;
  return result;
}

IndexExpression Indexer::scaled(const IndexExpression& a, int64_t by, KernelBuilder& builder) {
  IndexExpression result = a;
  for (int64_t& coefficient : result.coefficients) coefficient *= by;
  result.constant *= by;
  for (IndexPart& part : result.parts) part.coefficient *= by;
  if (by == 0) result.dynamic = {}, result.parts.clear();
  if (result.dynamic && by != 1) result.dynamic = builder.mul(result.dynamic, builder.size(by));
  return result;
}

IndexExpression Indexer::sum(const IndexExpression& a, const IndexExpression& b) const {
  IndexExpression result = a;
  add_scaled(result, b, 1);
  result.parts.insert(result.parts.end(), b.parts.begin(), b.parts.end());
  join_parts(result);
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
  for (const IndexPart& part : a.parts) take(value(part));
  if (a.constant != 0 || !total) take(builder_.size(a.constant));
  return total;
}

Value Indexer::value(const IndexPart& part) const {
  Value result = value(IndexExpression{part.source});
  if (part.divisor != 1) result = builder_.div(result, builder_.size(part.divisor));
  if (part.modulus != 0) result = builder_.binary(Opcode::rem, result, builder_.size(part.modulus));
  return builder_.mul(result, builder_.size(part.coefficient));
}

IndexExpression Indexer::resolved(IndexExpression a) const {
  for (const IndexPart& part : std::exchange(a.parts, {})) {
    Value more = value(part);
    a.dynamic = a.dynamic ? builder_.add(a.dynamic, more) : more;
  }
  return a;
}

Indexer::Range Indexer::range(const IndexExpression& a) const {
  Range result{!a.dynamic, a.constant, a.constant};
  for (size_t axis = 0; axis < extents_.size(); ++axis) {
    int64_t reach = a.coefficients[axis] * std::max<int64_t>(extents_[axis] - 1, 0);
    (reach < 0 ? result.low : result.high) += reach;
  }
  for (const IndexPart& part : a.parts) {
    Range more = range(part);
    result.known &= more.known;
    result.low += more.low;
    result.high += more.high;
  }
  return result;
}

Indexer::Range Indexer::range(const IndexPart& part) const {
  Range source = range(IndexExpression{part.source});
  int64_t low = source.low / part.divisor, high = source.high / part.divisor;
  if (part.modulus != 0 && high >= part.modulus) low = 0, high = part.modulus - 1;
  if (part.coefficient < 0) std::swap(low, high);
  return {source.low >= 0, low * part.coefficient, high * part.coefficient};
}

/// With coefficient 1; linear where nothing is cut off.
IndexExpression Indexer::part(const LinearIndex& source, int64_t divisor, int64_t modulus) const {
  Range reach = range(IndexExpression{source});
  if (reach.low >= 0 && modulus != 0 && reach.high / divisor < modulus) modulus = 0;
  IndexExpression result;
  if (divisor == 1 && modulus == 0)
    add_scaled(result, source, 1);
  else
    result.parts.push_back({1, divisor, modulus, source});
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

/// Where quotient and remainder are linear or parts themselves.
bool Indexer::split_exactly(const IndexExpression& a, int64_t by, IndexExpression& quotient,
                            IndexExpression& remainder) const {
  if (a.dynamic) return false;
  IndexExpression rest;  // what `by` does not divide
  quotient = {};
  for (int axis = 0; axis < max_axes; ++axis)
    (a.coefficients[axis] % by == 0 ? quotient : rest).coefficients[axis] = a.coefficients[axis];
  quotient.constant = a.constant / by * by;
  rest.constant = a.constant - quotient.constant;
  for (int64_t& coefficient : quotient.coefficients) coefficient /= by;
  quotient.constant /= by;
  if (a.parts.empty()) {
    if (range(rest).low < 0) return false;
    quotient = sum(quotient, part(rest, by, 0));
    remainder = part(rest, 1, by);
    return true;
  }
  const IndexPart& only = a.parts[0];
  bool alone = LinearIndex(a) == LinearIndex{} && a.parts.size() == 1 && only.coefficient == 1;
  if (!alone || only.modulus % by != 0) return false;
  if (only.modulus == by)
    quotient = {};
  else
    quotient = part(only.source, only.divisor * by, only.modulus / by);
  remainder = part(only.source, only.divisor, by);
  return true;
}

void Indexer::split(IndexExpression a, int64_t by, IndexExpression& quotient,
                    IndexExpression& remainder) const {
  if (split_exactly(a, by, quotient, remainder)) return;
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
