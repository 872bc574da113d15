#include <encore/core/events.h>

#include <map>
#include <mutex>

namespace encore::events {
namespace {

struct Listener {
  std::function<void(const Event&)> call;
  Kinds kinds;
};

struct Listeners {
  std::mutex mutex;
  std::map<uint32_t, Listener> by_id;
  uint32_t next_id = 1;

  void publish_kinds() const {
    Kinds kinds = 0;
    for (const auto& [id, listener] : by_id) kinds |= listener.kinds;
    wanted_kinds.store(kinds, std::memory_order_relaxed);
  }
};

Listeners& all() {
  static auto& instance = *new Listeners;
  return instance;
}

}  // namespace

void report(const Event& event) {
  if (!wanted(event.kind)) return;
  std::lock_guard lock(all().mutex);
  for (const auto& [id, listener] : all().by_id) {
    if (listener.kinds & bit(event.kind)) listener.call(event);
  }
}

uint32_t listen(std::function<void(const Event&)> listener, Kinds kinds) {
  std::lock_guard lock(all().mutex);
  const uint32_t id = all().next_id++;
  all().by_id.emplace(id, Listener{std::move(listener), kinds});
  all().publish_kinds();
  return id;
}

void ignore(uint32_t id) {
  std::lock_guard lock(all().mutex);
  if (all().by_id.erase(id)) all().publish_kinds();
}

}  // namespace encore::events
