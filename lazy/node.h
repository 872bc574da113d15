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

/// Four cache lines: what users and captures of a node look at comes first, what only its own
/// recording writes comes last.
struct alignas(64) Node {
  static constexpr uint64_t one_handle = 1, one_user = uint64_t(1) << 32;

  Node(OpId op, DType dtype, Device device, Location location, const char* scope)
      : op(op), dtype(dtype), device(device), location(location), scope(scope) {}

  std::atomic<uint64_t> references{one_handle};
  Node** inputs = inline_inputs;  // concat's are on the heap
  Node* inline_inputs[3];
  uint32_t input_count = 0;
  OpId op;
  DType dtype;
  Device device;
  bool needs_gradient = false;   // a tape node: keeps its inputs after it was materialized
  bool tape_consumed = false;    // was one, until a backward walked it
  bool shaped_as_first = false;  // known when recording to have its first input's shape
  // Scratch of the evaluating thread, under the runtime's lock.
  uint8_t trace_flags = 0;      // of the capture
  uint32_t trace_position = 0;  // canonical number in that trace, sources included
  uint64_t trace_mark = 0;      // which capture these belong to
  // The second line.
  Ref<Buffer> buffer;        // set once materialized
  uint64_t sequence = 0;     // above those of its inputs and of what its thread recorded before
  uint32_t trace_users = 0;  // users inside the capture
  uint32_t pending_position = 0;
  Shape shape;        // up to four axes are in this line
  uint64_t bits = 0;  // scalar, literal: the value as `dtype` stores it
  PendingList* pending = nullptr;
  Location location;
  const char* scope;  // innermost name scope, a string that lives for ever
  std::vector<int64_t> attributes;
  std::weak_ptr<void> cell;  // variable: the parameter's cell

  uint32_t handles() const { return uint32_t(references.load(std::memory_order_acquire)); }
  uint32_t users() const { return uint32_t(references.load(std::memory_order_acquire) >> 32); }
  std::span<Node* const> input_span() const { return {inputs, input_count}; }
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
  /// Owner only.
  void add(Node* node);
  /// Called by whoever materializes or destroys a pending node.
  void remove(Node* node) noexcept;
  /// The owner ends. The list goes with the last of its nodes, which other threads may still hold.
  static void retire(PendingList* list) noexcept;
  size_t size() const { return size_t(live_ - live_elsewhere_.load(std::memory_order_acquire)); }
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
    std::span<Node* const> span() const { return list_.nodes_; }

   private:
    PendingList& list_;
  };

 private:
  void lock() noexcept;
  void unlock() noexcept { lock_.clear(std::memory_order_release); }
  void unlock_or_delete() noexcept;
  void make_room();
  void note_device(Device device);
  std::vector<Node*> nodes_;  // holes are null
  std::vector<Device> devices_;
  int64_t live_ = 0, bytes_ = 0;
  Location first_location_;
  OpId first_op_ = OpId::leaf;
  bool retired_ = false;
  int64_t recording_since_ = 0;
  std::atomic_flag lock_ = ATOMIC_FLAG_INIT;
  // Removed by other threads.
  std::atomic<int64_t> live_elsewhere_{0}, bytes_elsewhere_{0};
};

/// This thread's list.
PendingList& pending_list();

}  // namespace encore
