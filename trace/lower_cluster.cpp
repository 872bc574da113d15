#include <encore/trace/lower_cluster.h>

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include <encore/core/settings.h>
#include <encore/lazy/compute_bits.h>
#include <encore/lazy/philox.h>
#include <encore/trace/index.h>
#include <encore/trace/paths.h>

namespace encore::trace {
namespace {

using jit::Role;

bool has(uint32_t mask, size_t axis) { return mask >> axis & 1; }

class ClusterLowering {
 public:
  ClusterLowering(const Graph& graph, const Fusion& fusion, const Cluster& cluster, const std::vector<bool>& stored)
      : graph_(graph), fusion_(fusion), cluster_(cluster), stored_(stored), indexer_(builder_, extents_) {}

  ClusterKernel run() {
    choose_axes();
    find_phases();
    if (cluster_.contraction != ~0u) lower_operands();
    uint32_t last = 0;
    for (NodeId id : cluster_.members) last = std::max(last, phase_[id]);
    for (uint32_t phase = 0; phase <= last; ++phase) lower_phase(phase);
    builder_.begin_phase();
    store_reduced();
    return finish();
  }

  /// The result of an index_add or scatter_add starts as its first input.
  ClusterKernel run_copy() {
    choose_axes();
    builder_.begin_phase();
    NodeId id = cluster_.members[0];
    Value value = emit(graph_.nodes[id].inputs[0], canonical(id), {});
    store(id, value);
    return finish();
  }

  /// Then the source is added to it, serially along the scattered axis.
  ClusterKernel run_scatter() {
    NodeId id = cluster_.members[0];
    const GraphNode& node = graph_.nodes[id];
    const Shape& shape = graph_.nodes[node.inputs[2]].shape;
    int axis = int(node.attributes[0]);
    Index index = scatter_axes(shape, axis);
    builder_.begin_phase();
    Index at = node.op == OpId::index_add ? Index{index[axis]} : index;
    Value inside, raw = emit(node.inputs[1], at, {});
    Index target = index;
    target[axis] = position(raw, node.shape[axis], inside);
    Value value = emit(node.inputs[2], index, {});
    uint32_t argument = builder_.add_argument(node.dtype, jit::Use::update);
    result_.arguments.push_back({id});
    IndexExpression flat = flatten(target, node.shape);
    builder_.store(Opcode::store_add, argument, flat.constant, strides_of(flat), flat.dynamic, inside, value);
    return finish();
  }

 private:
  // --- axes -------------------------------------------------------------------------------------

  void choose_axes() {
    uint32_t inner = cluster_.inner, rows = cluster_.rows;
    size_t count = cluster_.extents.size();
    if (cluster_.contraction != ~0u) {
      inner = 1u << (count - 1);
      rows = 1u << (count - 2);
    }
    if (inner == 0) inner = default_inner(rows, count);
    axis_of_.assign(count, -1);
    for (Role role : {Role::outer, Role::row, Role::inner})
      for (size_t axis = 0; axis < count; ++axis) {
        Role mine = has(inner, axis) ? Role::inner : has(rows, axis) ? Role::row : Role::outer;
        if (mine == role) axis_of_[axis] = int(new_axis(role, cluster_.extents[axis]));
      }
    if (inner == 0) new_axis(Role::inner, 1);
    plain_axes_ = extents_.size();
    if (cluster_.contraction != ~0u) {
      const Shape& a = graph_.nodes[graph_.nodes[cluster_.contraction].inputs[0]].shape;
      new_axis(Role::contracted, a[a.rank() - 1]);
    }
    int64_t row_count = 1, inner_count = 1, outer_count = 1;
    for (size_t axis = 0; axis < count; ++axis)
      (has(inner, axis) ? inner_count : has(rows, axis) ? row_count : outer_count) *= cluster_.extents[axis];
    if (cluster_.rows == 0) return;
    int64_t chunk = rows_per_chunk(row_count, inner_count, outer_count);
    builder_.set_rows_per_chunk(chunk);
    chunks_ = std::max<int64_t>(1, (row_count + chunk - 1) / chunk);
  }

  /// Behind the reduced rows everything is inner; without such rows the last axis is.
  static uint32_t default_inner(uint32_t rows, size_t count) {
    uint32_t inner = 0;
    for (size_t axis = count; axis-- > 0;) {
      if (has(rows, axis)) {
        if (inner) break;
        continue;
      }
      inner |= 1u << axis;
      if (rows == 0) break;
    }
    return inner;
  }

