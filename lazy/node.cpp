#include <encore/lazy/node.h>

#include <mutex>
#include <new>

namespace encore {
namespace {

/// Fixed-size blocks kept per thread; a block may be given back on another thread than it came from.
struct BlockPool {
  static constexpr size_t blocks_per_slab = 256;
  struct Block {
    Block* next;
  };
  Block* free = nullptr;

  void* take() {
    if (!free) refill();
    Block* block = free;
    free = block->next;
    return block;
  }
  void give(void* memory) {
    auto* block = static_cast<Block*>(memory);
    block->next = free;
    free = block;
  }

 private:
  void refill();
};

/// Blocks of threads that ended; slabs are never given back to the system.
struct Orphans {
  std::mutex mutex;
  BlockPool::Block* free = nullptr;
};
Orphans& orphans() {
  static auto& instance = *new Orphans;
  return instance;
}

void BlockPool::refill() {
  {
    std::lock_guard lock(orphans().mutex);
    std::swap(free, orphans().free);
  }
  if (free) return;
  constexpr size_t size = (sizeof(Node) + 63) / 64 * 64;
  auto* slab = static_cast<std::byte*>(::operator new(size* blocks_per_slab, std::align_val_t(64)));
  for (size_t i = 0; i < blocks_per_slab; ++i) give(slab + i * size);
}

thread_local BlockPool pool;

/// Hands the thread's blocks on when the thread ends; `pool` itself is trivial and outlives it.
struct PoolGuard {
  ~PoolGuard() {
    std::lock_guard lock(orphans().mutex);
    while (BlockPool::Block* block = pool.free) {
      pool.free = block->next;
      block->next = orphans().free;
      orphans().free = block;
    }
  }
};
thread_local PoolGuard pool_guard;

class SpinLock {
 public:
  explicit SpinLock(std::atomic_flag& flag) : flag_(flag) {
    while (flag_.test_and_set(std::memory_order_acquire)) {
      while (flag_.test(std::memory_order_relaxed)) {
      }
    }
  }
  ~SpinLock() { flag_.clear(std::memory_order_release); }

 private:
  std::atomic_flag& flag_;
};

int64_t result_bytes(const Node* node) { return node->shape.numel() * int64_t(size_of(node->dtype)); }

void destroy(Node* node, std::vector<Node*>& dead) noexcept {
  if (node->pending) node->pending->remove(node);
  for (Node* input : node->input_span())
    if (input->references.fetch_sub(Node::one_user, std::memory_order_acq_rel) == Node::one_user)
      dead.push_back(input);
  if (node->inputs != node->inline_inputs) delete[] node->inputs;
  node->~Node();
#ifdef __SANITIZE_ADDRESS__
  ::operator delete(node, std::align_val_t(64));
#else
  pool.give(node);
#endif
}

}  // namespace

Node* allocate_node() {
#ifdef __SANITIZE_ADDRESS__
  return new (::operator new(sizeof(Node), std::align_val_t(64))) Node;
#else
  (void)&pool_guard;
  return new (pool.take()) Node;
#endif
}

void release(Node* node, uint64_t what) noexcept {
  if (node->references.fetch_sub(what, std::memory_order_acq_rel) != what) return;
  // Chains may be a million nodes long: no recursion.
  std::vector<Node*> dead;
  destroy(node, dead);
  while (!dead.empty()) {
    Node* next = dead.back();
    dead.pop_back();
    destroy(next, dead);
  }
}

void drop_inputs(Node* node) noexcept {
  Node** inputs = node->inputs;
  uint32_t count = node->input_count;
  Node* few[3];
  if (inputs == node->inline_inputs) {
    std::copy_n(inputs, count, few);
    inputs = few;
  }
  node->input_count = 0;
  for (uint32_t i = 0; i < count; ++i) release(inputs[i], Node::one_user);
  if (inputs != few) delete[] inputs;
  node->inputs = node->inline_inputs;
}

void PendingList::add(Node* node) {
  SpinLock lock(lock_);
  if (live_.load(std::memory_order_relaxed) == 0) {
    nodes_.clear();
    first_location_ = node->location;
    first_op_ = node->op;
  }
  node->pending = this;
  node->pending_position = uint32_t(nodes_.size());
  nodes_.push_back(node);
  live_.store(live_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  bytes_.store(bytes_.load(std::memory_order_relaxed) + result_bytes(node), std::memory_order_relaxed);
  if (nodes_.size() > 1024 && nodes_.size() > 4 * live_.load(std::memory_order_relaxed)) compact();
}

void PendingList::remove(Node* node) noexcept {
  SpinLock lock(lock_);
  nodes_[node->pending_position] = nullptr;
  node->pending = nullptr;
  live_.store(live_.load(std::memory_order_relaxed) - 1, std::memory_order_relaxed);
  bytes_.store(bytes_.load(std::memory_order_relaxed) - result_bytes(node), std::memory_order_relaxed);
}

std::vector<Node*> PendingList::snapshot() {
  SpinLock lock(lock_);
  compact();
  std::vector<Node*> alive;
  alive.reserve(nodes_.size());
  for (Node* node : nodes_) {
    // A node whose count is zero is being destroyed by another thread, which waits for this lock.
    uint64_t count = node->references.load(std::memory_order_relaxed);
    while (count != 0 && !node->references.compare_exchange_weak(count, count + Node::one_user)) {
    }
    if (count != 0) alive.push_back(node);
  }
  return alive;
}

void PendingList::compact() {
  uint32_t kept = 0;
  for (Node* node : nodes_)
    if (node) {
      node->pending_position = kept;
      nodes_[kept++] = node;
    }
  nodes_.resize(kept);
}

PendingList& pending_list() {
  // Leaked on purpose: nodes of an ended thread may live on.
  thread_local PendingList* list = new PendingList;
  return *list;
}

}  // namespace encore
