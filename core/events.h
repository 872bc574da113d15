// The one sink for everything worth telling: compiles, misses, launches, syncs, allocations.
//
// Reporting costs one relaxed load when nobody listens. Listeners may be added from any thread and
// are called on the thread that reports, one at a time; a listener must not report events itself.
//
// The compilation of a trace is told on the thread that compiles, as `pass` events in this order:
//   begin                          text: the trace's key in hex; where: the sync that asked
//   <pass> …                       text: the graph after that pass
//   kernel:<name> …                text: the kernel
//   <listing>:<name> …             text: generated code (llvm, assembly, cuda, ptx or sass)
//   memory-plan, aliases           text: the plan; which memory is used again, and which not
//   trace-part …, trace            text: all but the listings, as JSON; what is long in parts
//   program, end                   text: the launches, the statistics
// A begin without an end is a compilation that failed.
//
// Where time goes is told by spans (core/span.h) and by kernels. What is timed on this thread
// nests; what overlaps that has a `track` of its own and no `begin`, and is told when it is known.
#pragma once
#include <encore/core/location.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <string_view>

namespace encore {

// EVENT(kind, what `name` is, what `value` is)
#define ENCORE_EVENTS(EVENT)                                            \
  EVENT(pass, "the pass, or as above", "none")                          \
  EVENT(compile, "the kernel", "nanoseconds")                           \
  EVENT(miss, "why a trace or kernel was not known", "none")            \
  EVENT(fusion_refusal, "why two nodes do not share a kernel", "none")  \
  EVENT(launch, "the kernel", "segments")                               \
  EVENT(sync, "read, step or cut", "nodes computed")                    \
  EVENT(allocation, "of what", "bytes")                                 \
  EVENT(cut, "what ran out: nodes or bytes", "pending nodes")           \
  EVENT(begin, "the span or kernel that begins on this thread", "none") \
  EVENT(span, "the span that ended", "nanoseconds")                     \
  EVENT(kernel, "the kernel that ran", "nanoseconds")                   \
  EVENT(counter, "of what", "how much there is now")                    \
  EVENT(load, "the kernel, whose code was on disk", "none")

enum class EventKind : uint8_t {
#define EVENT(kind, name, value) kind,
  ENCORE_EVENTS(EVENT)
#undef EVENT
};

struct Event {
  EventKind kind;
  std::string_view name;
  std::string_view text;  // a body or an explanation
  int64_t value = 0;
  Location where{};
  int64_t start = 0;            // span, kernel: nanoseconds of the steady clock
  int64_t bytes = 0;            // span, kernel: that it had to move, where known
  std::string_view track = {};  // what it ran on; empty: this thread
};

namespace events {

/// A set of kinds, one bit each.
using Kinds = uint32_t;
constexpr Kinds bit(EventKind kind) { return Kinds(1) << int(kind); }
inline constexpr Kinds all_kinds = ~Kinds(0);

inline std::atomic<Kinds> wanted_kinds{0};

/// Ask before making an event's text: somebody listens to this kind.
inline bool wanted(Kinds kinds) { return wanted_kinds.load(std::memory_order_relaxed) & kinds; }
inline bool wanted(EventKind kind) { return wanted(bit(kind)); }
/// What somebody hears who times this thread.
inline constexpr Kinds times = bit(EventKind::begin) | bit(EventKind::span);
inline constexpr Kinds kernel_times = bit(EventKind::begin) | bit(EventKind::kernel);
void report(const Event& event);

/// Returns an id for `ignore`.
uint32_t listen(std::function<void(const Event&)> listener, Kinds kinds = all_kinds);
void ignore(uint32_t id);

}  // namespace events
}  // namespace encore
