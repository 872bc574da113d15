#include <encore/core/settings.h>
#include <encore/trace/choose_inlined.h>
#include <encore/trace/cluster_order.h>
#include <encore/trace/even_chunks.h>
#include <encore/trace/find_updates.h>
#include <encore/trace/fuse.h>
#include <encore/trace/paths.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <optional>

namespace encore::trace {
namespace {

/// A shared load smaller than this does not bring independent clusters together.
constexpr int64_t worth_sharing = 1 << 14;

uint32_t bit(int axis) { return axis < 0 ? 0 : 1u << axis; }

/// Whether both are chunks of unrolled loops, and not the same.
bool are_apart(uint32_t chunk, uint32_t other) { return chunk && other && chunk != other; }

void add_once(std::vector<NodeId>& to, NodeId id) {
  if (std::find(to.begin(), to.end(), id) == to.end()) to.push_back(id);
}

struct Draft {
  Cluster cluster;
  uint32_t instructions = 0;
  uint32_t chunk = 0;           // of an unrolled loop; 0: of none
  std::vector<NodeId> loads;    // what it reads from outside
  std::vector<NodeId> scalars;  // likewise
  std::vector<NodeId> leaves;   // of which it was a reader at its own points
};

/// Where a leaf was last read at its readers' own points.
struct Reader {
  uint32_t cluster = no_cluster;
  AxisMap axes;
};

class Fuser {
 public:
  Fuser(const Graph& graph, const jit::Limits& limits, bool updates_apart)
      : graph_(graph),
        limits_(limits),
        updates_apart_(updates_apart),
        budget_(limits.instructions * 3 / 4),
        fusing_(settings().fuse),
        inlined_(choose_inlined(graph, fusing_)),
        chunk_of_(even_chunks(graph, limits, budget_)),
        cluster_of_(graph.nodes.size(), no_cluster),
        axes_of_(graph.nodes.size()),
        column_result_(graph.nodes.size()),
        leaf_readers_(graph.nodes.size()),
        is_update_(find_updates(graph, inlined_)) {
    for (NodeId id = 0; id < graph.nodes.size(); ++id) {
      const GraphNode& node = graph.nodes[id];
      if (node.inputs.empty()) inlined_[id] = false;
    }
  }

  Fusion run() {
    for (NodeId id = 0; id < graph_.nodes.size(); ++id)
      if (!graph_.nodes[id].inputs.empty() && !inlined_[id]) place(id);
    for (NodeId output : graph_.outputs)
      if (graph_.nodes[output].inputs.empty() && graph_.nodes[output].op != OpId::leaf &&
          cluster_of_[output] == no_cluster)
        start(output);
    return finish();
  }

 private:
  bool is_member(NodeId id) const { return cluster_of_[id] != no_cluster; }
  uint32_t cluster_of(NodeId id) { return order_.find(cluster_of_[id]); }

  void place(NodeId id) {
    std::vector<Path> paths;
    collect_paths(graph_, id, inlined_, paths);
    std::vector<uint32_t> needs;   // clusters this node reads from
    std::vector<uint32_t> barred;  // those whose kernel must be over
    std::vector<uint32_t> candidates;
    const GraphNode& node = graph_.nodes[id];
    bool alone =
        node.op == OpId::matmul || node.op == OpId::index_add || node.op == OpId::scatter_add;
    for (const Path& path : paths) {
      if (is_member(path.source)) {
        uint32_t c = cluster_of(path.source);
        needs.push_back(c);
        std::optional<FusionRefusal> bar = find_bar(id, path, alone);
        if (bar) refusals_.push_back({id, path.source, *bar});
        (bar ? barred : candidates).push_back(c);
      } else if (auto reader = shared_reader(path); reader && !alone && fusing_) {
        candidates.push_back(order_.find(reader->cluster));
      }
    }
    // The largest index space first, so that small clusters are merged into it; then the youngest.
    std::sort(candidates.begin(), candidates.end(), [&](uint32_t a, uint32_t b) {
      size_t a_axes = drafts_[a].cluster.extents.size(), b_axes = drafts_[b].cluster.extents.size();
      return a_axes != b_axes ? a_axes > b_axes : a > b;
    });
    candidates.erase(std::unique(candidates.begin(), candidates.end()), candidates.end());
    bool placed = false;
    for (uint32_t candidate : candidates) {
      uint32_t c = order_.find(candidate);
      if (!placed)
        placed = join(id, c, paths, needs, barred);
      else if (order_.find(cluster_of_[id]) != c)
        merge(id, c, paths, needs);
    }
    if (!placed) start(id);
    // Whatever it could not join now stays a kernel of its own for it: a later merge through
    // another node would not have checked this edge.
    order_.add_dependencies(cluster_of(id), needs);
    note_loads(id, paths);
  }

