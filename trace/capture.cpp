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
    std::span<Node* const> pending = slots.span();
    if (kind_ == SyncKind::read)
      pending = pending.first(std::min<size_t>(last + 1, pending.size()));
    if (!listed || !walk_list(pending)) walk_cone(pending);
    std::reverse(into_.nodes.begin(), into_.nodes.end());
  }

 private:
  static bool is_needed(const Node* node) {
    return node->trace_mark == capture_number && (node->trace_flags & needed);
  }
  static bool is_wanted(const Node* node) {
    return node->trace_mark == capture_number && (node->trace_flags & held);
  }

  /// The caller has counted the capture as a user.
  void want(Node* node) {
    into_.held.push_back(node);
    touch(node);
    open_ += !(node->trace_flags & needed);
    node->trace_flags |= needed | stored | held;
  }

  void want_if_handle(Node* node) {
    if (node->handles() && kind_ != SyncKind::read && node->device == device_ && !is_wanted(node) &&
        !is_lazy_view(node) && try_retain(node))
      want(node);
  }

  /// A list is in record order already. False where not all that is needed is in it, or a read
  /// needs so little of it that sorting costs less.
  bool walk_list(std::span<Node* const> pending) {
    constexpr size_t most_skipped = 1000, ahead = 6;
    size_t skipped = 0;
    for (size_t i = pending.size(); i-- > 0;) {
      if (i >= ahead) __builtin_prefetch(pending[i - ahead]);
      Node* node = pending[i];
      if (!node) continue;
      want_if_handle(node);
      if (is_needed(node)) {
        visit(node);
        if (kind_ == SyncKind::read && open_ == 0) return true;
      } else if (kind_ == SyncKind::read && ++skipped > most_skipped + 8 * into_.nodes.size()) {
        return false;
      }
    }
    return open_ == 0;
  }

  /// Starts again, with what is wanted.
  void walk_cone(std::span<Node* const> pending) {
    ++capture_number;
    into_.nodes.clear();
    for (Node* node : into_.held) {
      touch(node);
      node->trace_flags = needed | stored | held;
    }
    for (Node* node : pending)
      if (node) want_if_handle(node);
    std::vector<Node*> cone = into_.held;
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
    for (Node* node : cone) visit(node);
  }

  /// All users of `node` were visited.
  void visit(Node* node) {
    into_.nodes.push_back(node);
    --open_;
    uint8_t flags = node->trace_flags, saves = saves_nothing;
    uint64_t references = node->references.load(std::memory_order_acquire);
    bool is_used_elsewhere =
        references != Node::one_user * (uint64_t(node->trace_users) + bool(flags & held));
    if (kind_ == SyncKind::read && is_used_elsewhere && !is_identity(node) &&
        family_of(node->op) != OpFamily::movement)
      flags |= stored;
    if (node->needs_gradient) {
      // A tape that outlives this trace reads what rules need: stored once, not computed twice.
      saves = info(node->op).saves;
      if ((saves & saves_result) && !is_identity(node)) flags |= stored;
    }
    // It does when it lives on and a gradient may need them, or it has not been stored.
    bool keeps_inputs =
        (is_used_elsewhere || (flags & lives_on)) && (node->needs_gradient || !(flags & stored));
    node->trace_flags = flags;
    uint8_t given_to_inputs = needed | (keeps_inputs ? lives_on : 0);
    for (Node* input : node->input_span()) {
      bool is_saved = saves & 1;
      saves >>= 1;
      if (input->materialized()) {
        touch(input);
        input->trace_users += !keeps_inputs;  // of a leaf: users that let go of it
        continue;
      }
      if (input->is_source()) continue;
      touch(input);
      ++input->trace_users;
      open_ += !(input->trace_flags & needed);
      input->trace_flags |= given_to_inputs | (is_saved && !is_identity(input) ? stored : 0);
    }
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
///
/// A node is a head word, then its shape unless the head says that it is the first input's, then
/// the inputs that the head has no room for, then attributes. An input is the distance back to it;
/// or `fresh_scalar`: a scalar of the node's dtype that nothing named before, which has no words.
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
    if (node->input_count > 2) {
      for (Node* input : node->input_span()) number(input);
      put_head(node, node->op, node->input_count, 0);
      for (Node* input : node->input_span()) words_.put(next_ - input->trace_position);
    } else {
      write_short(node);
    }
    if (!is_elementwise(node->op))
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
  static constexpr uint32_t near = 0x7fff, fresh_scalar = near;  // distances below fit in a head

  /// At most two inputs. Sources come to be numbered before distances are taken.
  void write_short(Node* node) {
    uint64_t inputs = 0;
    bool is_fresh[2] = {};
    for (uint32_t i = 0; i < node->input_count; ++i) {
      Node* input = node->inputs[i];
      touch(input);
      if (input->trace_position != not_numbered) continue;
      if (input->op == OpId::scalar && input->dtype == node->dtype && !input->materialized()) {
        is_fresh[i] = true;
        into_.scalars.push_back(input);
        input->trace_position = next_++;
      } else {
        write_source(input);
      }
    }
    uint64_t far[2];
    uint32_t far_count = 0;
    for (uint32_t i = 0; i < node->input_count; ++i) {
      uint32_t distance = next_ - node->inputs[i]->trace_position;
      if (!is_fresh[i] && distance >= near) far[far_count++] = distance;
      uint64_t in_head = is_fresh[i] ? fresh_scalar : distance < near ? distance : 0;
      inputs |= in_head << (16 * i);
    }
    put_head(node, node->op, node->input_count, inputs);
    for (uint32_t i = 0; i < far_count; ++i) words_.put(far[i]);
  }

  void write_source(Node* node) {
    if (node->materialized()) {  // a leaf, whatever it once was
      if (node->buffer->is_lost())
        throw BufferLost("a value was overwritten by a program that then failed", node->location,
                         "load it again, from a checkpoint or from where it came");
      put_head(node, OpId::leaf, 0, 0);
      into_.leaves.push_back(node);
    } else {
      put_head(node, node->op, 0, 0);
      if (node->op == OpId::scalar) into_.scalars.push_back(node);
      if (node->op == OpId::literal) words_.put(node->bits);
      if (node->op == OpId::iota)
        for (int64_t value : node->attributes) words_.put(uint64_t(value));
    }
    node->trace_position = next_++;
  }

  /// Leaves room for all other words of the node.
  void put_head(const Node* node, OpId op, uint64_t input_count, uint64_t inputs) {
    static_assert(max_rank < 16);  // four bits
    uint64_t attributes = op == OpId::leaf || is_elementwise(op) ? 0 : node->attributes.size();
    ENCORE_ASSERT(attributes < 256);  // else it would run into the inputs' bits
    bool shape_follows = !(input_count && node->shaped_as_first);
    words_.make_room(size_t(max_rank) + 4 + attributes + input_count);
    // Many inputs are counted in a word of their own.
    uint64_t count = std::min<uint64_t>(input_count, 15);
    words_.put(uint64_t(op) | uint64_t(node->dtype) << 8 | uint64_t(node->shape.rank()) << 12 |
               count << 16 | uint64_t(shape_follows) << 20 | attributes << 24 | inputs << 32);
    if (count == 15) words_.put(input_count);
    if (!shape_follows) return;
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
  for (size_t i = 0; i < into.nodes.size(); ++i) {
    if (i + 6 < into.nodes.size()) __builtin_prefetch(into.nodes[i + 6]);
    Node* node = into.nodes[i];
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
  into.kind = kind;
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
