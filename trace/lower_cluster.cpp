#include <encore/core/settings.h>
#include <encore/trace/choose_inlined.h>
#include <encore/trace/lower_cluster.h>
#include <encore/trace/lower_value.h>
#include <encore/trace/paths.h>

#include <algorithm>
#include <set>

namespace encore::trace {
namespace {

using jit::Role;

/// Computing this many instructions again costs more than a store and a load in the nearest cache.
constexpr uint32_t worth_keeping = 10;

bool has(uint32_t mask, size_t axis) { return mask >> axis & 1; }

class ClusterLowering : private ValueLowering {
 public:
  ClusterLowering(const Graph& graph, const Fusion& fusion, const Cluster& cluster,
                  const std::vector<bool>& stored, const jit::Limits& limits)
      : ValueLowering(graph, fusion, cluster), stored_(stored), limits_(limits) {}

  ClusterKernel run() {
    choose_axes();
    find_phases();
    if (cluster_.contraction != ~0u) lower_operands();
    uint32_t last = 0;
    for (NodeId id : cluster_.members) last = std::max(last, phase_[id]);
    if (cluster_.contraction == ~0u) keep_expensive_values(last);
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
    builder_.store(Opcode::store_add, argument, flat.constant, strides_of(flat), flat.dynamic,
                   inside, value);
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
    if (cluster_.rows == 0) return;
    int64_t row_count = 1, inner_count = 1;
    for (size_t axis = 0; axis < count; ++axis)
      if (has(inner, axis) || has(rows, axis))
        (has(inner, axis) ? inner_count : row_count) *= cluster_.extents[axis];
    int64_t chunk = rows_per_chunk(row_count, inner_count, limits_);
    if (int64_t unit = limits_.product_chunk_rows; cluster_.contraction != ~0u)
      chunk = (chunk + unit - 1) / unit * unit;
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
        if (is_member(next))
          place->second.push_back(next);
        else if (fusion_.cluster_of[next] == no_cluster)
          stack.insert(stack.end(), graph_.nodes[next].inputs.begin(),
                       graph_.nodes[next].inputs.end());
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
    auto place = [&](Role role, int dim) {
      index[dim] = indexer_.axis(int(new_axis(role, shape[dim])));
    };
    for (int dim = 0; dim < shape.rank(); ++dim)
      if (dim != axis && dim != inner) place(Role::outer, dim);
    place(Role::row, axis);
    if (inner >= 0)
      place(Role::inner, inner);
    else
      new_axis(Role::inner, 1);
    plain_axes_ = extents_.size();
    return index;
  }

  /// What a phase must leave behind: its reductions and its stores.
  bool is_due(NodeId id, uint32_t phase) const {
    return phase_.at(id) == phase &&
           (stored_[id] || graph_.nodes[id].family() == OpFamily::reduction);
  }

  void lower_phase(uint32_t phase) {
    builder_.begin_phase();
    store_reduced();
    // Values kept by an earlier phase are loaded before anything may overwrite their place.
    for (const Kept& kept : kept_)
      if (phase > kept.first && phase <= kept.last) values_[kept.value] = load_kept(kept);
    std::set<NodeId> needed;
    for (NodeId id : cluster_.members)
      if (is_due(id, phase)) needed.insert(id);
    for (size_t i = cluster_.members.size(); i-- > 0;) {
      NodeId id = cluster_.members[i];
      if (!needed.contains(id) || is_known(id) || graph_.nodes[id].op == OpId::matmul) continue;
      for (NodeId source : sources(id))
        if (!is_known(source)) needed.insert(source);
    }
    for (NodeId id : cluster_.members)
      if (needed.contains(id)) lower_member(id, phase);
    for (const Kept& kept : kept_)
      if (phase == kept.first) store_kept(kept);
  }

  // --- values kept from one sweep to the next ---------------------------------------------------

  /// A value that several sweeps need and that costs more to compute than to load waits in the
  /// memory of a result which a later sweep writes at the same points: softmax's exponentials wait
  /// where the quotients will stand.
  struct Kept {
    NodeId value;
    NodeId place;
    uint32_t first, last;  // phases: computes it, reads it for the last time
  };

  void keep_expensive_values(uint32_t last) {
    std::map<NodeId, uint32_t> computed;  // in which phase first
    for (uint32_t phase = 0; phase <= last; ++phase) {
      std::vector<NodeId> stack;
      std::set<NodeId> seen;
      for (NodeId id : cluster_.members)
        if (is_due(id, phase)) stack.push_back(id);
      while (!stack.empty()) {
        NodeId id = stack.back();
        stack.pop_back();
        if (!seen.insert(id).second) continue;
        auto earlier = computed.find(id);
        if (earlier != computed.end() && runs_sweep(id) && is_kept(id, earlier->second, phase))
          continue;
        for (NodeId source : sources(id))
          if (!is_row_reduction(source)) stack.push_back(source);
      }
      for (NodeId id : seen) computed.try_emplace(id, phase);
    }
  }

