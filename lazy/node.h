// One recorded op.
//
// A node is immutable after recording, but for what happens under the runtime's lock: evaluation
// gives it a buffer, and then drops its inputs unless a gradient may still need them; a backward
// that consumes the tape (Evaluator::consume_tape) ends that need. Handles (Tensors) and users
// (nodes that read it) are counted apart in one atomic word; whoever drops the last of both
// destroys the node, iteratively.
//
// A pending node (no buffer, not a source) is listed in the PendingList of the thread that recorded
// it until it is materialized or destroyed, by whatever thread.
//
// Who holds the only reference to a node needs no atomic step to drop or convert it: a count rises
// only through a reference that exists, except that a thread captures what its own list holds.
// So the rule is: the only reference, and listed nowhere or on this thread.
#pragma once
#include <encore/core/counted.h>
#include <encore/core/location.h>
#include <encore/lazy/buffer.h>
#include <encore/lazy/op.h>
#include <encore/lazy/shape.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

namespace encore {

class PendingList;

/// A C++ number among an elementwise op's operands is no node: its consumer keeps it
/// (`Node::bits`).
enum class Number : uint8_t { none, scalar, literal };

/// What recording knows of a node's shape and number, packed for keys.
struct Form {
  uint8_t packed = 0;

  static constexpr Form as_first() { return {1}; }
  constexpr Form with(Number number, uint32_t place) const {
    return {uint8_t(packed | uint32_t(number) << 1 | place << 3)};
  }
  /// Whether the node is known to have its first input's shape.
  constexpr bool is_as_first() const { return packed & 1; }
  /// What the operands hold besides the inputs.
  constexpr Number number() const { return Number(packed >> 1 & 3); }
  constexpr uint32_t number_place() const { return packed >> 3; }
};

/// Four cache lines: what users and captures of a node look at comes first, what only its own
/// recording writes comes last.
struct alignas(64) Node {
  static constexpr uint64_t one_handle = 1, one_user = uint64_t(1) << 32;

  Node(OpId op, DType dtype, Device device, Location location, const char* scope)
      : op(op), dtype(dtype), device(device), location(location), scope(scope) {}
  /// Like its first input `model`.
  Node(OpId op, Form form, const Node& model, Location location, const char* scope)
      : op(op),
        dtype(model.dtype),
        form(form),
        number_dtype(model.dtype),
        device(model.device),
        bytes(model.bytes),
        location(location),
        scope(scope),
        shape(model.shape) {}

  std::atomic<uint64_t> references{one_handle};
  Node** inputs = inline_inputs;  // operands but for a number; concat's are on the heap
  Node* inline_inputs[3];
  uint32_t input_count = 0;
  // One word to captures.
  OpId op;
  DType dtype;
  Form form;
  DType number_dtype = DType::f32;
  Device device;
  bool needs_gradient = false;  // a tape node: keeps its inputs after it was materialized
  bool tape_consumed = false;   // was one, until a backward walked it
  // Scratch of the evaluating thread, under the runtime's lock.
  uint8_t trace_flags;      // of the capture
  uint64_t trace_mark = 0;  // which capture these belong to
  // The second line.
  uint32_t trace_users;     // users inside the capture
  uint32_t trace_position;  // number in that trace, sources included
  Ref<Buffer> buffer;       // set once materialized
  PendingList* pending = nullptr;
  uint32_t pending_position = 0;
  uint64_t bits = 0;      // of a number: scalar's, literal's, an operand's, as its dtype stores it
  uint64_t sequence = 0;  // above those of its inputs and of what its thread recorded before
  int64_t bytes = 0;      // of its value
  Location location;
  const char* scope;  // innermost name scope, a string that lives for ever
  Shape shape;        // up to four axes are in the third line
  std::vector<int64_t> attributes;
  std::weak_ptr<void> cell;  // variable: the parameter's cell

