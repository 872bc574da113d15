#include <encore/lazy/node_pool.h>

#include <mutex>
#include <thread>
#include <utility>

namespace encore {

thread_local constinit BlockPool pool;
thread_local constinit PendingList* own_list = nullptr;

namespace {

/// Blocks that threads handed on; slabs are never given back to the system.
struct Orphans {
  std::mutex mutex;
  BlockPool::Block* free = nullptr;
  size_t count = 0;
};
Orphans& orphans() {
  static auto& instance = *new Orphans;
  return instance;
}

/// Hands the thread's blocks on when the thread ends; `pool` itself is trivial and outlives it.
struct PoolGuard {
  ~PoolGuard() { pool.hand_on(); }
};
thread_local PoolGuard pool_guard;

/// Ends the list of a thread that ends.
struct ListGuard {
  ~ListGuard() {
    if (PendingList* list = std::exchange(own_list, nullptr)) PendingList::retire(list);
  }
};
thread_local ListGuard list_guard;

}  // namespace

void BlockPool::hand_on() {
  std::lock_guard lock(orphans().mutex);
  while (Block* block = free) {
    free = block->next;
    block->next = orphans().free;
    orphans().free = block;
  }
  orphans().count += std::exchange(count, 0);
}

void BlockPool::settle() {
  (void)&pool_guard;
  if (count >= most_kept) hand_on();
}

void BlockPool::refill() {
  (void)&pool_guard;
  {
    std::lock_guard lock(orphans().mutex);
    std::swap(free, orphans().free);
    std::swap(count, orphans().count);
  }
  if (free) return;
  auto* slab =
      static_cast<Node*>(::operator new(sizeof(Node) * blocks_per_slab, std::align_val_t(64)));
  for (size_t i = 0; i < blocks_per_slab; ++i) {
    auto* block = reinterpret_cast<Block*>(slab + i);
    block->next = free;
    free = block;
  }
  count = blocks_per_slab;
}

void PendingList::lock() noexcept {
  while (lock_.test_and_set(std::memory_order_acquire)) std::this_thread::yield();
}

void PendingList::remove(Node* node) noexcept {
  if (this == own_list) {
    nodes_[node->pending_position] = nullptr;
    --live_;
    bytes_ -= result_bytes(node);
  } else {
    lock();
    nodes_[node->pending_position] = nullptr;
    bytes_elsewhere_.fetch_add(result_bytes(node), std::memory_order_relaxed);
    live_elsewhere_.fetch_add(1, std::memory_order_release);
    unlock_or_delete();
  }
  node->pending = nullptr;
}

void PendingList::retire(PendingList* list) noexcept {
  list->lock();
  list->retired_ = true;
  list->unlock_or_delete();
}

// Who finds it retired and empty under the lock is the last that knows of it.
void PendingList::unlock_or_delete() noexcept {
  if (retired_ && size() == 0)
    delete this;
  else
    unlock();
}

void PendingList::note_device(Device device) {
  if (std::find(devices_.begin(), devices_.end(), device) == devices_.end())
    devices_.push_back(device);
}

void PendingList::make_room() {
  Slots slots(*this);
  uint32_t kept = 0;
  for (Node* node : nodes_)
    if (node) {
      node->pending_position = kept;
      nodes_[kept++] = node;
    }
  nodes_.resize(kept);
  if (2 * nodes_.size() >= nodes_.capacity())
    nodes_.reserve(std::max<size_t>(256, 2 * nodes_.capacity()));
}

PendingList& pending_list() {
  if (!own_list) [[unlikely]] {
    (void)&list_guard;
    own_list = new PendingList;
  }
  return *own_list;
}

namespace {

/// Nodes that nothing holds any more, linked through their counts: chains may be a million nodes
/// long, so nothing recurses.
class Dead {
 public:
  void push(Node* node) noexcept {
    if (node->pending) node->pending->remove(node);
    node->references.store(reinterpret_cast<uintptr_t>(first_), std::memory_order_relaxed);
    first_ = node;
  }
  void destroy_all() noexcept {
    while (first_) {
      Node* node = first_;
      first_ = reinterpret_cast<Node*>(node->references.load(std::memory_order_relaxed));
      for (Node* input : node->input_span())
        if (drop(input, Node::one_user)) push(input);
      if (node->inputs != node->inline_inputs) delete[] node->inputs;
      node->~Node();
#ifdef __SANITIZE_ADDRESS__
      ::operator delete(node, std::align_val_t(64));
#else
      pool.give(node);
#endif
    }
  }

 private:
  Node* first_ = nullptr;
};

}  // namespace

void release(Node* node, uint64_t what) noexcept {
  if (!drop(node, what)) return;
  Dead dead;
  dead.push(node);
  dead.destroy_all();
}

void drop_inputs(Node* node) noexcept {
  Dead dead;
  for (Node* input : node->input_span())
    if (drop(input, Node::one_user)) dead.push(input);
  if (node->inputs != node->inline_inputs)
    delete[] std::exchange(node->inputs, node->inline_inputs);
  node->input_count = 0;
  dead.destroy_all();
}

}  // namespace encore
