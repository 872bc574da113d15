// One recorded op.
//
// A node is immutable after recording, but for what happens under the runtime's lock: evaluation
// gives it a buffer, and then drops its inputs unless a gradient may still need them; a backward that
// consumes the tape (Evaluator::consume_tape) ends that need. Handles
// (Tensors) and users (nodes that read it) are counted apart in one atomic word; whoever drops the
// last of both destroys the node, iteratively.
//
// A pending node (no buffer, not a source) is listed in the PendingList of the thread that recorded
// it until it is materialized or destroyed. Lists are locked, so any thread may destroy any node.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include <encore/core/counted.h>
#include <encore/core/location.h>
#include <encore/lazy/buffer.h>
#include <encore/lazy/op.h>
#include <encore/lazy/shape.h>

namespace encore {

class PendingList;

struct Node {
  static constexpr uint64_t one_handle = 1, one_user = uint64_t(1) << 32;

  std::atomic<uint64_t> references{0};
  uint64_t sequence = 0;          // record order, over all threads of a process
  OpId op = OpId::leaf;
  DType dtype = DType::f32;
  Device device;
  bool needs_gradient = false;    // a tape node: keeps its inputs after it was materialized
  bool tape_consumed = false;     // was one, until a backward walked it
  uint32_t input_count = 0;
  Node* inline_inputs[3] = {};
  Node** inputs = inline_inputs;  // concat's are on the heap
  Shape shape;
  uint64_t bits = 0;              // scalar, literal: the value as `dtype` stores it
  std::vector<int64_t> attributes;
  Ref<Buffer> buffer;             // set once materialized
  std::weak_ptr<void> cell;       // variable: the parameter's cell
  Location location;
  const char* scope = nullptr;    // innermost name scope, a string that lives for ever
  PendingList* pending = nullptr;
  uint32_t pending_position = 0;
  // Scratch of the evaluating thread, under the runtime's lock.
  uint32_t trace_order = 0;       // place among the nodes being captured
  uint32_t trace_position = 0;    // canonical number in that trace, sources included
  uint32_t trace_users = 0;       // users inside that trace
  uint64_t snapshot_mark = 0;     // which capture holds it through its snapshot
  uint64_t trace_mark = 0;        // which capture these belong to

  uint32_t handles() const { return uint32_t(references.load(std::memory_order_acquire)); }
  uint32_t users() const { return uint32_t(references.load(std::memory_order_acquire) >> 32); }
  std::span<Node* const> input_span() const { return {inputs, input_count}; }
  bool is_source() const { return op <= OpId::iota; }
  bool materialized() const { return bool(buffer); }
};

/// Drops one handle or user (`Node::one_handle`, `Node::one_user`) and destroys what nothing holds.
void release(Node* node, uint64_t what) noexcept;
inline void retain(Node* node, uint64_t what) noexcept {
  node->references.fetch_add(what, std::memory_order_relaxed);
}

/// Lets go of a node's inputs (after it was materialized, or its tape was consumed).
void drop_inputs(Node* node) noexcept;

/// The nodes that a thread has recorded and nobody has computed, in record order.
class PendingList {
 public:
  void add(Node* node);
  /// Called by whoever materializes or destroys a pending node.
  void remove(Node* node) noexcept;
  /// The pending nodes in record order; each gains one user so that it survives the caller's walk.
  std::vector<Node*> snapshot();
  size_t size() const { return live_.load(std::memory_order_relaxed); }
  /// Bytes of results that the pending nodes would hold.
  int64_t bytes() const { return bytes_.load(std::memory_order_relaxed); }
  /// Place and op of the node that the list began with.
  Location first_location() const { return first_location_; }
  OpId first_op() const { return first_op_; }

 private:
  void compact();
  std::atomic_flag lock_ = ATOMIC_FLAG_INIT;
  std::vector<Node*> nodes_;  // holes are null
  std::atomic<size_t> live_{0};
  std::atomic<int64_t> bytes_{0};
  Location first_location_;
  OpId first_op_ = OpId::leaf;
};

/// This thread's list.
PendingList& pending_list();

/// An uninitialized node from the pool; `release` gives it back.
Node* allocate_node();

}  // namespace encore
