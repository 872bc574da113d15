#include <encore/core/error.h>
#include <encore/jit/host_memory.h>

#include <algorithm>
#include <new>

namespace encore::jit {

namespace {
constexpr std::align_val_t alignment{64};
}

Ref<Buffer> HostMemory::allocate(size_t bytes) {
  void* data = ::operator new(std::max<size_t>(bytes, 1), alignment, std::nothrow);
  if (!data) throw OutOfMemory(bytes, size_t(live_bytes()), {});
  count(int64_t(bytes));
  return Ref<Buffer>(new Buffer(data, bytes, cpu, [this](void* data, size_t bytes) {
    ::operator delete(data, alignment);
    live_.fetch_sub(int64_t(bytes), std::memory_order_relaxed);
  }));
}

void HostMemory::count(int64_t bytes) {
  int64_t live = live_.fetch_add(bytes, std::memory_order_relaxed) + bytes;
  int64_t peak = peak_.load(std::memory_order_relaxed);
  while (peak < live && !peak_.compare_exchange_weak(peak, live, std::memory_order_relaxed)) {
  }
}

}  // namespace encore::jit
