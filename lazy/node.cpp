#include <encore/core/settings.h>
#include <encore/core/span.h>
#include <encore/lazy/node_pool.h>

#include <algorithm>
#include <limits>
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
  auto remove_elsewhere = [&]() __attribute__((noinline)) {
    lock();
    begin_[node->pending_position] = nullptr;
    bytes_elsewhere_.fetch_add(node->bytes, std::memory_order_relaxed);
    holes_elsewhere_.fetch_add(1, std::memory_order_release);
    unlock_or_delete();
  };
  if (this == own_list) [[likely]] {
    begin_[node->pending_position] = nullptr;
    bytes_ -= node->bytes;
    ++holes_;
    if (size() == 0) attend_at_ = end_;  // what comes next begins it anew
  } else {
    remove_elsewhere();
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
  latest_device_ = device;
  if (std::find(devices_.begin(), devices_.end(), device) == devices_.end())
    devices_.push_back(device);
}

void PendingList::begin_anew(const Node& first) {
  end_ = begin_;
  holes_ = 0;
  holes_elsewhere_ = 0;
  bytes_ = bytes_elsewhere_ = 0;
  devices_.assign(1, first.device);
  latest_device_ = first.device;
  first_location_ = first.location;
  first_op_ = first.op;
  if (events::wanted(events::times)) [[unlikely]]
    recording_since_ = steady_now();
}

void PendingList::make_room() {
  Slots slots(*this);
  uint32_t kept = 0;
  for (Node* node : slots.span())
    if (node) {
      node->pending_position = kept;
      begin_[kept++] = node;
    }
  holes_ = 0;
  holes_elsewhere_ = 0;
  bytes_ -= bytes_elsewhere_.exchange(0);
  if (2 * kept >= slots_.size()) slots_.resize(std::max<size_t>(256, 2 * slots_.size()));
  begin_ = slots_.data();
  end_ = begin_ + kept;
}

void PendingList::attend(const Node& next) {
  if (size() == 0) begin_anew(next);
  if (end_ == begin_ + slots_.size()) make_room();
  const Settings& limits = settings();
  // A change of the settings is seen after so many nodes.
  ptrdiff_t quiet = 64, budget = limits.cut_nodes ? limits.cut_nodes - int64_t(size()) + 1 : quiet;
  quiet = std::min({quiet, std::max<ptrdiff_t>(budget, 1), begin_ + slots_.size() - end_});
  attend_at_ = end_ + quiet;
  most_bytes_ = limits.cut_bytes ? limits.cut_bytes : std::numeric_limits<int64_t>::max();
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
