// The key's words, of nodes in the order in which a capture hands them over, users before inputs.
//
// What is computed or given gets a number where it first comes up: as an input, or as itself. It
// is named by a distance: 0 where it takes the next number, else back from the next number to its
// own. A node is a head word: op, dtype, form, whether it is stored, and three distances, to itself
// and to two inputs. What does not fit there follows: far distances, all inputs of a longer node, a
// literal's bits, the shape unless the form says that it is the first input's, attributes. Sources
// that a node is the first to name follow it.
#pragma once
#include <encore/core/error.h>
#include <encore/trace/capture.h>

namespace encore::trace {

/// Words appended in place.
class Words {
 public:
  explicit Words(std::vector<uint64_t>& words) : words_(words) { restart(); }
  ~Words() { words_.resize(size_t(at_ - words_.data())); }
  Words(const Words&) = delete;
  Words& operator=(const Words&) = delete;

  void restart() {
    words_.resize(256);
    at_ = words_.data();
    end_ = at_ + words_.size();
  }
  /// Before up to `count` calls of `put`.
  void make_room(size_t count) {
    if (size_t(end_ - at_) < count) [[unlikely]]
      grow(count);
  }
  void put(uint64_t word) { *at_++ = word; }
  uint64_t& operator[](size_t i) { return words_[i]; }

 private:
  void grow(size_t count);

  std::vector<uint64_t>& words_;
  uint64_t *at_, *end_;
};

/// What identities rename.
inline Node* without_identities(Node* node) {
  while (is_identity(node) && !node->materialized()) node = node->inputs[0];
  return node;
}

/// Also lists the leaves and scalars of a capture, in the order of their first use by what is
/// handed over. Whatever it is handed has a current `trace_position`.
class TraceKey {
 public:
  explicit TraceKey(Capture& into) : into_(into), words_(into.words) { restart(); }

  void restart();

  /// The distance to a value, which has its number then.
  uint32_t name(Node* value) {
    if (value->trace_position == not_numbered) return name_first(value);
    return next_ - value->trace_position;
  }
  uint32_t name_first(Node* value) {
    value->trace_position = next_++;
    return 0;
  }
  /// What is named next has this number.
  uint32_t next_number() const { return next_; }

  /// Any node but a given one.
  void write(Node* node, bool is_stored);

  /// An elementwise op of one or two inputs, by the distances to it and to them, named in this
  /// order.
  [[gnu::always_inline]] void write_short(Node* node, bool is_stored, uint32_t self, uint32_t first,
                                          uint32_t second) {
    words_.make_room(size_t(max_rank) + 6);
    if (self < far && first < far && second < far) [[likely]] {
      words_.put(head(node, is_stored) | uint64_t(self) << 25 | uint64_t(first) << 38 |
                 uint64_t(second) << 51);
    } else {
      words_.put(head(node, is_stored) | uint64_t(far) << 25);
      words_.put(self);
      words_.put(uint64_t(first) | uint64_t(second) << 32);
    }
    write_form(node);
  }

  /// The sources among the inputs of `node` whose number is at least `from`.
  void write_new_sources(const Node* node, uint32_t from);

  /// A root that is a number or the like.
  void write_given_root(Node* node);

  /// The first words and the last: what else decides, how much there is, what may be overwritten.
  void finish(uint64_t flags);

 private:
  static constexpr uint32_t far = (1u << 13) - 1;  // in the first field: distances follow

  static uint64_t head(const Node* node, bool is_stored) {
    // Four bytes that are one load; the last is known from the inputs.
    uint32_t facts = uint32_t(node->op) | uint32_t(node->dtype) << 8 |
                     uint32_t(node->form.packed) << 16 | uint32_t(node->number_dtype) << 24;
    return (facts & 0xffffff) | uint64_t(is_stored) << 24;
  }

  /// What the form announces.
  [[gnu::always_inline]] void write_form(Node* node) {
    if (node->number() == Number::scalar) [[likely]]
      into_.scalars.emplace_back(node);
    if (node->number() == Number::literal) words_.put(node->bits);
    if (!node->form.is_as_first()) write_shape(node);
  }

  uint32_t name_input(Node* input, bool& is_new_source);
  void write_long(Node* node, bool is_stored, uint32_t self, bool& has_new_source);
  void write_identity(Node* node);
  void write_shape(const Node* node);
  void write_source(Node* node);

  Capture& into_;
  Words words_;
  uint32_t next_ = 0;
};

}  // namespace encore::trace
