#include <encore/trace/known_trace.h>

#include <algorithm>
#include <cstring>

namespace encore::trace {
namespace {

KnownTrace::Flags current_flags(Device device) {
  const Settings& s = settings();
  return {device, s.backend == "reference", s.strict, s.fuse, s.check_numerics, s.matmul_precision};
}

StoredFor why_stored(const Node* node) {
  if (node->handles()) return StoredFor::handle;
  return node->needs_gradient ? StoredFor::gradient : StoredFor::others;
}

void add_node(const GraphNode& node, OpId made_by, KnownTrace& to) {
  to.nodes.push_back({node.op, made_by, node.dtype, uint8_t(node.shape.rank()),
                      uint32_t(node.attributes.size()), uint32_t(node.inputs.size()),
                      to.numbers.size(), node.location, node.scope});
  to.numbers.insert(to.numbers.end(), node.shape.begin(), node.shape.end());
  to.numbers.insert(to.numbers.end(), node.attributes.begin(), node.attributes.end());
  to.numbers.insert(to.numbers.end(), node.inputs.begin(), node.inputs.end());
  if (node.op == OpId::literal) to.numbers.push_back(int64_t(node.bits));
}

}  // namespace

std::string_view name_of(SyncKind kind) {
  switch (kind) {
    case SyncKind::read:
      return "read";
    case SyncKind::step:
      return "step";
    case SyncKind::cut:
      return "cut";
  }
  return "";
}

std::string_view name_of(Kept kept) {
  switch (kept) {
    case Kept::donated:
      return "it may be overwritten";
    case Kept::no_step:
      return "only a step may overwrite values";
    case Kept::checked:
      return "ENCORE_CHECK_NUMERICS needs it";
    case Kept::handle:
      return "a handle holds it";
    case Kept::users:
      return "something outside the trace still reads it";
    case Kept::shared_buffer:
      return "its buffer is shared";
    case Kept::foreign_buffer:
      return "its memory is the program's own";
  }
  return "";
}

Kept why_kept(const Node* leaf, bool donated, SyncKind kind) {
  if (donated) return Kept::donated;
  if (kind != SyncKind::step) return Kept::no_step;
  if (settings().check_numerics) return Kept::checked;
  if (leaf->handles()) return Kept::handle;
  if (leaf->buffer->is_foreign()) return Kept::foreign_buffer;
  return leaf->users() != leaf->trace_users ? Kept::users : Kept::shared_buffer;
}

uint32_t line_hash(OpId op, Location where) {
  return uint32_t(hash_text(where.file).low) * 31u + where.line * 0x9e3779b9u + uint32_t(op);
}

bool same_place(Location a, Location b) {
  return a.line == b.line && (a.file == b.file || std::strcmp(a.file, b.file) == 0);
}

int64_t KnownTrace::bytes() const {
  return int64_t(sizeof *this + nodes.size() * sizeof(Node) + numbers.size() * 8 +
                 outputs.size() * sizeof(Output) + leaves.size() * sizeof(Leaf) + lines.size() * 4);
}

KnownTrace remember(const Graph& graph, const Capture& capture, Location sync) {
  KnownTrace known;
  known.key = capture.key;
  known.kind = capture.kind;
  known.sync = sync;
  known.flags = current_flags(graph.device);
  size_t count = std::min(graph.nodes.size(), KnownTrace::most_nodes);
  known.is_whole = count == graph.nodes.size();
  for (size_t id = 0; id < count; ++id) {
    const GraphNode& node = graph.nodes[id];
    add_node(node, node.op == OpId::leaf ? capture.leaves[node.slot]->op : node.op, known);
    if (!node.inputs.empty()) known.lines.push_back(line_hash(node.op, node.location));
  }
  std::sort(known.lines.begin(), known.lines.end());
  for (size_t i = 0; i < graph.outputs.size(); ++i)
    if (graph.outputs[i] < count)
      known.outputs.push_back({graph.outputs[i], why_stored(capture.outputs[i])});
  for (NodeId id = 0; id < count; ++id)
    if (const GraphNode& node = graph.nodes[id]; node.op == OpId::leaf)
      known.leaves.push_back(
          {id, why_kept(capture.leaves[node.slot], graph.donated[node.slot], capture.kind)});
  known.nodes.shrink_to_fit();
  known.numbers.shrink_to_fit();
  return known;
}

}  // namespace encore::trace
