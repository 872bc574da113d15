#include <encore/core/settings.h>
#include <encore/trace/trace_key.h>

#include <algorithm>

namespace encore::trace {
namespace {

uint64_t capture_number = 0;  // under the runtime's lock

/// What `Node::trace_flags` says of a node in this capture.
enum Flag : uint8_t {
  needed = 1,    // to be computed
  stored = 2,    // its value outlives the trace
  held = 4,      // by the capture, as one user
  lives_on = 8,  // a node that keeps its inputs leads to it
};

/// Neither given nor an identity.
bool is_computed(const Node* node) { return node->op > OpId::to_device && !node->materialized(); }

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

/// A leaf may be overwritten iff only nodes that let go of it with this trace refer to it.
bool may_donate(const Node* leaf) {
  return leaf->handles() == 0 && leaf->users() == leaf->trace_users &&
         leaf->buffer->references() == 1 && !leaf->buffer->is_foreign();
}

/// The walk, users before inputs: what is needed, all that a node's users decide about it, and the
/// key.
class Walk {
 public:
  Walk(SyncKind kind, Device device, PendingList& list, Capture& into)
      : kind_(kind), device_(device), list_(list), into_(into), key_(into) {}

  /// Wants `roots` and, but for a read, what handles ask for, and captures what they need.
  void run(std::span<Node* const> roots) {
    for (Node* root : roots) {
      if (is_given(root) || is_wanted(root)) continue;
      retain(root, Node::one_user);
      want(root);
      note(root);
      if (root->pending == &list_) last_ = std::max<size_t>(last_, root->pending_position);
    }
    {
      PendingList::Slots slots(list_);
      if (!walk_list(slots.span())) walk_cone(slots.span());
    }
    std::reverse(into_.outputs.begin(), into_.outputs.end());
    std::reverse(into_.leaves.begin(), into_.leaves.end());
    std::reverse(into_.scalars.begin(), into_.scalars.end());
    for (Node* root : roots) {  // sources that a root asks for by themselves
      if (root->materialized() || !root->is_source()) continue;
      touch(root);
      key_.write_given_root(root);
      into_.outputs.push_back(root);
    }
    // What lets go of its inputs must not destroy another output.
    for (Node* output : into_.outputs) {
      if (output->trace_flags & held) continue;
      retain(output, Node::one_user);
      output->trace_flags |= held;
      into_.held.push_back(output);
    }
  }

  TraceKey& key() { return key_; }

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
    bool is_read = kind_ == SyncKind::read;
    size_t skipped = 0;
    if (is_read)
      pending = pending.first(std::min(last_ + 1, pending.size()));
    else if (is_listed_)
      stop_ = 0;
    for (size_t i = pending.size(); i-- > stop_;) {
      if (i >= ahead) __builtin_prefetch(pending[i - ahead]);
      Node* node = pending[i];
      if (!node) continue;
      want_if_handle(node);
      if (!is_needed(node)) {
        if (is_read && ++skipped > most_skipped + 8 * into_.nodes.size()) return false;
      } else if (!visit_plain(node)) {
        visit(node);
      }
    }
    return is_listed_;
  }