  uint32_t new_axis(Role role, int64_t extent) {
    extents_.push_back(extent);
    roles_.push_back(role);
    return builder_.add_axis(role, extent);
  }

  // --- phases -----------------------------------------------------------------------------------

  bool is_member(NodeId id) const {
    uint32_t mine = fusion_.cluster_of[cluster_.members[0]];
    return fusion_.cluster_of[id] == mine;
  }

  bool is_row_reduction(NodeId id) const {
    return graph_.nodes[id].family() == OpFamily::reduction && !fusion_.is_column_result[id];
  }

  /// Members that `id` reads, directly or through inlined nodes.
  const std::vector<NodeId>& sources(NodeId id) {
    auto [place, is_new] = sources_.try_emplace(id);
    if (is_new) {
      std::vector<NodeId> stack(graph_.nodes[id].inputs);
      while (!stack.empty()) {
        NodeId next = stack.back();
        stack.pop_back();
        if (is_member(next)) place->second.push_back(next);
        else if (fusion_.cluster_of[next] == no_cluster)
          stack.insert(stack.end(), graph_.nodes[next].inputs.begin(), graph_.nodes[next].inputs.end());
      }
    }
    return place->second;
  }

  /// A node's phase is the first sweep in which all it needs is known.
  void find_phases() {
    for (NodeId id : cluster_.members) {
      uint32_t phase = 0;
      if (graph_.nodes[id].op != OpId::matmul)
        for (NodeId source : sources(id))
          phase = std::max(phase, phase_[source] + (is_row_reduction(source) ? 1 : 0));
      phase_[id] = phase;
    }
  }

  ClusterKernel finish() {
    result_.kernel = builder_.finish();
    return std::move(result_);
  }

  /// The scattered axis is the serial row axis; the last other one is inner.
  Index scatter_axes(const Shape& shape, int axis) {
    Index index(shape.rank());
    int inner = shape.rank() - 1 == axis ? shape.rank() - 2 : shape.rank() - 1;
    auto place = [&](Role role, int dim) { index[dim] = indexer_.axis(int(new_axis(role, shape[dim]))); };
    for (int dim = 0; dim < shape.rank(); ++dim)
      if (dim != axis && dim != inner) place(Role::outer, dim);
    place(Role::row, axis);
    if (inner >= 0) place(Role::inner, inner);
    else new_axis(Role::inner, 1);
    plain_axes_ = extents_.size();
    return index;
  }

  void lower_phase(uint32_t phase) {
    builder_.begin_phase();
    store_reduced();
    // What this phase must leave behind, and what that needs, in order.
    std::vector<bool> needed(graph_.nodes.size());
    for (NodeId id : cluster_.members)
      needed[id] = phase_[id] == phase && (stored_[id] || graph_.nodes[id].family() == OpFamily::reduction);
    for (size_t i = cluster_.members.size(); i-- > 0;) {
      NodeId id = cluster_.members[i];
      if (!needed[id] || graph_.nodes[id].op == OpId::matmul) continue;
      for (NodeId source : sources(id))
        if (!is_known(source)) needed[source] = true;
    }
    for (NodeId id : cluster_.members)
      if (needed[id]) lower_member(id, phase);
  }

  bool is_known(NodeId id) const {
    auto found = values_.find(id);
    return found != values_.end() && builder_.alive(found->second);
  }

  void lower_member(NodeId id, uint32_t phase) {
    const GraphNode& node = graph_.nodes[id];
    if (node.family() == OpFamily::reduction) {
      reduce(id);
      return;
    }
    if (!is_known(id)) values_[id] = compute(id, canonical(id), {});
    if (stored_[id] && phase_[id] == phase) store(id, values_[id]);
  }

  // --- reductions -------------------------------------------------------------------------------

  void reduce(NodeId id) {
    const GraphNode& node = graph_.nodes[id];
    NodeId input = node.inputs[0];
    Value value = emit(input, canonical_domain(id), {});
    DType dtype = compute_dtype(node.dtype);
    bool anything = false;
    for (int dim = 0; dim < graph_.nodes[input].shape.rank(); ++dim)
      anything |= (node.attributes[0] >> dim & 1) && fusion_.axes_of[id][dim] >= 0;
    bool indexes = node.op == OpId::reduce_argmax || node.op == OpId::reduce_argmin;
    if (!anything) {  // over extents of 1 only
      values_[id] = indexes ? builder_.constant(DType::i64, 0) : builder_.cast(value, dtype);
      if (stored_[id]) store(id, values_[id]);
    } else if (fusion_.is_column_result[id]) {
      reduce_column(id, value);
    } else {
      // Lanes run over sweep values: one that is the same for a whole row still counts every point.
      values_[id] = builder_.reduce_row(reduce_of(node.op), dtype, at_sweep(value));
      if (stored_[id]) reduced_to_store_.push_back(id);
    }
  }

