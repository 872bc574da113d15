#include <encore/core/error.h>
#include <encore/core/settings.h>
#include <encore/trace/capture.h>

#include <algorithm>

namespace encore::trace {
namespace {

uint64_t capture_number = 0;  // under the runtime's lock

constexpr uint32_t not_numbered = ~0u;

/// A node that a trace reads instead of computing.
bool is_given(const Node* node) { return node->materialized() || node->is_source(); }

bool is_identity(const Node* node) { return family_of(node->op) == OpFamily::identity; }

/// Whether `node` is nothing but a view of something given.
bool is_lazy_view(const Node* node) {
  while (!is_given(node)) {
    if ((family_of(node->op) != OpFamily::movement && !is_identity(node)) || node->input_count != 1)
      return false;
    node = node->inputs[0];
  }
  return true;
}

/// Takes in the cone of `root`: every node not given that it needs. Each holds one user: its own, or
/// the one that it has from the snapshot.
void collect(Node* root, std::vector<Node*>& nodes) {
  auto take = [&](Node* node) {
    if (node->trace_mark == capture_number || is_given(node)) return;
    node->trace_mark = capture_number;
    node->trace_users = 0;
    if (node->snapshot_mark != capture_number) retain(node, Node::one_user);
    nodes.push_back(node);
  };
  size_t next = nodes.size();
  take(root);
  for (; next < nodes.size(); ++next)
    for (Node* input : nodes[next]->input_span()) take(input);
}

/// A tape that outlives this trace reads `node` later: store it once instead of computing it twice.
bool is_saved_for_gradient(const Node* node, const Node* user) {
  if (!user->needs_gradient) return false;
  uint8_t saves = info(user->op).saves;
  for (uint32_t i = 0; i < user->input_count && i < 3; ++i)
    if (user->inputs[i] == node && (saves >> i & 1)) return true;
  return false;
}

/// Marks the nodes whose value must outlive the trace, beyond the roots.
void choose_outputs(SyncKind kind, const std::vector<Node*>& nodes, std::vector<uint8_t>& stored) {
  for (Node* node : nodes)
    for (Node* input : node->input_span()) {
      if (is_given(input)) continue;
      ++input->trace_users;
      if (!is_identity(input) && is_saved_for_gradient(input, node)) stored[input->trace_order] = 1;
    }
  for (uint32_t i = 0; i < nodes.size(); ++i) {
    Node* node = nodes[i];
    if (is_identity(node)) continue;
    if (node->needs_gradient && (info(node->op).saves & saves_result)) stored[i] = 1;
    // One user is the capture itself.
    bool needed_elsewhere = node->users() > node->trace_users + 1;
    if (kind == SyncKind::read && family_of(node->op) != OpFamily::movement &&
        (needed_elsewhere || node->handles()))
      stored[i] = 1;
  }
}

/// A leaf may be overwritten iff only nodes that let go of it with this trace refer to it. A node
/// keeps its inputs when it lives on and a gradient may need them, or it has not been stored.
void choose_donations(Capture& into, const std::vector<uint8_t>& stored) {
  for (Node* leaf : into.leaves) leaf->trace_users = 0;
  std::vector<uint8_t> lives_on(into.nodes.size());
  for (uint32_t i = uint32_t(into.nodes.size()); i-- > 0;) {
    Node* node = into.nodes[i];
    bool held = node->handles() || node->users() > node->trace_users + 1;  // one is the capture
    bool keeps_inputs = (held || lives_on[i]) && (node->needs_gradient || !stored[i]);
    for (Node* input : node->input_span()) {
      if (input->materialized())
        input->trace_users += !keeps_inputs;
      else if (!input->is_source() && keeps_inputs)
        lives_on[input->trace_order] = 1;
    }
  }
  for (size_t i = 0; i < into.leaves.size(); ++i) {
    Node* leaf = into.leaves[i];
    into.donated[i] = leaf->handles() == 0 && leaf->users() == leaf->trace_users &&
                      leaf->buffer->references() == 1 && !leaf->buffer->is_foreign();
  }
}

/// Numbers nodes and sources in the order of their first use and writes the key's words.
class Canonical {
 public:
  explicit Canonical(Capture& into) : into_(into) {}

  uint32_t number(Node* node) {
    if (node->trace_mark != capture_number) {
      node->trace_mark = capture_number;
      node->trace_position = not_numbered;
    }
    if (node->trace_position == not_numbered) write_source(node);
    return node->trace_position;
  }

  /// An identity is its input; nothing of it is in the key.
  void write(Node* node) {
    if (is_identity(node)) {
      node->trace_position = number(node->inputs[0]);
      return;
    }
    numbers_.clear();
    for (Node* input : node->input_span()) numbers_.push_back(number(input));
    head(node, node->op, node->input_count);
    for (uint32_t input : numbers_) into_.words.push_back(next_ - input);
    for (int64_t value : node->attributes) into_.words.push_back(uint64_t(value));
    node->trace_position = next_++;
  }

 private:
  void write_source(Node* node) {
    if (node->materialized()) {  // a leaf, whatever it once was
      if (node->buffer->is_lost())
        throw BufferLost("a value was overwritten by a program that then failed", node->location,
                         "load it again, from a checkpoint or from where it came");
      head(node, OpId::leaf, 0);
      into_.leaves.push_back(node);
    } else {
      head(node, node->op, 0);
      if (node->op == OpId::scalar) into_.scalars.push_back(node);
      if (node->op == OpId::literal) into_.words.push_back(node->bits);
      for (int64_t value : node->attributes) into_.words.push_back(uint64_t(value));
    }
    node->trace_position = next_++;
  }

