// What a node's value is at a point of a kernel: ops become instructions, movements change the
// index.
//
// Members of the cluster are computed once a phase, at the kernel's own point; inlined nodes at
// whatever index they are asked for; everything else is loaded.
#pragma once
#include <encore/trace/index.h>
#include <encore/trace/lower_cluster.h>

#include <map>
#include <set>

namespace encore::trace {

class ValueLowering {
 protected:
  ValueLowering(const Graph& graph, const Fusion& fusion, const Cluster& cluster)
      : graph_(graph), fusion_(fusion), cluster_(cluster), indexer_(builder_, extents_) {}

  bool is_member(NodeId id) const;
  /// The index at which a member is computed: the kernel's own point.
  Index canonical(NodeId id) const;
  Index canonical_domain(NodeId id) const;
  uint32_t reduced_mask(NodeId id) const;
  Index index_of(const Shape& shape, const AxisMap& axes, uint32_t without) const;
  std::vector<int64_t> store_strides(NodeId id) const;
  /// The value of `id` at `index`, where `predicate` (if any) holds; elsewhere loads give 0.
  Value emit(NodeId id, const Index& index, Value predicate);
  Value scalar(const GraphNode& node);
  Value load(NodeId id, const Index& index, Value predicate);
  /// The row-major position of `index` in a tensor of `shape`.
  IndexExpression flatten(const Index& index, const Shape& shape) const;
  std::vector<int64_t> strides_of(const IndexExpression& flat) const;
  /// Right-aligned broadcasting of an input into its user's shape.
  Index broadcast_index(const Index& index, const Shape& from) const;
  Value input(const GraphNode& node, int i, const Index& index, Value predicate);
  Value both(Value a, Value b);
  Value compute(NodeId id, const Index& index, Value predicate);
  Value pad(const GraphNode& node, const Index& index, Value predicate);
  Value concat(const GraphNode& node, const Index& index, Value predicate);
  /// An index value as a position on an axis of `extent`, and whether it lies on it.
  IndexExpression position(Value raw, int64_t extent, Value& inside);
  Value guarded(NodeId id, const Index& index, Value predicate, Value inside);
  Value take(const GraphNode& node, const Index& index, Value predicate);
  Value take_along(const GraphNode& node, const Index& index, Value predicate);
  Value random_bits(const GraphNode& node, const Index& index, Value predicate);
  Value elementwise(const GraphNode& node, const Index& index, Value predicate);
  /// a * b + c as one fma, outside strict mode.
  Value contracted(OpId op, const Value* v);
  static bool narrow(const GraphNode& node);
  Value quantize(Value value, DType to);

  const Graph& graph_;
  const Fusion& fusion_;
  const Cluster& cluster_;
  KernelBuilder builder_;
  std::vector<int64_t> extents_;  // by kernel axis
  size_t plain_axes_ = 0;         // without the contracted one
  std::vector<int> axis_of_;      // cluster axis -> kernel axis
  Indexer indexer_;
  std::map<NodeId, Value> values_;          // of members, where alive
  std::map<NodeId, uint32_t> argument_of_;  // of what is loaded
  std::map<uint32_t, uint32_t> scalar_of_;  // scalar slot -> kernel scalar
  std::set<uint32_t> products_;             // values that may become part of an fma
  ClusterKernel result_;
};

}  // namespace encore::trace