  /// Row reductions are stored once their value is known: in the next phase's row stage.
  void store_reduced() {
    for (NodeId id : reduced_to_store_) store(id, values_[id]);
    reduced_to_store_.clear();
  }

  /// A value made to depend on the inner index without changing it.
  Value at_sweep(Value value) {
    if (builder_.level(value) == KernelBuilder::Level::sweep) return value;
    Value position = builder_.index(uint32_t(plain_axes_ - 1));
    Value always = builder_.compare(Opcode::le, builder_.constant(DType::i64, 0), position);
    return builder_.select(always, value, value);
  }

  void reduce_column(NodeId id, Value value) {
    const GraphNode& node = graph_.nodes[id];
    std::vector<int64_t> strides = store_strides(id);
    bool partial = chunks_ > 1;
    uint32_t argument = builder_.add_argument(partial ? value.dtype : node.dtype, jit::Use::write);
    result_.arguments.push_back({id, partial, chunks_});
    if (runs_inner(strides)) value = at_sweep(value);
    builder_.reduce_column(reduce_of(node.op), value, argument, strides, partial ? node.shape.numel() : 0);
  }

  bool runs_inner(const std::vector<int64_t>& strides) const {
    for (size_t axis = 0; axis < strides.size(); ++axis)
      if (strides[axis] != 0 && roles_[axis] == Role::inner) return true;
    return false;
  }

  // --- values -----------------------------------------------------------------------------------

  /// The index at which a member is computed: the kernel's own point.
  Index canonical(NodeId id) const { return index_of(graph_.nodes[id].shape, fusion_.axes_of[id], reduced_mask(id)); }
  Index canonical_domain(NodeId id) const { return index_of(domain_of(graph_, id), fusion_.axes_of[id], 0); }

  uint32_t reduced_mask(NodeId id) const {
    const GraphNode& node = graph_.nodes[id];
    return node.family() == OpFamily::reduction ? uint32_t(node.attributes[0]) : 0;
  }

  Index index_of(const Shape& shape, const AxisMap& axes, uint32_t without) const {
    Index index(shape.rank());
    for (int dim = 0; dim < shape.rank(); ++dim)
      if (axes[dim] >= 0 && !has(without, dim)) index[dim] = indexer_.axis(axis_of_[axes[dim]]);
    return index;
  }

