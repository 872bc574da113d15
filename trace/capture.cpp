#include <encore/core/error.h>
#include <encore/core/settings.h>
#include <encore/trace/capture.h>

#include <algorithm>

namespace encore::trace {
namespace {

uint64_t capture_number = 0;  // under the runtime's lock

constexpr uint32_t not_numbered = ~0u;

/// What `Node::trace_flags` says of a node in this capture.
enum Flag : uint8_t {
  needed = 1,    // to be computed
  stored = 2,    // its value outlives the trace
  held = 4,      // by the capture, as one user
  lives_on = 8,  // a node that keeps its inputs leads to it
};

/// A node that a trace reads instead of computing.
bool is_given(const Node* node) { return node->is_source() || node->materialized(); }

bool is_identity(const Node* node) { return node->op == OpId::variable; }

/// Whether `node` is nothing but a view of something given.
bool is_lazy_view(const Node* node) {
  while (!is_given(node)) {
    if ((family_of(node->op) != OpFamily::movement && !is_identity(node)) || node->input_count != 1)
      return false;
    node = node->inputs[0];
  }
  return true;
}

/// Makes the scratch of `node` this capture's.
void touch(Node* node) {
  if (node->trace_mark == capture_number) return;
  node->trace_mark = capture_number;
  node->trace_flags = 0;
  node->trace_users = 0;
  node->trace_position = not_numbered;
}

/// One more user, unless nothing holds the node any more.
bool try_retain(Node* node) {
  uint64_t count = node->references.load(std::memory_order_relaxed);
  while (count != 0 && !node->references.compare_exchange_weak(count, count + Node::one_user)) {
  }
  return count != 0;
}

/// The first walk, users before inputs: what is needed, and all that a node's users decide about
/// it.
class Needs {
 public:
  Needs(SyncKind kind, Device device, Capture& into) : kind_(kind), device_(device), into_(into) {}

  /// Wants `roots` and, but for a read, what handles ask for; leaves in the capture's `nodes` what
  /// they need, in record order.
  void find(std::span<Node* const> roots, PendingList& list) {
    uint32_t last = 0;
    bool listed = true;
    for (Node* root : roots) {
      if (is_given(root) || is_wanted(root)) continue;
      retain(root, Node::one_user);
      want(root);
      last = std::max(last, root->pending_position);
      listed &= root->pending == &list;
    }
    PendingList::Slots slots(list);
    if (kind_ != SyncKind::read) want_handles(slots.span());
    std::span<Node* const> ones =
        kind_ == SyncKind::read && listed ? slots.span().first(last + 1) : slots.span();
    if (!listed || !walk_list(ones, list)) walk_cone();
    std::reverse(into_.nodes.begin(), into_.nodes.end());
  }

 private:
  static bool is_wanted(const Node* node) {
    return node->trace_mark == capture_number && (node->trace_flags & held);
  }

  /// The caller has counted the capture as a user.
  void want(Node* node) {
    into_.held.push_back(node);
    touch(node);
    node->trace_flags = needed | stored | held;
    ++open_;
  }

  void want_handles(std::span<Node* const> pending) {
    for (Node* node : pending)
      if (node && node->device == device_ && node->handles() && !is_wanted(node) &&
          !is_lazy_view(node) && try_retain(node))
        want(node);
  }

  /// A list is in record order already. False where nodes of other threads are needed, or so few of
  /// these that a list's walk costs more than sorting them.
  bool walk_list(std::span<Node* const> pending, const PendingList& list) {
    constexpr size_t most_skipped = 1000;
    size_t skipped = 0;
    for (size_t i = pending.size(); open_ > 0; --i) {
      if (i == 0) return false;
      Node* node = pending[i - 1];
      if (node && node->trace_mark == capture_number && (node->trace_flags & needed)) {
        if (!visit(node, &list)) return false;
      } else if (++skipped > most_skipped + 8 * into_.nodes.size()) {
        return false;
      }
    }
    return true;
  }

