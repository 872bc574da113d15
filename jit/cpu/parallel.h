// The one place that knows threads: splits work over a pool that lives as long as the process.
//
// Threads: may be called from any thread, several at once. After a fork the child runs everything
// on the calling thread, because the pool's threads did not come along.
#pragma once
#include <cstdint>
#include <memory>
#include <type_traits>

namespace encore::jit {

/// Threads that work is split over; `settings().threads` when it was first asked for.
int thread_count();

/// Work that takes less than this on one thread is not worth splitting.
inline constexpr double splitting_threshold_ns = 5000;

/// Calls `body(context, begin, end)` for consecutive parts of [0, count), about one a thread, and
/// returns when all are done. An exception of `body` reaches the caller.
void parallel_for(int64_t count, void (*body)(void* context, int64_t begin, int64_t end),
                  void* context);

template <class Body>
void parallel_for(int64_t count, Body&& body) {
  using Type = std::remove_reference_t<Body>;
  parallel_for(
      count,
      [](void* context, int64_t begin, int64_t end) { (*static_cast<Type*>(context))(begin, end); },
      const_cast<void*>(static_cast<const void*>(std::addressof(body))));
}

}  // namespace encore::jit