  std::vector<int64_t> store_strides(NodeId id) const {
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

  void store(NodeId id, Value value) {
    uint32_t argument = builder_.add_argument(graph_.nodes[id].dtype, jit::Use::write);
    result_.arguments.push_back({id});
    builder_.store(Opcode::store, argument, 0, store_strides(id), {}, {}, value);
  }

  /// The value of `id` at `index`, where `predicate` (if any) holds; elsewhere loads give 0.
  Value emit(NodeId id, const Index& index, Value predicate) {
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

  Value scalar(const GraphNode& node) {
    auto [place, is_new] = scalar_of_.try_emplace(node.slot, 0);
    if (is_new) {
      place->second = builder_.add_scalar(compute_dtype(node.dtype));
      result_.scalar_slots.push_back(node.slot);
    }
    return builder_.emit(Opcode::scalar, compute_dtype(node.dtype), {}, place->second);
  }

  Value load(NodeId id, const Index& index, Value predicate) {
    const GraphNode& node = graph_.nodes[id];
    auto [place, is_new] = argument_of_.try_emplace(id, 0);
    if (is_new) {
      place->second = builder_.add_argument(node.dtype, jit::Use::read);
      result_.arguments.push_back({id});
    }
    IndexExpression flat = flatten(index, node.shape);
    return builder_.load(place->second, flat.constant, strides_of(flat), flat.dynamic, predicate);
  }

  /// The row-major position of `index` in a tensor of `shape`.
  IndexExpression flatten(const Index& index, const Shape& shape) const {
    IndexExpression flat;
    int64_t stride = 1;
    for (int dim = shape.rank(); dim-- > 0;) {
      flat = indexer_.sum(flat, indexer_.affine(index[dim], stride, 0));
      stride *= shape[dim];
    }
    return flat;
  }

  std::vector<int64_t> strides_of(const IndexExpression& flat) const {
    return {flat.coefficients.begin(), flat.coefficients.begin() + extents_.size()};
  }

  /// Right-aligned broadcasting of an input into its user's shape.
  Index broadcast_index(const Index& index, const Shape& from) const {
    Index result(from.rank());
    int shift = int(index.size()) - from.rank();
    for (int dim = 0; dim < from.rank(); ++dim)
      if (from[dim] != 1) result[dim] = index[dim + shift];
    return result;
  }

  Value input(const GraphNode& node, int i, const Index& index, Value predicate) {
    NodeId id = node.inputs[i];
    return emit(id, broadcast_index(index, graph_.nodes[id].shape), predicate);
  }

  Value both(Value a, Value b) {
    if (!a || !b) return a ? a : b;
    return builder_.emit(Opcode::bit_and, DType::boolean, {a, b});
  }

  Value compute(NodeId id, const Index& index, Value predicate) {
    const GraphNode& node = graph_.nodes[id];
    switch (node.op) {
      case OpId::literal:
        return builder_.emit(Opcode::constant, compute_dtype(node.dtype), {}, 0, compute_bits(node.dtype, node.bits));
      case OpId::scalar: return scalar(node);
      case OpId::iota: return indexer_.value(index[node.attributes[0]]);
      case OpId::matmul: return builder_.emit(Opcode::product, compute_dtype(node.dtype), {});
      case OpId::random_bits: return random_bits(node, index, predicate);
      case OpId::reshape: {
        const Shape& from = graph_.nodes[node.inputs[0]].shape;
        return emit(node.inputs[0], indexer_.reshape(index, node.shape, from), predicate);
      }
      case OpId::permute: {
        Index inner(index.size());
        for (size_t dim = 0; dim < index.size(); ++dim) inner[node.attributes[dim]] = index[dim];
        return emit(node.inputs[0], inner, predicate);
      }
      case OpId::expand: return input(node, 0, index, predicate);
      case OpId::slice: {
        Index inner(index.size());
        for (size_t dim = 0; dim < index.size(); ++dim)
          inner[dim] = indexer_.affine(index[dim], node.attributes[index.size() + dim], node.attributes[dim]);
        return emit(node.inputs[0], inner, predicate);
      }
      case OpId::pad: return pad(node, index, predicate);
      case OpId::concat: return concat(node, index, predicate);
      case OpId::take: return take(node, index, predicate);
      case OpId::take_along: return take_along(node, index, predicate);
      default: return elementwise(node, index, predicate);
    }
  }

  Value pad(const GraphNode& node, const Index& index, Value predicate) {
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

  Value concat(const GraphNode& node, const Index& index, Value predicate) {
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

  /// An index value as a position on an axis of `extent`, and whether it lies on it.
  IndexExpression position(Value raw, int64_t extent, Value& inside) {
    Value at = builder_.cast(raw, DType::i64), size = builder_.size(extent);
    Value zero = builder_.constant(DType::i64, 0);
    if (is_signed(raw.dtype))
      at = builder_.select(builder_.compare(Opcode::lt, at, zero), builder_.add(at, size), at);
    inside = both(builder_.compare(Opcode::le, zero, at), builder_.compare(Opcode::lt, at, size));
    IndexExpression expression;
    expression.dynamic = at;
    return expression;
  }

  Value guarded(NodeId id, const Index& index, Value predicate, Value inside) {
    Value value = emit(id, index, both(predicate, inside));
    return builder_.select(inside, value, builder_.constant(value.dtype, 0));
  }

  Value take(const GraphNode& node, const Index& index, Value predicate) {
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

  Value take_along(const GraphNode& node, const Index& index, Value predicate) {
    const Shape& from = graph_.nodes[node.inputs[0]].shape;
    int64_t axis = node.attributes[0];
    Value inside, raw = emit(node.inputs[1], index, predicate);
    Index inner = index;
    inner[axis] = position(raw, from[int(axis)], inside);
    return guarded(node.inputs[0], inner, predicate, inside);
  }

  Value random_bits(const GraphNode& node, const Index& index, Value predicate) {
    IndexExpression flat = flatten(index, node.shape);
    auto bits = [&](Value value) { return builder_.bitcast(value, DType::u64); };
    return philox_word(builder_, bits(input(node, 0, index, predicate)), bits(input(node, 1, index, predicate)),
                       bits(indexer_.value(flat)), int(node.attributes[0]));
  }

  Value elementwise(const GraphNode& node, const Index& index, Value predicate) {
    const OpInfo& row = info(node.op);
    Value operands[3];
    for (size_t i = 0; i < node.inputs.size(); ++i) operands[i] = input(node, int(i), index, predicate);
    if (node.op == OpId::cast) {
      Value value = builder_.cast(operands[0], compute_dtype(node.dtype));
      return narrow(node) ? quantize(value, node.dtype) : value;
    }
    Value value = contracted(node.op, operands);
    if (!value) {
      value = row.lower(builder_, {operands, node.inputs.size()});
      // x * 1 folds to x, which is no product.
      if (is_floating(value.dtype) && builder_.instruction(value).op == Opcode::mul) products_.insert(value.id);
    }
    return settings().strict && narrow(node) ? quantize(value, node.dtype) : value;
  }

  /// a * b + c as one fma, outside strict mode.
  Value contracted(OpId op, const Value* v) {
    if (settings().strict || (op != OpId::add && op != OpId::sub) || !is_floating(v[0].dtype)) return {};
    for (int side : {0, 1}) {
      if (!products_.contains(v[side].id)) continue;
      auto operand = [&](int i) { return Value{builder_.instruction(v[side]).operands[i], v[side].dtype}; };
      Value a = operand(0), b = operand(1), other = v[1 - side];
      if (op == OpId::add) return builder_.fma(a, b, other);
      return side == 0 ? builder_.fma(a, b, builder_.neg(other)) : builder_.fma(builder_.neg(a), b, other);
    }
    return {};
  }

  static bool narrow(const GraphNode& node) { return compute_dtype(node.dtype) != node.dtype; }
  Value quantize(Value value, DType to) { return builder_.emit(Opcode::quantize, DType::f32, {value}, uint32_t(to)); }

  // --- contraction ------------------------------------------------------------------------------

  void lower_operands() {
    const GraphNode& product = graph_.nodes[cluster_.contraction];
    int rank = product.shape.rank();
    Index index = canonical(cluster_.contraction);
    IndexExpression k = indexer_.axis(int(plain_axes_));
    for (int side : {0, 1}) {
      Index mine = index;
      mine[side == 0 ? rank - 1 : rank - 2] = k;
      builder_.begin_operand();
      DType dtype = compute_dtype(product.dtype);
      Value value = builder_.cast(emit(product.inputs[side], mine, {}), dtype);
      builder_.end_operand(side == 0, value, dtype);
    }
  }

  const Graph& graph_;
  const Fusion& fusion_;
  const Cluster& cluster_;
  const std::vector<bool>& stored_;
  KernelBuilder builder_;
  std::vector<int64_t> extents_;  // by kernel axis
  size_t plain_axes_ = 0;         // without the contracted one
  std::vector<int> axis_of_;      // cluster axis -> kernel axis
  int64_t chunks_ = 1;
  Indexer indexer_;
  std::map<NodeId, uint32_t> phase_;
  std::map<NodeId, std::vector<NodeId>> sources_;
  std::map<NodeId, Value> values_;
  std::map<NodeId, uint32_t> argument_of_;
  std::map<uint32_t, uint32_t> scalar_of_;
  std::set<uint32_t> products_;
  std::vector<NodeId> reduced_to_store_;
  std::vector<Role> roles_;       // by kernel axis
  ClusterKernel result_;
};

}  // namespace

ClusterKernels lower_cluster(const Graph& graph, const Fusion& fusion, const Cluster& cluster,
                             const std::vector<bool>& stored) {
  ClusterKernels result;
  auto lowering = [&] { return ClusterLowering(graph, fusion, cluster, stored); };
  if (cluster.scatters) {
    result.kernels.push_back(lowering().run_copy());
    result.kernels.push_back(lowering().run_scatter());
  } else {
    result.kernels.push_back(lowering().run());
  }
  return result;
}

jit::Reduce reduce_of(OpId op) {
  switch (op) {
#define REDUCTION(name, ...) \
  case OpId::reduce_##name: return jit::Reduce::name;
#include <encore/lazy/reduction.def>
#undef REDUCTION
    default: internal_error("the op is a reduction", std::source_location::current());
  }
}

}  // namespace encore::trace