  /// What keeps `id` out of the kernel that makes what it reads, whatever else is in there.
  std::optional<FusionRefusal> find_bar(NodeId id, const Path& path, bool alone) {
    if (!fusing_) return FusionRefusal::fusion_off;
    if (alone) return FusionRefusal::starts_kernel;
    if (column_result_[path.source]) return FusionRefusal::column_result;
    if (!path.aligned) return FusionRefusal::other_positions;
    if (stays_apart(id, path.source)) return FusionRefusal::update_apart;
    return {};
  }

  /// Whether `id` is an update that could follow in the kernel of a contraction, but shall not.
  bool stays_apart(NodeId id, NodeId source) {
    if (!is_update_[id] || drafts_[cluster_of(source)].cluster.contraction == ~0u) return false;
    updates_in_epilogues_ |= !updates_apart_;
    return updates_apart_;
  }

  /// Choosing among the parts of a concat takes instructions as well.
  uint32_t instructions_of(NodeId id, const std::vector<Path>& paths) const {
    constexpr uint32_t per_part = 8;
    size_t inputs = graph_.nodes[id].inputs.size();
    size_t parts = paths.size() > inputs ? paths.size() - inputs : 0;
    if (graph_.nodes[id].op == OpId::concat) parts = paths.size();
    return instruction_count(graph_.nodes[id]) + per_part * uint32_t(parts);
  }

  const Reader* shared_reader(const Path& path) const {
    const GraphNode& source = graph_.nodes[path.source];
    if (!path.aligned || source.op != OpId::leaf || source.bytes() < worth_sharing) return nullptr;
    const Reader& reader = leaf_readers_[path.source];
    return reader.cluster == no_cluster ? nullptr : &reader;
  }

  void note_loads(NodeId id, const std::vector<Path>& paths) {
    uint32_t c = cluster_of(id);
    Draft& draft = drafts_[c];
    draft.instructions += instructions_of(id, paths);
    for (const Path& path : paths) {
      bool outside = !is_member(path.source) || cluster_of(path.source) != c;
      OpId source = graph_.nodes[path.source].op;
      if (outside && source != OpId::literal)
        add_once(source == OpId::scalar ? draft.scalars : draft.loads, path.source);
      if (path.aligned && graph_.nodes[path.source].op == OpId::leaf && !draft.cluster.scatters &&
          graph_.nodes[id].op != OpId::matmul) {
        leaf_readers_[path.source] = {c, source_axes(path, axes_of_[id])};
        draft.leaves.push_back(path.source);
      }
    }
  }

  /// Axes of a path's source, given the axes of the reader's domain dims.
  AxisMap source_axes(const Path& path, const AxisMap& domain_axes) const {
    AxisMap axes;
    axes.fill(-1);
    for (int dim = 0; dim < graph_.nodes[path.source].shape.rank(); ++dim)
      if (path.dim_of[dim] >= 0) axes[dim] = domain_axes[path.dim_of[dim]];
    return axes;
  }

  void start(NodeId id) {
    uint32_t c = order_.add();
    drafts_.emplace_back();
    Cluster& cluster = drafts_.back().cluster;
    const GraphNode& node = graph_.nodes[id];
    const Shape& domain = domain_of(graph_, id);
    AxisMap axes;
    axes.fill(-1);
    for (int dim = 0; dim < domain.rank(); ++dim) {
      if (domain[dim] == 1 && node.op != OpId::matmul) continue;
      axes[dim] = int8_t(cluster.extents.size());
      cluster.extents.push_back(domain[dim]);
    }
    if (node.op == OpId::matmul) cluster.contraction = id;
    cluster.scatters = node.op == OpId::index_add || node.op == OpId::scatter_add;
    adopt(id, c, axes);
    settle_reduction(id, c);
  }