  /// Starts again, with what is wanted.
  void walk_cone() {
    ++capture_number;
    into_.nodes.clear();
    std::vector<Node*> cone = into_.held;
    for (Node* node : cone) {
      touch(node);
      node->trace_flags = needed | stored | held;
    }
    for (size_t next = 0; next < cone.size(); ++next)
      for (Node* input : cone[next]->input_span()) {
        if (is_given(input)) continue;
        touch(input);
        if (input->trace_flags & needed) continue;
        input->trace_flags |= needed;
        cone.push_back(input);
      }
    std::stable_sort(cone.begin(), cone.end(),
                     [](const Node* a, const Node* b) { return a->sequence > b->sequence; });
    for (Node* node : cone) visit(node, nullptr);
  }

  /// Whether a read stores `node` for others than its users in the trace.
  bool is_asked_elsewhere(const Node* node) const {
    return kind_ == SyncKind::read && family_of(node->op) != OpFamily::movement &&
           is_used_elsewhere(node);
  }
  static bool is_used_elsewhere(const Node* node) {
    return node->handles() || node->users() > node->trace_users + bool(node->trace_flags & held);
  }

  /// All users of `node` were visited. False: an input is in no list, or not in `list`.
  bool visit(Node* node, const PendingList* list) {
    into_.nodes.push_back(node);
    --open_;
    // A tape that outlives this trace reads what rules need: stored once instead of computed twice.
    uint8_t saves = node->needs_gradient ? info(node->op).saves : uint8_t(saves_nothing);
    if (!is_identity(node) && ((saves & saves_result) || is_asked_elsewhere(node)))
      node->trace_flags |= stored;
    // It does when it lives on and a gradient may need them, or it has not been stored.
    bool keeps_inputs = (node->needs_gradient || !(node->trace_flags & stored)) &&
                        ((node->trace_flags & lives_on) || is_used_elsewhere(node));
    for (uint32_t i = 0; i < node->input_count; ++i) {
      Node* input = node->inputs[i];
      if (input->materialized()) {
        touch(input);
        input->trace_users += !keeps_inputs;  // of a leaf: users that let go of it
        continue;
      }
      if (input->is_source()) continue;
      touch(input);
      if (list && input->pending != list) return false;
      ++input->trace_users;
      open_ += !(input->trace_flags & needed);
      input->trace_flags |= needed | (keeps_inputs ? lives_on : 0);
      if (i < 3 && (saves >> i & 1) && !is_identity(input)) input->trace_flags |= stored;
    }
    return true;
  }

  SyncKind kind_;
  Device device_;
  Capture& into_;
  int64_t open_ = 0;  // needed nodes that were not visited yet
};

/// A leaf may be overwritten iff only nodes that let go of it with this trace refer to it.
bool may_donate(const Node* leaf) {
  return leaf->handles() == 0 && leaf->users() == leaf->trace_users &&
         leaf->buffer->references() == 1 && !leaf->buffer->is_foreign();
}

/// Words appended in place.
class Words {
 public:
  explicit Words(std::vector<uint64_t>& words) : words_(words) {
    words_.resize(256);
    at_ = words_.data();
  }
  ~Words() { words_.resize(size_t(at_ - words_.data())); }
  Words(const Words&) = delete;
  Words& operator=(const Words&) = delete;

  /// Before up to `count` calls of `put`.
  void make_room(size_t count) {
    size_t size = size_t(at_ - words_.data());
    if (size + count <= words_.size()) [[likely]]
      return;
    words_.resize(2 * words_.size() + count);
    at_ = words_.data() + size;
  }
  void put(uint64_t word) { *at_++ = word; }
  uint64_t& operator[](size_t i) { return words_[i]; }

 private:
  std::vector<uint64_t>& words_;
  uint64_t* at_;
};

/// The second walk, inputs first: numbers nodes and sources in the order of their first use and
/// writes the key's words.
class Canonical {
 public:
  explicit Canonical(Capture& into) : into_(into), words_(into.words) {
    words_.put(0);
    words_.put(0);
  }

  uint32_t number(Node* node) {
    touch(node);
    if (node->trace_position == not_numbered) write_source(node);
    return node->trace_position;
  }

  /// An identity is its input; nothing of it is in the key.
  void write(Node* node) {
    if (is_identity(node)) {
      node->trace_position = number(node->inputs[0]);
      return;
    }
    for (Node* input : node->input_span()) number(input);
    bool shaped_as_first = node->input_count && node->shape == node->inputs[0]->shape;
    head(node, node->op, shaped_as_first);
    for (uint32_t i = 0; i < node->input_count; i += 2) {
      uint64_t pair = next_ - node->inputs[i]->trace_position;
      if (i + 1 < node->input_count)
        pair |= uint64_t(next_ - node->inputs[i + 1]->trace_position) << 32;
      words_.put(pair);
    }
    for (int64_t value : node->attributes) words_.put(uint64_t(value));
    node->trace_position = next_++;
  }

