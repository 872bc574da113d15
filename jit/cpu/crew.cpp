#include <encore/jit/cpu/crew.h>
#include <immintrin.h>

#include <bit>
#include <chrono>
#include <thread>
#include <utility>

namespace encore::jit {
namespace {

/// Longer than what lies between the launches of a program, or between short steps.
constexpr std::chrono::microseconds patience{30};
constexpr int looks_at_a_time = 16;
constexpr int looks_before_yielding = 2000;

}  // namespace

void Crew::open(const Job& job) noexcept {
  job_ = job;
  left_.store((~uint64_t(0) >> (most_parts - job.parts)) & ~uint64_t(1), std::memory_order_release);
}

void Crew::run_part(int part) noexcept {
  try {
    job_.run(part);
  } catch (...) {
    if (!failed_.exchange(true)) failure_ = std::current_exception();
  }
}

/// The parts that were there for it.
int Crew::work(int preferred) noexcept {
  int count = 0;
  while (uint64_t left = left_.load(std::memory_order_relaxed)) {
    uint64_t wanted = uint64_t(1) << preferred % most_parts;
    if (!(left & wanted)) wanted = left & -left;
    if (!(left_.fetch_and(~wanted, std::memory_order_acquire) & wanted)) continue;
    run_part(std::countr_zero(wanted));
    ++count;
  }
  return count;
}

void Crew::finish() {
  int64_t others = job_.parts - 1;
  run_part(0);
  others -= work(0);
  expected_ += others;
  for (int looks = 0; finished_.load(std::memory_order_acquire) != expected_; ++looks)
    looks < looks_before_yielding ? _mm_pause() : std::this_thread::yield();
  std::exception_ptr failure = std::exchange(failure_, nullptr);
  failed_.store(false, std::memory_order_relaxed);
  busy_.store(false, std::memory_order_release);
  if (failure) std::rethrow_exception(std::move(failure));
}

void Crew::serve(int preferred) noexcept {
  using Clock = std::chrono::steady_clock;
  auto last = Clock::now();
  for (;;) {
    for (int i = 0; i < looks_at_a_time && left_.load(std::memory_order_relaxed) == 0; ++i)
      _mm_pause();
    if (int count = work(preferred)) {
      finished_.fetch_add(count, std::memory_order_release);
      last = Clock::now();
    } else if (Clock::now() - last > patience) {
      serving_.fetch_sub(1);
      if (left_.load() == 0) return;
      serving_.fetch_add(1);
    }
  }
}

}  // namespace encore::jit
