// One cluster as a kernel (two, where a scatter first copies what it adds to).
#pragma once
#include <encore/jit/backend.h>
#include <encore/jit/kernel.h>
#include <encore/trace/fuse.h>
#include <encore/trace/kernel_builder.h>

namespace encore::trace {

/// What a kernel's argument holds: a node's value, or the chunks of a column reduction's partial
/// results, laid out [chunk][the node's elements].
struct ArgumentSource {
  NodeId node;
  bool is_partial = false;
  int64_t chunks = 1;
};

struct ClusterKernel {
  jit::Kernel kernel;
  std::vector<ArgumentSource> arguments;
  std::vector<uint32_t> scalar_slots;
};

struct ClusterKernels {
  std::vector<ClusterKernel> kernels;
};

/// `stored[node]`: someone outside the cluster reads it.
ClusterKernels lower_cluster(const Graph& graph, const Fusion& fusion, const Cluster& cluster,
                             const std::vector<bool>& stored, const jit::Limits& limits);

jit::Reduce reduce_of(OpId op);

/// How many rows a chunk of column accumulators takes in: a matter of one reduction's own extents,
/// so that as many side by side give the same bits as each alone.
int64_t rows_per_chunk(int64_t rows, int64_t inner, const jit::Limits& limits);

}  // namespace encore::trace