  /// The last words: what is stored and what may be overwritten.
  void finish(uint64_t flags) {
    words_.make_room(into_.outputs.size() + into_.donated.size());
    for (Node* node : into_.outputs) words_.put(node->trace_position);
    for (uint8_t flag : into_.donated) words_.put(flag);
    words_[0] = flags;
    words_[1] = uint64_t(next_) | uint64_t(into_.outputs.size()) << 32;
  }

 private:
  void write_source(Node* node) {
    if (node->materialized()) {  // a leaf, whatever it once was
      if (node->buffer->is_lost())
        throw BufferLost("a value was overwritten by a program that then failed", node->location,
                         "load it again, from a checkpoint or from where it came");
      head(node, OpId::leaf, false);
      into_.leaves.push_back(node);
    } else {
      head(node, node->op, false);
      if (node->op == OpId::scalar) into_.scalars.push_back(node);
      if (node->op == OpId::literal) words_.put(node->bits);
      for (int64_t value : node->attributes) words_.put(uint64_t(value));
    }
    node->trace_position = next_++;
  }

  /// Leaves room for all other words of the node.
  void head(const Node* node, OpId op, bool shaped_as_first) {
    uint64_t attributes = op == OpId::leaf ? 0 : node->attributes.size();
    uint64_t inputs = node->is_source() || op == OpId::leaf ? 0 : node->input_count;
    words_.make_room(size_t(max_rank) + 2 + attributes + inputs);
    words_.put(uint64_t(op) | uint64_t(node->dtype) << 8 | uint64_t(node->shape.rank()) << 16 |
               uint64_t(shaped_as_first) << 23 | attributes << 24 | inputs << 32);
    if (shaped_as_first) return;
    for (int64_t extent : node->shape) words_.put(uint64_t(extent));
  }

  Capture& into_;
  Words words_;
  uint32_t next_ = 0;
};

uint64_t flags_word(Device device) {
  const Settings& s = settings();
  bool interpreted = s.backend == "reference";  // takes the CPU's place under the same device
  return uint64_t(s.strict) | uint64_t(s.fuse) << 1 | uint64_t(interpreted) << 2 |
         uint64_t(s.matmul_precision) << 3 | uint64_t(device.kind) << 8 |
         uint64_t(device.index) << 16;
}

Device device_of(const Capture& capture) {
  if (!capture.nodes.empty()) return capture.nodes[0]->device;
  return capture.outputs.empty() ? cpu : capture.outputs[0]->device;
}

/// Lists what is stored, and holds it: what lets go of its inputs must not destroy another output.
void list_output(Node* node, Capture& into) {
  into.outputs.push_back(node);
  if (node->trace_flags & held) return;
  retain(node, Node::one_user);
  node->trace_flags |= held;
  into.held.push_back(node);
}

/// Fills all but `nodes` and `key`.
void write_key(std::span<Node* const> roots, SyncKind kind, Capture& into) {
  Canonical canonical(into);
  for (Node* node : into.nodes) {
    canonical.write(node);
    if (node->trace_flags & stored) list_output(node, into);
  }
  for (Node* node : roots) {  // sources that a root asks for by themselves
    if (node->materialized() || !node->is_source()) continue;
    canonical.number(node);
    list_output(node, into);
  }
  into.donated.assign(into.leaves.size(), 0);
  if (kind == SyncKind::step && !settings().check_numerics)
    std::transform(into.leaves.begin(), into.leaves.end(), into.donated.begin(), may_donate);
  canonical.finish(flags_word(device_of(into)));
}

}  // namespace

void Capture::clear() noexcept {
  for (Node* node : held) release(node, Node::one_user);
  held.clear();
  nodes.clear();
  leaves.clear();
  scalars.clear();
  outputs.clear();
  donated.clear();
  words.clear();
}

void capture(std::span<Node* const> roots, SyncKind kind, Device device, Capture& into) {
  into.clear();
  ++capture_number;
  Needs(kind, device, into).find(roots, pending_list());
  write_key(roots, kind, into);
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
