#include <encore/trace/lower.h>
#include <encore/trace/lower_cluster.h>
#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace encore::trace {
namespace {

/// partials[chunk][element] -> result[element]
jit::Kernel finish_kernel(jit::Reduce reduce, DType dtype, DType stored, int64_t chunks,
                          int64_t count) {
  KernelBuilder builder;
  builder.add_axis(jit::Role::row, chunks);
  builder.add_axis(jit::Role::inner, count);
  uint32_t partials = builder.add_argument(dtype, jit::Use::read);
  uint32_t result = builder.add_argument(stored, jit::Use::write);
  builder.set_rows_per_chunk(chunks);
  builder.begin_phase();
  int64_t from[] = {count, 1}, to[] = {0, 1};
  builder.reduce_column(reduce, builder.load(partials, 0, from, {}, {}), result, to, 0);
  jit::Kernel kernel = builder.finish();
  kernel.name = "finish";
  return kernel;
}

class Lowering {
 public:
  Lowering(const Graph& graph, const Fusion& fusion, const jit::Limits& limits)
      : graph_(graph), fusion_(fusion), limits_(limits), buffer_of_(graph.nodes.size(), ~0u) {}

  LoweredTrace run() {
    std::vector<bool> stored = find_stored();
    for (const Cluster& cluster : fusion_.clusters) {
      lower_one(cluster, stored);
    }
    for (NodeId output : graph_.outputs) {
      uint32_t buffer = buffer_for(output);
      result_.buffers[buffer].is_output = true;
      result_.output_buffers.push_back(buffer);
    }
    return std::move(result_);
  }

 private:
  /// Members whose value someone outside their kernel reads.
  std::vector<bool> find_stored() const {
    std::vector<bool> stored(graph_.nodes.size());
    for (NodeId output : graph_.outputs) stored[output] = true;
    std::vector<std::set<uint32_t>> readers(
        graph_.nodes.size());  // clusters, through inlined nodes
    for (NodeId id = NodeId(graph_.nodes.size()); id-- > 0;) {
      uint32_t mine = fusion_.cluster_of[id];
      for (NodeId input : graph_.nodes[id].inputs) {
        if (mine != no_cluster)
          readers[input].insert(mine);
        else
          readers[input].insert(readers[id].begin(), readers[id].end());
      }
    }
    for (NodeId id = 0; id < graph_.nodes.size(); ++id) {
      uint32_t mine = fusion_.cluster_of[id];
      if (mine == no_cluster) continue;
      for (uint32_t reader : readers[id]) stored[id] = stored[id] || reader != mine;
      if (fusion_.is_column_result[id] || fusion_.clusters[mine].scatters) stored[id] = true;
    }
    return stored;
  }

  uint32_t buffer_for(NodeId id) {
    uint32_t& buffer = buffer_of_[id];
    if (buffer != ~0u) return buffer;
    const GraphNode& node = graph_.nodes[id];
    buffer = uint32_t(result_.buffers.size());
    result_.buffers.push_back(
        {.bytes = node.bytes(), .leaf = node.op == OpId::leaf ? node.slot : ~0u, .node = id});
    return buffer;
  }

  uint32_t partial_buffer(NodeId id, int64_t bytes) {
    result_.buffers.push_back({.bytes = bytes, .node = id, .is_partial = true});
    return uint32_t(result_.buffers.size()) - 1;
  }

  void lower_one(const Cluster& cluster, const std::vector<bool>& stored) {
    ClusterKernels made = lower_cluster(graph_, fusion_, cluster, stored, limits_);
    for (ClusterKernel& part : made.kernels) {
      PlannedKernel planned{.kernel = std::move(part.kernel),
                            .scalar_slots = std::move(part.scalar_slots),
                            .location = graph_.nodes[cluster.members.back()].location,
                            .cluster = fusion_.cluster_of[cluster.members[0]]};
      planned.kernel.name = name_of_cluster(cluster);
      std::vector<std::pair<NodeId, uint32_t>> to_finish;
      for (const ArgumentSource& source : part.arguments) {
        if (!source.is_partial) {
          planned.buffers.push_back(buffer_for(source.node));
          continue;
        }
        const jit::Argument& argument = planned.kernel.arguments[planned.buffers.size()];
        int64_t bytes = source.chunks * graph_.nodes[source.node].shape.numel() *
                        int64_t(size_of(argument.dtype));
        planned.buffers.push_back(partial_buffer(source.node, bytes));
        to_finish.push_back({source.node, planned.buffers.back()});
      }
      std::vector<ArgumentSource> sources = std::move(part.arguments);
      result_.kernels.push_back(std::move(planned));
      for (auto [node, partials] : to_finish) add_finish(node, partials, sources);
    }
  }

  void add_finish(NodeId id, uint32_t partials, const std::vector<ArgumentSource>& sources) {
    const GraphNode& node = graph_.nodes[id];
    auto source = std::find_if(sources.begin(), sources.end(), [&](const ArgumentSource& s) {
      return s.is_partial && s.node == id;
    });
    jit::Kernel kernel = finish_kernel(reduce_of(node.op), compute_dtype(node.dtype), node.dtype,
                                       source->chunks, node.shape.numel());
    result_.kernels.push_back({.kernel = std::move(kernel),
                               .buffers = {partials, buffer_for(id)},
                               .location = node.location,
                               .cluster = fusion_.cluster_of[id],
                               .finishes = id});
  }

  std::string name_of_cluster(const Cluster& cluster) const {
    std::string name;
    for (NodeId id : cluster.members) {
      if (name.size() > 48) return name + "_and_more";
      if (!name.empty()) name += '_';
      name += name_of(graph_.nodes[id].op);
    }
    return name;
  }

  const Graph& graph_;
  const Fusion& fusion_;
  const jit::Limits& limits_;
  std::vector<uint32_t> buffer_of_;
  LoweredTrace result_;
};

}  // namespace

LoweredTrace lower(const Graph& graph, const Fusion& fusion, const jit::Limits& limits) {
  return Lowering(graph, fusion, limits).run();
}

int64_t rows_per_chunk(int64_t rows, int64_t inner, const jit::Limits& limits) {
  int64_t most = std::clamp(limits.chunked_columns / std::max<int64_t>(inner, 1),
                            limits.most_chunks, limits.most_narrow_chunks);
  int64_t chunks = std::clamp<int64_t>(rows * inner / limits.chunk_elements, 1, most);
  return std::max<int64_t>(1, (rows + chunks - 1) / chunks);
}

}  // namespace encore::trace
