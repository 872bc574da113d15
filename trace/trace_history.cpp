#include <encore/trace/explain_miss.h>
#include <encore/trace/trace_history.h>
#include <fmt/format.h>

#include <algorithm>

namespace encore::trace {
namespace {

/// Less in common than this is another program, unless it was asked for by the same line.
constexpr double least_alike = 0.25;
/// What the same line that asks is worth, beside the share of ops in common.
constexpr double same_sync_bonus = 0.25;

size_t count_common(std::span<const uint32_t> a, std::span<const uint32_t> b) {
  size_t count = 0;
  for (size_t i = 0, j = 0; i < a.size() && j < b.size();) {
    if (a[i] == b[j])
      ++count, ++i, ++j;
    else if (a[i] < b[j])
      ++i;
    else
      ++j;
  }
  return count;
}

double share(size_t common, size_t a, size_t b) {
  return a + b ? 2.0 * double(common) / double(a + b) : 1.0;
}

/// How many positions, flags, outputs and leaves differ.
size_t count_differences(const KnownTrace& a, const KnownTrace& b) {
  const KnownTrace::Flags &f = a.flags, &g = b.flags;
  size_t count = (f.device != g.device) + (f.interpreted != g.interpreted) +
                 (f.strict != g.strict) + (f.fuse != g.fuse) + (a.kind != b.kind) +
                 (f.matmul_precision != g.matmul_precision);
  auto differs = [&](const KnownTrace::Node& x, const KnownTrace::Node& y) {
    return x.op != y.op || x.dtype != y.dtype || !std::ranges::equal(a.shape(x), b.shape(y)) ||
           !std::ranges::equal(a.attributes(x), b.attributes(y)) ||
           !std::ranges::equal(a.inputs(x), b.inputs(y)) || a.literal(x) != b.literal(y);
  };
  size_t nodes = std::min(a.nodes.size(), b.nodes.size());
  for (size_t i = 0; i < nodes; ++i) count += differs(a.nodes[i], b.nodes[i]);
  count += std::max(a.nodes.size(), b.nodes.size()) - nodes;
  size_t outputs = std::min(a.outputs.size(), b.outputs.size());
  for (size_t i = 0; i < outputs; ++i) count += a.outputs[i].node != b.outputs[i].node;
  count += std::max(a.outputs.size(), b.outputs.size()) - outputs;
  for (size_t i = 0; i < std::min(a.leaves.size(), b.leaves.size()); ++i)
    count += (a.leaves[i].kept == Kept::donated) != (b.leaves[i].kept == Kept::donated);
  return count;
}

/// Of ops alone, whatever their lines.
size_t count_common_ops(const KnownTrace& a, const KnownTrace& b) {
  size_t in_a[256] = {}, count = 0;
  for (const KnownTrace::Node& node : a.nodes) in_a[int(node.op)] += node.input_count != 0;
  for (const KnownTrace::Node& node : b.nodes)
    if (node.input_count && in_a[int(node.op)]) --in_a[int(node.op)], ++count;
  return count;
}

/// The trace of a process whose lines were never seen is new, however like another it may be.
Miss first_sight(const KnownTrace& now, const std::deque<KnownTrace>& known) {
  Miss miss{MissReason::first_sight, "the first trace of this process", now.sync};
  for (const KnownTrace::Node& node : now.nodes)
    if (node.input_count && node.location.line) {
      miss.where = node.location;
      break;
    }
  if (known.empty()) return miss;
  size_t most = 0;
  const KnownTrace* nearest = &known.back();
  for (const KnownTrace& trace : known)
    if (size_t common = count_common_ops(now, trace); common >= most)
      most = common, nearest = &trace;
  miss.difference = fmt::format(
      "none of the {} traces known came from these lines; one has {} of "
      "its {} ops",
      known.size(), most, now.lines.size());
  miss.has_nearest = true;
  miss.nearest = nearest->key;
  miss.nearest_sync = nearest->sync;
  return miss;
}

}  // namespace

const KnownTrace* TraceHistory::find_nearest(const KnownTrace& now) const {
  const KnownTrace* nearest = nullptr;
  double best = 0;
  size_t fewest = 0;
  for (auto trace = traces_.rbegin(); trace != traces_.rend(); ++trace) {
    double alike =
        share(count_common(now.lines, trace->lines), now.lines.size(), trace->lines.size());
    bool same_sync = same_place(now.sync, trace->sync);
    if (alike < least_alike && !same_sync) continue;
    double score = alike + (same_sync ? same_sync_bonus : 0);
    if (nearest && score < best) continue;
    size_t differences = count_differences(now, *trace);
    if (nearest && score == best && differences >= fewest) continue;
    nearest = &*trace, best = score, fewest = differences;
  }
  return nearest;
}

Miss TraceHistory::explain(const KnownTrace& now) const {
  if (auto known = fates_.find(now.key); known != fates_.end()) {
    const Fate& fate = known->second;
    Miss miss{fate.if_missed, std::string(info(fate.if_missed).meaning), now.sync, fate.sync};
    miss.has_nearest = true;
    miss.nearest = now.key;
    miss.nearest_sync = fate.sync;
    return miss;
  }
  const KnownTrace* nearest = find_nearest(now);
  if (!nearest) return first_sight(now, traces_);
  Miss miss = explain_difference(now, *nearest);
  miss.has_nearest = true;
  miss.nearest = nearest->key;
  miss.nearest_sync = nearest->sync;
  if (miss.reason == MissReason::stored_input)
    if (Location by = find_storing_sync(miss.where, now.sync); by.line)
      miss.difference += fmt::format(" (stored by the sync at {})", short_place(by));
  return miss;
}

/// Another sync that lately stored what the user's line `stored` makes.
Location TraceHistory::find_storing_sync(Location stored, Location not_this) const {
  for (auto trace = traces_.rbegin(); trace != traces_.rend(); ++trace) {
    if (same_place(trace->sync, not_this)) continue;
    for (const KnownTrace::Output& output : trace->outputs)
      if (same_place(trace->nodes[output.node].location, stored)) return trace->sync;
  }
  return {};
}

void TraceHistory::add(KnownTrace trace) {
  note(trace.key, {trace.sync, MissReason::evicted});
  std::erase_if(traces_, [&](const KnownTrace& other) {
    if (other.key != trace.key) return false;
    bytes_ -= other.bytes();
    return true;
  });
  bytes_ += trace.bytes();
  traces_.push_back(std::move(trace));
  while (traces_.size() > 1 && (traces_.size() > most_traces || bytes_ > most_bytes)) {
    bytes_ -= traces_.front().bytes();
    traces_.pop_front();
  }
}

void TraceHistory::note(Hash128 key, Fate fate) {
  if (fates_.insert_or_assign(key, fate).second) keys_.push_back(key);
  if (keys_.size() <= most_keys) return;
  fates_.erase(keys_.front());
  keys_.pop_front();
}

void TraceHistory::note_cleared(MissReason why) {
  for (auto& [key, fate] : fates_)
    if (fate.if_missed != MissReason::failed) fate.if_missed = why;
}

}  // namespace encore::trace
