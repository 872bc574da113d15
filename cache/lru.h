// Keyed values under a byte budget; the least recently used go first.
//
// Not thread-safe: its owner locks. Values are handed out as they are (use shared_ptr for values
// that must outlive eviction). The newest value always stays, even when it alone is over the
// budget.
#pragma once
#include <cstddef>
#include <cstdint>
#include <list>
#include <unordered_map>

namespace encore::cache {

template <class Key, class Value, class Hash = std::hash<Key>>
class Lru {
 public:
  explicit Lru(int64_t budget) : budget_(budget) {}

  /// Null when absent; otherwise it is now the most recently used.
  Value* find(const Key& key) {
    auto found = by_key_.find(key);
    if (found == by_key_.end()) return nullptr;
    order_.splice(order_.begin(), order_, found->second);
    return &found->second->value;
  }

  /// Replaces what stands under the key.
  Value& put(const Key& key, Value value, int64_t bytes) {
    erase(key);
    order_.push_front({key, std::move(value), bytes});
    by_key_[key] = order_.begin();
    bytes_ += bytes;
    while (bytes_ > budget_ && evict_oldest()) {
    }
    return order_.front().value;
  }

  /// False when only the newest is left, which stays.
  bool evict_oldest() {
    if (order_.size() <= 1) return false;
    ++evictions_;
    erase(order_.back().key);
    return true;
  }

  void erase(const Key& key) {
    auto found = by_key_.find(key);
    if (found == by_key_.end()) return;
    bytes_ -= found->second->bytes;
    auto entry = found->second;
    by_key_.erase(found);
    order_.erase(entry);
  }

  void clear() {
    by_key_.clear();
    order_.clear();
    bytes_ = 0;
  }
  size_t size() const { return by_key_.size(); }
  int64_t bytes() const { return bytes_; }
  int64_t evictions() const { return evictions_; }

 private:
  struct Entry {
    Key key;
    Value value;
    int64_t bytes;
  };
  int64_t budget_;
  int64_t bytes_ = 0;
  int64_t evictions_ = 0;
  std::list<Entry> order_;
  std::unordered_map<Key, typename std::list<Entry>::iterator, Hash> by_key_;
};

}  // namespace encore::cache