  void head(const Node* node, OpId op, uint64_t inputs) {
    uint64_t attributes = op == OpId::leaf ? 0 : node->attributes.size();
    into_.words.push_back(uint64_t(op) | uint64_t(node->dtype) << 8 |
                          uint64_t(node->shape.rank()) << 16 | attributes << 24 | inputs << 32);
    for (int64_t extent : node->shape) into_.words.push_back(uint64_t(extent));
  }

  Capture& into_;
  uint32_t next_ = 0;
  std::vector<uint32_t> numbers_;
};

uint64_t flags_word(Device device) {
  const Settings& s = settings();
  bool interpreted = s.backend == "reference";  // takes the CPU's place under the same device
  return uint64_t(s.strict) | uint64_t(s.fuse) << 1 | uint64_t(interpreted) << 2 |
         uint64_t(s.matmul_precision) << 3 |
         uint64_t(device.kind) << 8 | uint64_t(device.index) << 16;
}

Device device_of(const Capture& capture) {
  if (!capture.nodes.empty()) return capture.nodes[0]->device;
  return capture.outputs.empty() ? cpu : capture.outputs[0]->device;
}

/// `held` is in record order already; only nodes of other threads or of a read have to be sorted.
void put_in_record_order(const std::vector<Node*>& held, std::vector<Node*>& nodes) {
  std::vector<Node*> ordered;
  ordered.reserve(nodes.size());
  for (Node* node : held)
    if (node->trace_mark == capture_number) ordered.push_back(node);
  auto earlier = [](const Node* a, const Node* b) { return a->sequence < b->sequence; };
  if (ordered.size() == nodes.size()) {
    nodes.swap(ordered);
  } else {
    std::reverse(nodes.begin(), nodes.end());  // chains are found from their end
    if (!std::is_sorted(nodes.begin(), nodes.end(), earlier)) std::sort(nodes.begin(), nodes.end(), earlier);
  }
}

}  // namespace

void Capture::clear() noexcept {
  for (Node* node : nodes) release(node, Node::one_user);
  nodes.clear();
  leaves.clear();
  scalars.clear();
  outputs.clear();
  donated.clear();
  words.clear();
}

void capture(std::span<Node* const> roots, SyncKind kind, Capture& into) {
  into.clear();
  ++capture_number;
  std::vector<Node*> wanted(roots.begin(), roots.end());
  std::vector<Node*> held;
  if (kind != SyncKind::read) {
    held = pending_list().snapshot();
    for (Node* node : held) node->snapshot_mark = capture_number;
    for (Node* node : held)
      if (node->handles() && !is_lazy_view(node)) wanted.push_back(node);
  }
  for (Node* node : wanted) collect(node, into.nodes);
  put_in_record_order(held, into.nodes);
  for (uint32_t i = 0; i < into.nodes.size(); ++i) into.nodes[i]->trace_order = i;
  for (Node* node : held)
    if (node->trace_mark != capture_number) release(node, Node::one_user);  // not needed

  std::vector<uint8_t> stored(into.nodes.size());
  choose_outputs(kind, into.nodes, stored);
  std::vector<Node*> numbers;  // sources that a root asks for by themselves
  for (Node* node : roots)
    if (!node->materialized() && node->is_source()) numbers.push_back(node);
  for (Node* node : wanted)
    if (!is_given(node)) stored[node->trace_order] = 1;

  into.words.push_back(0);
  Canonical canonical(into);
  for (uint32_t i = 0; i < into.nodes.size(); ++i) {
    canonical.write(into.nodes[i]);
    if (stored[i]) into.outputs.push_back(into.nodes[i]);
  }
  for (Node* node : numbers) {
    canonical.number(node);
    into.outputs.push_back(node);
  }
  into.words[0] = flags_word(device_of(into));
  for (Node* node : into.outputs) into.words.push_back(node->trace_position);
  into.donated.assign(into.leaves.size(), 0);
  if (kind == SyncKind::step && !settings().check_numerics) choose_donations(into, stored);
  for (uint8_t flag : into.donated) into.words.push_back(flag);
  into.key = hash_words(into.words);
}

Graph build_graph(const Capture& capture) {
  Graph graph;
  graph.leaf_count = uint32_t(capture.leaves.size());
  graph.scalar_count = uint32_t(capture.scalars.size());
  graph.donated.assign(capture.donated.begin(), capture.donated.end());
  graph.device = device_of(capture);
  auto fill = [&](const Node* node) {
    if (graph.nodes.size() <= node->trace_position) graph.nodes.resize(node->trace_position + 1);
    GraphNode& to = graph.nodes[node->trace_position];
    bool leaf = node->materialized();
    to = {.op = leaf ? OpId::leaf : node->op,
          .dtype = node->dtype,
          .shape = node->shape,
          .bits = node->bits,
          .location = node->location,
          .scope = node->scope};
    if (leaf) return;
    to.attributes = node->attributes;
    for (const Node* input : node->input_span()) to.inputs.push_back(input->trace_position);
  };
  for (const Node* node : capture.nodes)
    for (const Node* input : node->input_span())
      if (is_given(input)) fill(input);
  for (const Node* node : capture.outputs)
    if (is_given(node)) fill(node);
  for (const Node* node : capture.nodes)
    if (!is_identity(node)) fill(node);
  for (uint32_t i = 0; i < capture.leaves.size(); ++i)
    graph.nodes[capture.leaves[i]->trace_position].slot = i;
  for (uint32_t i = 0; i < capture.scalars.size(); ++i)
    graph.nodes[capture.scalars[i]->trace_position].slot = i;
  for (const Node* node : capture.outputs) graph.outputs.push_back(node->trace_position);
  return graph;
}

}  // namespace encore::trace