  void adopt(NodeId id, uint32_t c, const AxisMap& axes) {
    drafts_[c].cluster.members.push_back(id);
    if (chunk_of_[id]) drafts_[c].chunk = chunk_of_[id];
    cluster_of_[id] = c;
    axes_of_[id] = axes;
  }

  /// The axes that reduction `id` runs over, as a mask of the cluster's.
  uint32_t reduced_axes(NodeId id, const AxisMap& axes) const {
    uint32_t mask = 0;
    for (int dim = 0; dim < max_rank; ++dim)
      if (graph_.nodes[id].attributes[0] >> dim & 1) mask |= bit(axes[dim]);
    return mask;
  }

  enum class Kind { none, row, column, refused };

  Kind reduction_kind(NodeId id, const Cluster& cluster, const AxisMap& axes) const {
    if (graph_.nodes[id].family() != OpFamily::reduction) return Kind::none;
    uint32_t mask = reduced_axes(id, axes);
    if (mask == 0) return Kind::none;
    bool indexes =
        graph_.nodes[id].op == OpId::reduce_argmax || graph_.nodes[id].op == OpId::reduce_argmin;
    bool fresh = cluster.inner == 0;
    uint32_t last = 1u << (cluster.extents.size() - 1);
    bool row = fresh ? (mask & last) != 0 || indexes : mask == cluster.inner;
    if (settings().strict && row != naturally_row(id)) return Kind::refused;
    if (row)
      return cluster.contraction == ~0u && !(mask & cluster.rows) ? Kind::row : Kind::refused;
    bool free = !(mask & cluster.inner) && (cluster.rows == 0 || cluster.rows == mask) && !indexes;
    if (cluster.contraction != ~0u) {
      uint32_t m_axis = 1u << (cluster.extents.size() - 2);
      free &= mask == m_axis;
    }
    return free ? Kind::column : Kind::refused;
  }

  /// How a reduction runs that is alone in its kernel; strict mode knows no other order.
  bool naturally_row(NodeId id) const {
    const GraphNode& node = graph_.nodes[id];
    if (node.op == OpId::reduce_argmax || node.op == OpId::reduce_argmin) return true;
    const Shape& from = graph_.nodes[node.inputs[0]].shape;
    int last = from.rank() - 1;
    while (last > 0 && from[last] == 1) --last;
    return node.attributes[0] >> last & 1;
  }

  void settle_reduction(NodeId id, uint32_t c) {
    Cluster& cluster = drafts_[c].cluster;
    Kind kind = reduction_kind(id, cluster, axes_of_[id]);
    uint32_t mask = kind == Kind::none ? 0 : reduced_axes(id, axes_of_[id]);
    if (kind == Kind::row) cluster.inner = mask;
    if (kind == Kind::column) cluster.rows = mask, column_result_[id] = true;
  }

  bool has_too_many_arguments(size_t loads, size_t scalars, size_t members) const {
    return loads + members / 4 + 8 > limits_.arguments || scalars > limits_.scalars;
  }

  bool join(NodeId id, uint32_t c, const std::vector<Path>& paths,
            const std::vector<uint32_t>& needs, const std::vector<uint32_t>& barred) {
    auto refuse = [&](FusionRefusal reason) { return this->refuse(id, c, paths, reason); };
    Draft& draft = drafts_[c];
    if (draft.cluster.scatters) return refuse(FusionRefusal::scatters);
    for (uint32_t other : barred)
      if (order_.find(other) == c || order_.reaches(c, other))
        return refuse(FusionRefusal::must_be_over);
    for (uint32_t other : needs)
      if (order_.find(other) != c && order_.reaches(c, other)) return refuse(FusionRefusal::cycle);
    if (draft.instructions + instructions_of(id, paths) > budget_ ||
        are_apart(draft.chunk, chunk_of_[id]))
      return refuse(FusionRefusal::instructions);
    auto is_scalar = [&](const Path& path) { return graph_.nodes[path.source].op == OpId::scalar; };
    size_t scalars = size_t(std::count_if(paths.begin(), paths.end(), is_scalar));
    if (has_too_many_arguments(draft.loads.size() + paths.size() - scalars,
                               draft.scalars.size() + scalars, draft.cluster.members.size()))
      return refuse(FusionRefusal::arguments);
    Cluster trial = draft.cluster;
    auto axes = align(id, c, paths, trial);
    if (!axes) return refuse(FusionRefusal::index_space);
    if (repeats(trial, *axes)) return refuse(FusionRefusal::repeats);
    if (reduction_kind(id, trial, *axes) == Kind::refused) return refuse(FusionRefusal::other_axes);
    if (trial.extents.size() != draft.cluster.extents.size() && !may_extend(draft.cluster))
      return refuse(FusionRefusal::larger_space);
    draft.cluster.extents = trial.extents;
    adopt(id, c, *axes);
    settle_reduction(id, c);
    return true;
  }

