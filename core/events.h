// The one sink for everything worth telling: compiles, misses, launches, syncs, allocations.
//
// Reporting costs one relaxed load when nobody listens. Listeners may be added from any thread and
// are called on the thread that reports; a listener must not report events itself.
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <string_view>

#include <encore/core/location.h>

namespace encore {

enum class EventKind : uint8_t { pass, compile, miss, fusion_refusal, launch, sync, allocation, cut };

struct Event {
  EventKind kind;
  std::string_view name;   // the pass, kernel, reason …
  std::string_view text;   // a body: the graph after a pass, generated code …
  int64_t value = 0;       // bytes, nanoseconds or a count, as the kind says
  Location where{};
};

namespace events {

inline std::atomic<uint32_t> listeners{0};

inline bool wanted() { return listeners.load(std::memory_order_relaxed) != 0; }
void report(const Event& event);

/// Returns an id for `ignore`.
uint32_t listen(std::function<void(const Event&)> listener);
void ignore(uint32_t id);

}  // namespace events
}  // namespace encore
