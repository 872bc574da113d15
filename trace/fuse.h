// Groups a graph's nodes into clusters: one cluster becomes one kernel (plus a finish where it adds
// up across rows in several chunks).
//
// Every node is given (a leaf or a source), *inlined* (a movement, or a cheap expression that costs
// no more to recompute than to load), or a member of exactly one cluster. A cluster has axes; every
// member is computed at the cluster's own point, so each of its dims lies on one axis (or has
// extent 1). Members whose dims use none of the `inner` axes are row values. A member reduces over
// exactly the inner axes (a row reduction: later members may use it) or exactly the `rows` axes (a
// column reduction: its value exists only after the kernel, so users stand in other clusters). A
// contraction is alone of its kind in its cluster; what follows it there is its epilogue.
//
// Joining saves the store and load of what is passed on, and never repeats work. Nodes are visited
// in record order; each joins the largest, then youngest, of its inputs' clusters that allows it
// without making a cycle. Unrolled loops too long for one kernel are cut evenly (even_chunks.h).
#pragma once
#include <encore/jit/backend.h>
#include <encore/trace/fusion_refusal.h>
#include <encore/trace/graph.h>

#include <array>
#include <string>

namespace encore::trace {

inline constexpr uint32_t no_cluster = ~0u;

/// dims -> axes of the cluster; -1 where the dim has extent 1 and lies on no axis.
using AxisMap = std::array<int8_t, max_rank>;

struct Cluster {
  std::vector<NodeId> members;   // inputs before users
  std::vector<int64_t> extents;  // by axis
  uint32_t inner = 0;            // axes that row reductions run over
  uint32_t rows = 0;             // axes that column reductions run over
  NodeId contraction = ~0u;      // a matmul, or none
  bool scatters = false;         // index_add or scatter_add: one member
};

struct Fusion {
  std::vector<Cluster> clusters;       // in an order that can run
  std::vector<uint32_t> cluster_of;    // by node; no_cluster: given or inlined
  std::vector<AxisMap> axes_of;        // by node; members only
  std::vector<bool> is_column_result;  // by node
  bool updates_in_epilogues = false;
  std::vector<Refusal> refusals;  // every read across kernels has one at least; sorted, no twins
};

/// `updates_apart`: a contraction's kernel takes in nothing that is there only to overwrite donated
/// leaves. Taking it in saves loads and launches; but a parameter that is updated where its
/// gradient is made keeps the activation alive whose gradient reads that parameter.
Fusion fuse(const Graph& graph, const jit::Limits& limits, bool updates_apart = false);

std::string to_text(const Graph& graph, const Fusion& fusion);

}  // namespace encore::trace
