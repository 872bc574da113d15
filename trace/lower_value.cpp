#include <encore/core/settings.h>
#include <encore/lazy/compute_bits.h>
#include <encore/lazy/philox.h>
#include <encore/trace/lower_value.h>
#include <encore/trace/paths.h>

namespace encore::trace {
namespace {

bool has(uint32_t mask, size_t axis) { return mask >> axis & 1; }

}  // namespace

bool ValueLowering::is_member(NodeId id) const {
  return fusion_.cluster_of[id] == fusion_.cluster_of[cluster_.members[0]];
}

Index ValueLowering::canonical(NodeId id) const {
  return index_of(graph_.nodes[id].shape, fusion_.axes_of[id], reduced_mask(id));
}

Index ValueLowering::canonical_domain(NodeId id) const {
  return index_of(domain_of(graph_, id), fusion_.axes_of[id], 0);
}

uint32_t ValueLowering::reduced_mask(NodeId id) const {
  const GraphNode& node = graph_.nodes[id];
  return node.family() == OpFamily::reduction ? uint32_t(node.attributes[0]) : 0;
}

Index ValueLowering::index_of(const Shape& shape, const AxisMap& axes, uint32_t without) const {
  Index index(shape.rank());
  for (int dim = 0; dim < shape.rank(); ++dim)
    if (axes[dim] >= 0 && !has(without, dim)) index[dim] = indexer_.axis(axis_of_[axes[dim]]);
  return index;
}

std::vector<int64_t> ValueLowering::store_strides(NodeId id) const {
  const GraphNode& node = graph_.nodes[id];
  std::vector<int64_t> strides(extents_.size(), 0);
  int64_t stride = 1;
  for (int dim = node.shape.rank(); dim-- > 0;) {
    int axis = fusion_.axes_of[id][dim];
    if (axis >= 0 && !has(reduced_mask(id), dim)) strides[axis_of_[axis]] += stride;
    stride *= node.shape[dim];
  }
  return strides;
}

Value ValueLowering::emit(NodeId id, const Index& index, Value predicate) {
  const GraphNode& node = graph_.nodes[id];
  if (node.op == OpId::leaf) return load(id, index, predicate);
  // Even one that a cluster of its own stores: nothing says that it runs before this one.
  if (node.family() == OpFamily::source) return compute(id, index, predicate);
  if (fusion_.cluster_of[id] != no_cluster && !is_member(id)) return load(id, index, predicate);
  if (is_member(id)) {
    auto found = values_.find(id);
    if (found == values_.end() || !builder_.alive(found->second)) {
      ENCORE_ASSERT(node.family() != OpFamily::reduction);
      return values_[id] = compute(id, canonical(id), {});
    }
    return found->second;
  }
  return compute(id, index, predicate);
}

Value ValueLowering::scalar(const GraphNode& node) {
  auto [place, is_new] = scalar_of_.try_emplace(node.slot, 0);
  if (is_new) {
    place->second = builder_.add_scalar(compute_dtype(node.dtype));
    result_.scalar_slots.push_back(node.slot);
  }
  return builder_.emit(Opcode::scalar, compute_dtype(node.dtype), {}, place->second);
}

Value ValueLowering::load(NodeId id, const Index& index, Value predicate) {
  const GraphNode& node = graph_.nodes[id];
  auto [place, is_new] = argument_of_.try_emplace(id, 0);
  if (is_new) {
    place->second = builder_.add_argument(node.dtype, jit::Use::read);
    result_.arguments.push_back({id});
  }
  IndexExpression flat = flatten(index, node.shape);
  return builder_.load(place->second, flat.constant, strides_of(flat), flat.dynamic, predicate);
}

IndexExpression ValueLowering::flatten(const Index& index, const Shape& shape) const {
  IndexExpression flat;
  int64_t stride = 1;
  for (int dim = shape.rank(); dim-- > 0;) {
    flat = indexer_.sum(flat, indexer_.affine(index[dim], stride, 0));
    stride *= shape[dim];
  }
  return indexer_.resolved(flat);
}

std::vector<int64_t> ValueLowering::strides_of(const IndexExpression& flat) const {
  return {flat.coefficients.begin(), flat.coefficients.begin() + extents_.size()};
}

Index ValueLowering::broadcast_index(const Index& index, const Shape& from) const {
  Index result(from.rank());
  int shift = int(index.size()) - from.rank();
  for (int dim = 0; dim < from.rank(); ++dim)
    if (from[dim] != 1) result[dim] = index[dim + shift];
  return result;
}

Value ValueLowering::input(const GraphNode& node, int i, const Index& index, Value predicate) {
  NodeId id = node.inputs[i];
  return emit(id, broadcast_index(index, graph_.nodes[id].shape), predicate);
}

Value ValueLowering::both(Value a, Value b) {
  if (!a || !b) return a ? a : b;
  return builder_.emit(Opcode::bit_and, DType::boolean, {a, b});
}

Value ValueLowering::compute(NodeId id, const Index& index, Value predicate) {
  const GraphNode& node = graph_.nodes[id];
  switch (node.op) {
    case OpId::literal:
      return builder_.emit(Opcode::constant, compute_dtype(node.dtype), {}, 0,
                           compute_bits(node.dtype, node.bits));
    case OpId::scalar:
      return scalar(node);
    case OpId::iota:
      return indexer_.value(index[node.attributes[0]]);
    case OpId::matmul:
      return builder_.emit(Opcode::product, compute_dtype(node.dtype), {});
    case OpId::random_bits:
      return random_bits(node, index, predicate);
    case OpId::reshape: {
      const Shape& from = graph_.nodes[node.inputs[0]].shape;
      return emit(node.inputs[0], indexer_.reshape(index, node.shape, from), predicate);
    }
    case OpId::permute: {
      Index inner(index.size());
      for (size_t dim = 0; dim < index.size(); ++dim) inner[node.attributes[dim]] = index[dim];
      return emit(node.inputs[0], inner, predicate);
    }
    case OpId::expand:
      return input(node, 0, index, predicate);
    case OpId::slice: {
      Index inner(index.size());
      for (size_t dim = 0; dim < index.size(); ++dim)
        inner[dim] =
            indexer_.affine(index[dim], node.attributes[index.size() + dim], node.attributes[dim]);
      return emit(node.inputs[0], inner, predicate);
    }
    case OpId::pad:
      return pad(node, index, predicate);
    case OpId::concat:
      return concat(node, index, predicate);
    case OpId::take:
      return take(node, index, predicate);
    case OpId::take_along:
      return take_along(node, index, predicate);
    default:
      return elementwise(node, index, predicate);
  }
}

Value ValueLowering::pad(const GraphNode& node, const Index& index, Value predicate) {
  const Shape& from = graph_.nodes[node.inputs[0]].shape;
  Index inner(index.size());
  Value inside;
  for (size_t dim = 0; dim < index.size(); ++dim) {
    inner[dim] = indexer_.affine(index[dim], 1, -node.attributes[dim]);
    inside = both(inside, indexer_.in_bounds(inner[dim], from[int(dim)]));
  }
  Value value = emit(node.inputs[0], inner, both(predicate, inside));
  if (!inside) return value;
  return builder_.select(inside, value, emit(node.inputs[1], Index(), predicate));
}

Value ValueLowering::concat(const GraphNode& node, const Index& index, Value predicate) {
  int64_t axis = node.attributes[0], start = 0;
  Value result;
  for (NodeId part : node.inputs) {
    int64_t extent = graph_.nodes[part].shape[int(axis)];
    if (extent == 0) continue;
    Index inner = index;
    inner[axis] = indexer_.affine(index[axis], 1, -start);
    Value inside = indexer_.in_bounds(inner[axis], extent);
    Value value = emit(part, inner, both(predicate, inside));
    result = result && inside ? builder_.select(inside, value, result) : value;
    start += extent;
  }
  if (result) return result;
  return builder_.constant(compute_dtype(node.dtype), 0);  // nothing but empty parts
}

IndexExpression ValueLowering::position(Value raw, int64_t extent, Value& inside) {
  Value at = builder_.cast(raw, DType::i64), size = builder_.size(extent);
  Value zero = builder_.constant(DType::i64, 0);
  if (is_signed(raw.dtype))
    at = builder_.select(builder_.compare(Opcode::lt, at, zero), builder_.add(at, size), at);
  inside = both(builder_.compare(Opcode::le, zero, at), builder_.compare(Opcode::lt, at, size));
  IndexExpression expression;
  expression.dynamic = at;
  return expression;
}

Value ValueLowering::guarded(NodeId id, const Index& index, Value predicate, Value inside) {
  Value value = emit(id, index, both(predicate, inside));
  return builder_.select(inside, value, builder_.constant(value.dtype, 0));
}

Value ValueLowering::take(const GraphNode& node, const Index& index, Value predicate) {
  const Shape& from = graph_.nodes[node.inputs[0]].shape;
  int64_t axis = node.attributes[0];
  int count = graph_.nodes[node.inputs[1]].shape.rank();
  Index at(index.begin() + axis, index.begin() + axis + count);
  Value inside, raw = emit(node.inputs[1], at, predicate);
  Index inner(index.begin(), index.begin() + axis);
  inner.push_back(position(raw, from[int(axis)], inside));
  inner.insert(inner.end(), index.begin() + axis + count, index.end());
  return guarded(node.inputs[0], inner, predicate, inside);
}

Value ValueLowering::take_along(const GraphNode& node, const Index& index, Value predicate) {
  const Shape& from = graph_.nodes[node.inputs[0]].shape;
  int64_t axis = node.attributes[0];
  Value inside, raw = emit(node.inputs[1], index, predicate);
  Index inner = index;
  inner[axis] = position(raw, from[int(axis)], inside);
  return guarded(node.inputs[0], inner, predicate, inside);
}

Value ValueLowering::random_bits(const GraphNode& node, const Index& index, Value predicate) {
  IndexExpression flat = flatten(index, node.shape);
  auto bits = [&](Value value) { return builder_.bitcast(value, DType::u64); };
  return philox_word(builder_, bits(input(node, 0, index, predicate)),
                     bits(input(node, 1, index, predicate)), bits(indexer_.value(flat)),
                     int(node.attributes[0]));
}

Value ValueLowering::elementwise(const GraphNode& node, const Index& index, Value predicate) {
  const OpInfo& row = info(node.op);
  Value operands[3];
  for (size_t i = 0; i < node.inputs.size(); ++i)
    operands[i] = input(node, int(i), index, predicate);
  if (node.op == OpId::cast) {
    Value value = builder_.cast(operands[0], compute_dtype(node.dtype));
    return narrow(node) ? quantize(value, node.dtype) : value;
  }
  Value value = contracted(node.op, operands);
  if (!value) {
    value = row.lower(builder_, {operands, node.inputs.size()});
    // x * 1 folds to x, which is no product.
    bool product = builder_.instruction(value).op == Opcode::mul;
    if (node.op == OpId::mul && is_floating(value.dtype) && product) products_.insert(value.id);
  }
  return settings().strict && narrow(node) ? quantize(value, node.dtype) : value;
}

Value ValueLowering::contracted(OpId op, const Value* v) {
  if (settings().strict || (op != OpId::add && op != OpId::sub) || !is_floating(v[0].dtype))
    return {};
  for (int side : {0, 1}) {
    if (!products_.contains(v[side].id)) continue;
    auto operand = [&](int i) {
      return Value{builder_.instruction(v[side]).operands[i], v[side].dtype};
    };
    Value a = operand(0), b = operand(1), other = v[1 - side];
    if (op == OpId::add) return builder_.fma(a, b, other);
    return side == 0 ? builder_.fma(a, b, builder_.neg(other))
                     : builder_.fma(builder_.neg(a), b, other);
  }
  return {};
}

bool ValueLowering::narrow(const GraphNode& node) {
  return compute_dtype(node.dtype) != node.dtype;
}

Value ValueLowering::quantize(Value value, DType to) {
  return builder_.emit(Opcode::quantize, DType::f32, {value}, uint32_t(to));
}

}  // namespace encore::trace