  /// Whether `id`, computed in phase `first`, is or can be kept until `phase`.
  bool is_kept(NodeId id, uint32_t first, uint32_t phase) {
    for (Kept& kept : kept_)
      if (kept.value == id && phase <= phase_[kept.place])
        return kept.last = std::max(kept.last, phase), true;
    if (expense(id) < worth_keeping || stored_[id]) return false;
    for (NodeId place : cluster_.members) {
      bool fits = stored_[place] && phase_[place] >= phase &&
                  graph_.nodes[place].family() != OpFamily::reduction &&
                  graph_.nodes[place].dtype == compute_dtype(graph_.nodes[id].dtype) &&
                  !narrow(graph_.nodes[place]) && store_strides(place) == store_strides(id) &&
                  runs_everywhere(place);
      for (const Kept& other : kept_) fits &= other.place != place;
      if (!fits) continue;
      kept_.push_back({id, place, first, phase});
      return true;
    }
    return false;
  }

  /// Instructions that computing `id` again takes, up to the threshold.
  uint32_t expense(NodeId id) {
    uint32_t total = 0;
    std::vector<NodeId> stack{id};
    while (!stack.empty() && total < worth_keeping) {
      NodeId next = stack.back();
      stack.pop_back();
      if (is_row_reduction(next) || !runs_sweep(next)) continue;
      total += trace::instruction_count(graph_.nodes[next]);
      for (NodeId source : sources(next)) stack.push_back(source);
    }
    return total;
  }

  bool runs_sweep(NodeId id) const { return runs_inner(store_strides(id)); }
  bool runs_everywhere(NodeId id) const {
    std::vector<int64_t> strides = store_strides(id);
    for (size_t axis = 0; axis < plain_axes_; ++axis)
      if (strides[axis] == 0 && extents_[axis] > 1) return false;
    return true;
  }

  uint32_t place_argument(const Kept& kept) {
    auto [place, is_new] = place_arguments_.try_emplace(kept.place, 0);
    if (is_new) {
      place->second = builder_.add_argument(graph_.nodes[kept.place].dtype, jit::Use::update);
      result_.arguments.push_back({kept.place});
    }
    return place->second;
  }

  void store_kept(const Kept& kept) {
    builder_.store(Opcode::store, place_argument(kept), 0, store_strides(kept.place), {}, {},
                   values_[kept.value]);
  }

  Value load_kept(const Kept& kept) {
    return builder_.load(place_argument(kept), 0, store_strides(kept.place), {}, {});
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
      if (settings().strict && narrow(node)) reduced_to_round_.push_back(id);
    }
  }

  /// Row reductions are stored, and in strict mode rounded for whoever reads them here, once their
  /// value is known: in the next phase's row stage.
  void store_reduced() {
    for (NodeId id : reduced_to_round_) values_[id] = quantize(values_[id], graph_.nodes[id].dtype);
    reduced_to_round_.clear();
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
    builder_.reduce_column(reduce_of(node.op), value, argument, strides,
                           partial ? node.shape.numel() : 0);
  }

  bool runs_inner(const std::vector<int64_t>& strides) const {
    for (size_t axis = 0; axis < strides.size(); ++axis)
      if (strides[axis] != 0 && roles_[axis] == Role::inner) return true;
    return false;
  }

  void store(NodeId id, Value value) {
    auto kept = place_arguments_.find(id);
    uint32_t argument = kept != place_arguments_.end()
                            ? kept->second
                            : builder_.add_argument(graph_.nodes[id].dtype, jit::Use::write);
    if (kept == place_arguments_.end()) result_.arguments.push_back({id});
    builder_.store(Opcode::store, argument, 0, store_strides(id), {}, {}, value);
  }

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

  const std::vector<bool>& stored_;
  const jit::Limits& limits_;
  int64_t chunks_ = 1;
  std::vector<Role> roles_;  // by kernel axis
  std::map<NodeId, uint32_t> phase_;
  std::map<NodeId, std::vector<NodeId>> sources_;
  std::vector<Kept> kept_;
  std::map<NodeId, uint32_t> place_arguments_;  // results that hold something else first
  std::vector<NodeId> reduced_to_store_, reduced_to_round_;
};

}  // namespace

ClusterKernels lower_cluster(const Graph& graph, const Fusion& fusion, const Cluster& cluster,
                             const std::vector<bool>& stored, const jit::Limits& limits) {
  ClusterKernels result;
  auto lowering = [&] { return ClusterLowering(graph, fusion, cluster, stored, limits); };
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
  case OpId::reduce_##name:  \
    return jit::Reduce::name;
#include <encore/lazy/reduction.def>
#undef REDUCTION
    default:
      internal_error("the op is a reduction", std::source_location::current());
  }
}

}  // namespace encore::trace
