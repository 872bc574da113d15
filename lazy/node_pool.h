// A thread's memory for nodes and the short steps of recording and releasing, to be inlined by the
// files of lazy/ that record and release.
#pragma once
#include <encore/lazy/node.h>

#include <new>

namespace encore {

/// Fixed-size blocks kept per thread; a block may be given back on another thread than it came
/// from.
struct BlockPool {
  static constexpr size_t blocks_per_slab = 256;
  /// A thread that only gives back hands its blocks on beyond these.
  static constexpr size_t most_kept = size_t(1) << 16;
  struct Block {
    Block* next;
  };
  Block* free = nullptr;
  size_t count = 0;

  void* take() {
    if (!free) [[unlikely]]
      refill();
    Block* block = free;
    free = block->next;
    __builtin_prefetch(free, 1);  // its link is read by the next call
    --count;
    return block;
  }
  void give(void* memory) {
    if (count - 1 >= most_kept - 1) [[unlikely]]  // or none
      settle();
    auto* block = static_cast<Block*>(memory);
    block->next = free;
    free = block;
    ++count;
  }
  void hand_on();

 private:
  void refill();
  void settle();
};

extern thread_local constinit BlockPool pool;
/// What pending_list() returns, or null.
extern thread_local constinit PendingList* own_list;

/// A new node with one handle; `release` gives it back.
template <class... Given>
inline Node* new_node(OpId op, const Given&... given) {
#ifdef __SANITIZE_ADDRESS__
  void* memory = ::operator new(sizeof(Node), std::align_val_t(64));
#else
  void* memory = pool.take();
#endif
  return new (memory) Node(op, given...);
}

/// Whether `what` are all the references to the node, and nobody can gain one meanwhile.
inline bool holds_alone(const Node* node, uint64_t what) {
  return node->references.load(std::memory_order_acquire) == what &&
         (!node->pending || node->pending == own_list);
}

/// Drops a reference; true when it was the last.
inline bool drop(Node* node, uint64_t what) {
  return holds_alone(node, what) ||
         node->references.fetch_sub(what, std::memory_order_acq_rel) == what;
}

/// Makes one user of one handle.
inline void handle_to_user(Node* node) {
  if (holds_alone(node, Node::one_handle))
    node->references.store(Node::one_user, std::memory_order_relaxed);
  else
    node->references.fetch_add(Node::one_user - Node::one_handle, std::memory_order_acq_rel);
}

inline void PendingList::add(Node* node) {
  if (node->device != latest_device_) [[unlikely]]
    note_device(node->device);
  node->pending = this;
  node->pending_position = uint32_t(end_ - begin_);
  *end_++ = node;
  bytes_ += node->bytes;
}

}  // namespace encore