  uint32_t handles() const { return uint32_t(references.load(std::memory_order_acquire)); }
  uint32_t users() const { return uint32_t(references.load(std::memory_order_acquire) >> 32); }
  std::span<Node* const> input_span() const { return {inputs, input_count}; }
  Number number() const { return form.number(); }
  uint32_t operand_count() const { return input_count + (number() != Number::none); }
  /// Null: the number.
  Node* operand(uint32_t place) const {
    if (number() == Number::none || place < form.number_place()) return inputs[place];
    return place == form.number_place() ? nullptr : inputs[place - 1];
  }
  /// Where input number `i` stands among the operands.
  uint32_t place_of_input(uint32_t i) const {
    return i + (number() != Number::none && form.number_place() <= i);
  }
  bool is_source() const { return op <= OpId::iota; }
  bool materialized() const { return bool(buffer); }
};
static_assert(sizeof(Node) == 256);

/// Drops one handle or user (`Node::one_handle`, `Node::one_user`) and destroys what nothing holds.
void release(Node* node, uint64_t what) noexcept;
inline void retain(Node* node, uint64_t what) noexcept {
  node->references.fetch_add(what, std::memory_order_relaxed);
}

/// Lets go of a node's inputs (after it was materialized, or its tape was consumed).
void drop_inputs(Node* node) noexcept;

/// The nodes that a thread has recorded and nobody has computed, in record order.
///
/// The owner adds and removes without a lock: slots of the array belong to one node each. Other
/// threads remove under the lock; the owner takes it where it moves slots or reads them all.
class PendingList {
 public:
  /// Owner only. Where `add` needs more than a slot: it is full, empty or maybe over its budget;
  /// `attend` makes room for `next`.
  bool wants_attention() const { return end_ == attend_at_ || bytes_ > most_bytes_; }
  void attend(const Node& next);
  void add(Node* node);
  /// Called by whoever materializes or destroys a pending node.
  void remove(Node* node) noexcept;
  /// The owner ends. The list goes with the last of its nodes, which other threads may still hold.
  static void retire(PendingList* list) noexcept;
  size_t size() const {
    return size_t(end_ - begin_) - holes_ - holes_elsewhere_.load(std::memory_order_acquire);
  }
  /// Devices that pending nodes may be on; those of nodes that are gone may be among them. Owner
  /// only.
  std::span<const Device> devices() const { return devices_; }
  /// Bytes of results that the pending nodes would hold.
  int64_t bytes() const { return bytes_ - bytes_elsewhere_.load(std::memory_order_relaxed); }
  /// Place and op of the node that the list began with.
  Location first_location() const { return first_location_; }
  OpId first_op() const { return first_op_; }
  /// When the list was last begun, or a sync left something in it; 0: nobody listens, or before
  /// that.
  int64_t recording_since() const { return recording_since_; }
  void set_recording_since(int64_t nanoseconds) { recording_since_ = nanoseconds; }

  /// The slots in record order, holes null; nobody destroys a listed node while one lives. One
  /// whose count is zero is about to be destroyed and must not be held. Owner only.
  class Slots {
   public:
    explicit Slots(PendingList& list) : list_(list) { list.lock(); }
    ~Slots() { list_.unlock(); }
    Slots(const Slots&) = delete;
    Slots& operator=(const Slots&) = delete;
    std::span<Node* const> span() const { return {list_.begin_, list_.end_}; }

   private:
    PendingList& list_;
  };

 private:
  void lock() noexcept;
  void unlock() noexcept { lock_.clear(std::memory_order_release); }
  void unlock_or_delete() noexcept;
  void make_room();
  void begin_anew(const Node& first);
  void note_device(Device device);

  Node** begin_ = nullptr;  // holes are null
  Node** end_ = nullptr;
  Node** attend_at_ = nullptr;
  size_t holes_ = 0;
  int64_t bytes_ = 0, most_bytes_ = 0;
  Device latest_device_;
  std::vector<Node*> slots_;  // the array's memory
  std::vector<Device> devices_;
  Location first_location_;
  OpId first_op_ = OpId::leaf;
  bool retired_ = false;
  int64_t recording_since_ = 0;
  std::atomic_flag lock_ = ATOMIC_FLAG_INIT;
  // Removed by other threads.
  std::atomic<size_t> holes_elsewhere_{0};
  std::atomic<int64_t> bytes_elsewhere_{0};
};

/// This thread's list.
PendingList& pending_list();

}  // namespace encore
