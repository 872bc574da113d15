#include <encore/trace/trace_key.h>

namespace encore::trace {

void Words::grow(size_t count) {
  size_t size = size_t(at_ - words_.data());
  words_.resize(2 * words_.size() + count);
  at_ = words_.data() + size;
  end_ = words_.data() + words_.size();
}

void TraceKey::restart() {
  words_.restart();
  words_.put(0);
  words_.put(0);
  next_ = 0;
}

uint32_t TraceKey::name_input(Node* input, bool& is_new_source) {
  input = without_identities(input);
  uint32_t distance = name(input);
  is_new_source |= distance == 0 && is_given(input);
  return distance;
}

void TraceKey::write(Node* node, bool is_stored) {
  if (is_identity(node)) {  // it is its input; nothing but an output of it is in the key
    if (is_stored) write_identity(node);
    return;
  }
  uint32_t self = name(node), from = next_;
  bool has_new_source = false;
  if (is_elementwise(node->op) && node->input_count <= 2) {
    uint32_t distances[2] = {};
    for (uint32_t i = 0; i < node->input_count; ++i)
      distances[i] = name_input(node->inputs[i], has_new_source);
    write_short(node, is_stored, self, distances[0], distances[1]);
  } else {
    write_long(node, is_stored, self, has_new_source);
  }
  if (has_new_source) write_new_sources(node, from);
}

void TraceKey::write_long(Node* node, bool is_stored, uint32_t self, bool& has_new_source) {
  size_t attributes = is_elementwise(node->op) ? 0 : node->attributes.size();
  words_.make_room(size_t(max_rank) + 5 + attributes + node->input_count);
  words_.put(head(node, is_stored));
  words_.put(self);
  words_.put(uint64_t(node->input_count) | uint64_t(attributes) << 32);
  for (Node* input : node->input_span()) words_.put(name_input(input, has_new_source));
  write_form(node);
  for (size_t i = 0; i < attributes; ++i) words_.put(uint64_t(node->attributes[i]));
}

void TraceKey::write_identity(Node* node) {
  bool is_new_source = false;
  words_.make_room(2);
  words_.put(uint64_t(OpId::variable));
  words_.put(name_input(node, is_new_source));
  if (is_new_source) write_source(without_identities(node));
}

// Numbers rise with the inputs, so one that was written is below the next.
void TraceKey::write_new_sources(const Node* node, uint32_t from) {
  for (Node* input : node->input_span()) {
    Node* value = without_identities(input);
    if (value->trace_position < from || !is_given(value)) continue;
    from = value->trace_position + 1;
    write_source(value);
  }
}

// No node's head word is like the first.
void TraceKey::write_given_root(Node* node) {
  words_.make_room(2);
  words_.put(uint64_t(OpId::scalar));
  uint32_t distance = name(node);
  words_.put(distance);
  if (distance == 0) write_source(node);
}

void TraceKey::write_shape(const Node* node) {
  words_.put(uint64_t(node->shape.rank()));
  for (int64_t extent : node->shape) words_.put(uint64_t(extent));
}

void TraceKey::write_source(Node* node) {
  OpId op = node->materialized() ? OpId::leaf : node->op;  // a leaf, whatever it once was
  size_t attributes = op == OpId::iota ? node->attributes.size() : 0;
  words_.make_room(size_t(max_rank) + 3 + attributes);
  words_.put(uint64_t(op) | uint64_t(node->dtype) << 8 |
             uint64_t(next_ - node->trace_position) << 16);
  write_shape(node);
  if (op == OpId::leaf) {
    if (node->buffer->is_lost())
      throw BufferLost("a value was overwritten by a program that then failed", node->location,
                       "load it again, from a checkpoint or from where it came");
    into_.leaves.push_back(node);
  }
  if (op == OpId::scalar) into_.scalars.emplace_back(node);
  if (op == OpId::literal) words_.put(node->bits);
  for (size_t i = 0; i < attributes; ++i) words_.put(uint64_t(node->attributes[i]));
}

void TraceKey::finish(uint64_t flags) {
  words_.make_room(into_.donated.size());
  for (uint8_t flag : into_.donated) words_.put(flag);
  words_[0] = flags;
  words_[1] = uint64_t(next_) | uint64_t(into_.outputs.size()) << 32;
}

}  // namespace encore::trace