  /// Whether a node that lies on these axes would be computed again and again along others: fine
  /// for row values (nothing on the inner or last axes), wasteful for anything else.
  static bool repeats(const Cluster& cluster, const AxisMap& axes) {
    uint32_t mine = 0;
    for (int8_t axis : axes) mine |= bit(axis);
    uint32_t missing = ((1u << cluster.extents.size()) - 1) & ~mine & ~cluster.inner;
    if (cluster.contraction != ~0u) return missing != 0;
    return missing != 0 && (mine == 0 || mine > (missing & -missing));
  }

  /// New (inner) axes may appear only while everything so far becomes a row value.
  static bool may_extend(const Cluster& cluster) {
    return cluster.inner == 0 && cluster.rows == 0 && cluster.contraction == ~0u &&
           !cluster.extents.empty();
  }

  /// Axes for the dims of `id`'s domain in cluster `c`; may append axes to `cluster`.
  std::optional<AxisMap> align(NodeId id, uint32_t c, const std::vector<Path>& paths,
                               Cluster& cluster) {
    const Shape& domain = domain_of(graph_, id);
    AxisMap axes;
    axes.fill(-1);
    uint32_t taken = 0;
    for (const Path& path : paths) {
      const AxisMap* known = axes_in(path, c);
      if (!known) continue;
      const Shape& shape = graph_.nodes[path.source].shape;
      for (int dim = 0; dim < shape.rank(); ++dim) {
        if (path.dim_of[dim] < 0 || (*known)[dim] < 0) continue;
        int8_t& axis = axes[path.dim_of[dim]];
        if (axis >= 0 && axis != (*known)[dim]) return {};
        if (axis < 0 && (taken & bit((*known)[dim]))) return {};
        axis = (*known)[dim];
        taken |= bit(axis);
      }
    }
    return fill_free_dims(domain, axes, taken, cluster);
  }

  std::optional<AxisMap> fill_free_dims(const Shape& domain, AxisMap axes, uint32_t taken,
                                        Cluster& cluster) {
    for (int dim = 0; dim < domain.rank(); ++dim) {
      if (domain[dim] == 1 || axes[dim] >= 0) continue;
      int axis = 0, count = int(cluster.extents.size());
      while (axis < count && ((taken & bit(axis)) || cluster.extents[axis] != domain[dim])) ++axis;
      if (axis == count) {
        bool last = true;
        for (int later = dim + 1; later < domain.rank(); ++later) last &= axes[later] < 0;
        if (!last || count == max_rank) return {};
        cluster.extents.push_back(domain[dim]);
      }
      axes[dim] = int8_t(axis);
      taken |= bit(axis);
    }
    return axes;
  }

  /// The cluster's axes of what a path reads, if that is a member of `c` or a leaf it reads.
  const AxisMap* axes_in(const Path& path, uint32_t c) {
    if (!path.aligned) return nullptr;
    if (is_member(path.source))
      return cluster_of(path.source) == c && !column_result_[path.source] ? &axes_of_[path.source]
                                                                          : nullptr;
    const Reader* reader = shared_reader(path);
    return reader && order_.find(reader->cluster) == c ? &reader->axes : nullptr;
  }