  /// Starts again, with what is wanted.
  void walk_cone(std::span<Node* const> pending) {
    ++capture_number;
    into_.forget_all_but_held();
    key_.restart();
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

  /// The common case of `visit`: an elementwise op that only users in the trace refer to, off the
  /// tape. False: it is not.
  bool visit_plain(Node* node) {
    bool is_plain = node->trace_flags == needed && !node->needs_gradient &&
                    node->references.load(std::memory_order_acquire) ==
                        Node::one_user * uint64_t(node->trace_users) &&
                    is_elementwise(node->op) && node->input_count - 1 < 2;
    if (!is_plain) return false;
    into_.nodes.push_back(node);
    uint32_t self = key_.name(node), from = key_.next_number();
    bool has_source = false;
    uint32_t first = meet(node->inputs[0], has_source), second = 0;
    if (node->input_count == 2) second = meet(node->inputs[1], has_source);
    key_.write_short(node, false, self, first, second);
    if (has_source) key_.write_new_sources(node, from);
    return true;
  }

  /// An input of a plain node: the distance to it.
  [[gnu::always_inline]] uint32_t meet(Node* input, bool& is_source) {
    if (input->trace_mark == capture_number || !is_computed(input)) [[unlikely]]
      return meet_again(input, is_source);
    input->trace_mark = capture_number;
    input->trace_users = 1;
    input->trace_flags = needed;
    note(input);
    return key_.name_first(input);
  }
  [[gnu::noinline]] uint32_t meet_again(Node* input, bool& is_source) {
    Node* value = meet_input(input);
    ++input->trace_users;
    if (!is_given(input)) {
      input->trace_flags |= needed;
      note(input);
    }
    is_source |= is_given(value);
    return key_.name(value);
  }

  /// Makes the scratch of an input and of what it renames this capture's.
  Node* meet_input(Node* input) {
    touch(input);
    if (!is_identity(input)) [[likely]]
      return input;
    Node* value = without_identities(input);
    touch(value);
    return value;
  }

  /// All users of `node` were visited.
  [[gnu::noinline]] void visit(Node* node) {
    into_.nodes.push_back(node);
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
    for (uint32_t i = 0; i < node->input_count; ++i) {
      Node* input = node->inputs[i];
      meet_input(input);
      if (is_given(input)) {
        input->trace_users += !keeps_inputs;  // of a leaf: users that let go of it
        continue;
      }
      ++input->trace_users;
      input->trace_flags |= given_to_inputs;
      if (saves && (saves >> node->place_of_input(i) & 1) && !is_identity(input))
        input->trace_flags |= stored;
      note(input);
    }
    if (flags & stored) into_.outputs.push_back(node);
    key_.write(node, flags & stored);
  }

  /// `node` is needed and pending.
  void note(const Node* node) {
    if (node->pending != &list_) [[unlikely]]
      is_listed_ = false, stop_ = nowhere;
    else if (kind_ == SyncKind::read && is_listed_)
      stop_ = std::min<size_t>(stop_, node->pending_position);
  }

  static constexpr size_t nowhere = ~size_t(0);
  SyncKind kind_;
  Device device_;
  PendingList& list_;
  Capture& into_;
  TraceKey key_;
  size_t last_ = 0, stop_ = nowhere;  // positions in the list between which a read is
  bool is_listed_ = true;             // so is all that is needed so far
};

uint64_t flags_word(Device device) {
  const Settings& s = settings();
  bool interpreted = s.backend == "reference";  // takes the CPU's place under the same device
  return uint64_t(s.strict) | uint64_t(s.fuse) << 1 | uint64_t(interpreted) << 2 |
         uint64_t(s.matmul_precision) << 3 | uint64_t(device.kind) << 8 |
         uint64_t(device.index) << 16;
}

}  // namespace

void Capture::clear() noexcept {
  for (Node* node : held) release(node, Node::one_user);
  held.clear();
  forget_all_but_held();
  donated.clear();
  words.clear();
}

void Capture::forget_all_but_held() noexcept {
  nodes.clear();
  leaves.clear();
  scalars.clear();
  outputs.clear();
}

void Capture::renew_scalars() {
  for (Scalar& scalar : scalars) scalar = Scalar(scalar.node);
}

void capture(std::span<Node* const> roots, SyncKind kind, Device device, Capture& into) {
  into.clear();
  into.kind = kind;
  into.device = device;
  ++capture_number;
  {
    Walk walk(kind, device, pending_list(), into);
    walk.run(roots);
    into.donated.assign(into.leaves.size(), 0);
    if (kind == SyncKind::step && !settings().check_numerics)
      std::transform(into.leaves.begin(), into.leaves.end(), into.donated.begin(), may_donate);
    walk.key().finish(flags_word(device));
  }
  into.key = hash_words(into.words);
}

}  // namespace encore::trace
