#include <encore/core/events.h>

#include <map>
#include <mutex>

namespace encore::events {
namespace {

struct Listeners {
  std::mutex mutex;
  std::map<uint32_t, std::function<void(const Event&)>> by_id;
  uint32_t next_id = 1;
};

Listeners& all() {
  static auto& instance = *new Listeners;
  return instance;
}

}  // namespace

void report(const Event& event) {
  std::lock_guard lock(all().mutex);
  for (auto& [id, listener] : all().by_id) listener(event);
}

uint32_t listen(std::function<void(const Event&)> listener) {
  std::lock_guard lock(all().mutex);
  uint32_t id = all().next_id++;
  all().by_id.emplace(id, std::move(listener));
  listeners.fetch_add(1, std::memory_order_relaxed);
  return id;
}

void ignore(uint32_t id) {
  std::lock_guard lock(all().mutex);
  if (all().by_id.erase(id)) listeners.fetch_sub(1, std::memory_order_relaxed);
}

}  // namespace encore::events