  /// Node `id`, a member already, also reads cluster `c`: make the two one kernel where that is
  /// legal.
  bool merge(NodeId id, uint32_t c, const std::vector<Path>& paths,
             const std::vector<uint32_t>& needs) {
    auto refuse = [&](FusionRefusal reason) { return this->refuse(id, c, paths, reason); };
    uint32_t mine = cluster_of(id);
    for (uint32_t other : needs)  // edges of `id`, which the order does not know yet
      if (order_.find(other) != mine && order_.find(other) != c && order_.reaches(c, other))
        return refuse(FusionRefusal::cycle);
    Draft &into = drafts_[mine], &from = drafts_[c];
    if (from.cluster.scatters || into.cluster.scatters) return refuse(FusionRefusal::scatters);
    if (from.cluster.contraction != ~0u && into.cluster.contraction != ~0u)
      return refuse(FusionRefusal::two_contractions);
    if (!order_.can_merge(mine, c)) return refuse(FusionRefusal::cycle);
    if (into.instructions + from.instructions > budget_ || are_apart(into.chunk, from.chunk))
      return refuse(FusionRefusal::instructions);
    if (has_too_many_arguments(into.loads.size() + from.loads.size(),
                               into.scalars.size() + from.scalars.size(),
                               into.cluster.members.size() + from.cluster.members.size()))
      return refuse(FusionRefusal::arguments);
    auto axis_of = translate(id, c, paths, from.cluster, into.cluster);
    if (!axis_of) return refuse(FusionRefusal::index_space);
    auto moved = [&](uint32_t mask) {
      uint32_t result = 0;
      for (size_t axis = 0; axis < from.cluster.extents.size(); ++axis)
        if (mask >> axis & 1) result |= bit((*axis_of)[axis]);
      return result;
    };
    if (!compatible(into.cluster, from.cluster, moved(from.cluster.inner),
                    moved(from.cluster.rows)))
      return refuse(FusionRefusal::other_axes);
    into.cluster.inner |= moved(from.cluster.inner);
    into.cluster.rows |= moved(from.cluster.rows);
    if (from.cluster.contraction != ~0u) into.cluster.contraction = from.cluster.contraction;
    absorb(mine, c, *axis_of);
    return true;
  }

  static bool compatible(const Cluster& into, const Cluster& from, uint32_t inner, uint32_t rows) {
    uint32_t all_inner = into.inner | inner, all_rows = into.rows | rows;
    if (inner && into.inner && inner != into.inner) return false;
    if (rows && into.rows && rows != into.rows) return false;
    if (all_inner & all_rows) return false;
    bool contracts = from.contraction != ~0u || into.contraction != ~0u;
    if (!contracts) return true;
    size_t count = into.extents.size();
    // The contraction's own axes must be the last two, in order: only the identity is accepted.
    return all_inner == 0 && from.extents == into.extents &&
           (all_rows == 0 || all_rows == 1u << (count - 2));
  }

  /// Cluster `from`'s axes as axes of `into`, as node `id` relates them; all must be found.
  std::optional<AxisMap> translate(NodeId id, uint32_t c, const std::vector<Path>& paths,
                                   const Cluster& from, const Cluster& into) {
    AxisMap axis_of;
    axis_of.fill(-1);
    uint32_t taken = 0;
    for (const Path& path : paths) {
      const AxisMap* known = axes_in(path, c);
      if (!known) continue;
      for (int dim = 0; dim < graph_.nodes[path.source].shape.rank(); ++dim) {
        if (path.dim_of[dim] < 0 || (*known)[dim] < 0) continue;
        int8_t mine = axes_of_[id][path.dim_of[dim]];
        int8_t& axis = axis_of[(*known)[dim]];
        if (mine < 0 || (axis >= 0 && axis != mine)) return {};
        axis = mine;
        taken |= bit(mine);
      }
    }
    for (size_t axis = 0; axis < from.extents.size(); ++axis) {
      if (axis_of[axis] >= 0) continue;
      // An axis the connection does not show: take the free one of the same extent.
      for (size_t mine = 0; mine < into.extents.size() && axis_of[axis] < 0; ++mine)
        if (!(taken & bit(int(mine))) && into.extents[mine] == from.extents[axis])
          axis_of[axis] = int8_t(mine), taken |= bit(int(mine));
      if (axis_of[axis] < 0) return {};
    }
    bool contracts = from.contraction != ~0u || into.contraction != ~0u;
    for (size_t axis = 0; axis < from.extents.size(); ++axis)
      if (contracts && axis_of[axis] != int8_t(axis)) return {};
    // Members that use only leading axes would be repeated along axes that are not theirs.
    bool missing_outer = from.extents.size() < into.extents.size() && !(taken & 1);
    return missing_outer ? std::nullopt : std::optional(axis_of);
  }

  void absorb(uint32_t mine, uint32_t c, const AxisMap& axis_of) {
    Draft &into = drafts_[mine], &from = drafts_[c];
    for (NodeId member : from.cluster.members) {
      cluster_of_[member] = mine;
      for (int8_t& axis : axes_of_[member])
        if (axis >= 0) axis = axis_of[axis];
      into.cluster.members.push_back(member);
    }
    for (NodeId leaf : from.leaves) {
      Reader& reader = leaf_readers_[leaf];
      if (reader.cluster != c) continue;
      reader.cluster = mine;
      for (int8_t& axis : reader.axes)
        if (axis >= 0) axis = axis_of[axis];
    }
    into.leaves.insert(into.leaves.end(), from.leaves.begin(), from.leaves.end());
    std::sort(into.cluster.members.begin(), into.cluster.members.end());
    into.instructions += from.instructions;
    if (from.chunk) into.chunk = from.chunk;
    for (NodeId load : from.loads) add_once(into.loads, load);
    for (NodeId scalar : from.scalars) add_once(into.scalars, scalar);
    from = {};
    order_.merge(mine, c);
  }

  /// Notes it for everything by which `id` and cluster `c` hang together.
  bool refuse(NodeId id, uint32_t c, const std::vector<Path>& paths, FusionRefusal reason) {
    for (const Path& path : paths) {
      const Reader* reader = is_member(path.source) ? nullptr : shared_reader(path);
      bool reads = is_member(path.source) && cluster_of(path.source) == c;
      if (reads || (reader && order_.find(reader->cluster) == c))
        refusals_.push_back({id, path.source, reason});
    }
    return false;
  }

  /// A later merge may have brought two together.
  std::vector<Refusal> final_refusals(const std::vector<uint32_t>& cluster_of) {
    std::erase_if(refusals_, [&](const Refusal& one) {
      return cluster_of[one.node] == cluster_of[one.other];
    });
    std::sort(refusals_.begin(), refusals_.end());
    refusals_.erase(std::unique(refusals_.begin(), refusals_.end()), refusals_.end());
    return std::move(refusals_);
  }

  Fusion finish() {
    Fusion fusion;
    std::vector<uint32_t> order = order_.sorted();
    std::vector<uint32_t> renamed(drafts_.size(), no_cluster);
    for (uint32_t c : order) {
      if (drafts_[c].cluster.members.empty()) continue;
      renamed[c] = uint32_t(fusion.clusters.size());
      fusion.clusters.push_back(std::move(drafts_[c].cluster));
    }
    fusion.cluster_of.assign(graph_.nodes.size(), no_cluster);
    for (NodeId id = 0; id < graph_.nodes.size(); ++id)
      if (is_member(id)) fusion.cluster_of[id] = renamed[cluster_of(id)];
    fusion.axes_of = std::move(axes_of_);
    fusion.is_column_result = std::move(column_result_);
    fusion.updates_in_epilogues = updates_in_epilogues_;
    fusion.refusals = final_refusals(fusion.cluster_of);
    return fusion;
  }

  const Graph& graph_;
  const jit::Limits& limits_;
  const bool updates_apart_;
  uint32_t budget_;  // of instructions; leaves room for addressing and finishing
  bool fusing_;
  std::vector<bool> inlined_;
  std::vector<uint32_t> chunk_of_;
  std::vector<Draft> drafts_;
  ClusterOrder order_;
  std::vector<uint32_t> cluster_of_;
  std::vector<AxisMap> axes_of_;
  std::vector<bool> column_result_;
  std::vector<Reader> leaf_readers_;
  std::vector<bool> is_update_;
  bool updates_in_epilogues_ = false;
  std::vector<Refusal> refusals_;
};

}  // namespace

Fusion fuse(const Graph& graph, const jit::Limits& limits, bool updates_apart) {
  return Fuser(graph, limits, updates_apart).run();
}

std::string to_text(const Graph& graph, const Fusion& fusion) {
  std::string text;
  for (size_t c = 0; c < fusion.clusters.size(); ++c) {
    const Cluster& cluster = fusion.clusters[c];
    text += fmt::format("cluster {} over [{}]{}{}{}:", c, fmt::join(cluster.extents, ", "),
                        cluster.inner ? fmt::format(" inner {:#b}", cluster.inner) : "",
                        cluster.rows ? fmt::format(" rows {:#b}", cluster.rows) : "",
                        cluster.contraction != ~0u ? " contraction" : "");
    for (NodeId id : cluster.members)
      text += fmt::format(" %{} {}", id, name_of(graph.nodes[id].op));
    text += '\n';
  }
  return text;
}

}  // namespace encore::trace
