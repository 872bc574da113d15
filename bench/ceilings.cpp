#include "ceilings.h"

#include <immintrin.h>
#include <sys/mman.h>

#include <algorithm>
#include <barrier>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <vector>

namespace encore::bench {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// The best time of `rounds` in which all threads run `work(thread)` together.
template <class Work>
double best_time(int threads, int rounds, Work work) {
  std::barrier gate(threads + 1);
  std::vector<std::thread> team;
  for (int t = 0; t < threads; ++t)
    team.emplace_back([&, t] {
      for (int round = 0; round < rounds; ++round) {
        gate.arrive_and_wait();
        work(t);
        gate.arrive_and_wait();
      }
    });
  double best = 1e30;
  for (int round = 0; round < rounds; ++round) {
    gate.arrive_and_wait();
    auto start = Clock::now();
    gate.arrive_and_wait();
    best = std::min(best, seconds_since(start));
  }
  for (std::thread& thread : team) thread.join();
  return best;
}

float* huge_array(size_t count) {
  void* memory = mmap(nullptr, count * 4, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  madvise(memory, count * 4, MADV_HUGEPAGE);
  auto* values = static_cast<float*>(memory);
  std::fill_n(values, count, 1.0f);
  return values;
}

__attribute__((target("avx2,fma"))) void triad(float* a, const float* b, const float* c, size_t count) {
  __m256 scale = _mm256_set1_ps(3);
  for (size_t i = 0; i < count; i += 16) {
    _mm256_stream_ps(a + i, _mm256_fmadd_ps(scale, _mm256_load_ps(c + i), _mm256_load_ps(b + i)));
    _mm256_stream_ps(a + i + 8, _mm256_fmadd_ps(scale, _mm256_load_ps(c + i + 8), _mm256_load_ps(b + i + 8)));
  }
  _mm_sfence();
}

constexpr int64_t fma_rounds = 1 << 20;

__attribute__((target("avx512f"))) float fma_512() {
  __m512 sums[12], x = _mm512_set1_ps(1.0000001f), y = _mm512_set1_ps(1e-9f);
  for (__m512& sum : sums) sum = x;
  for (int64_t i = 0; i < fma_rounds; ++i) {
    for (__m512& sum : sums) sum = _mm512_fmadd_ps(sum, x, y);
    asm volatile("" ::: "memory");
  }
  float total = 0;
  for (__m512& sum : sums) total += _mm512_reduce_add_ps(sum);
  return total;
}

__attribute__((target("avx2,fma"))) float fma_256() {
  __m256 sums[12], x = _mm256_set1_ps(1.0000001f), y = _mm256_set1_ps(1e-9f);
  for (__m256& sum : sums) sum = x;
  for (int64_t i = 0; i < fma_rounds; ++i)
    for (__m256& sum : sums) sum = _mm256_fmadd_ps(sum, x, y);
  float total = 0;
  for (__m256& sum : sums) total += _mm256_cvtss_f32(sum);
  return total;
}

}  // namespace

double stream_bytes_per_second(int threads) {
  constexpr size_t count = size_t(1) << 24;  // 64 MiB an array
  static float* const arrays[] = {huge_array(count), huge_array(count), huge_array(count)};
  size_t part = count / size_t(threads) / 16 * 16;
  double best = best_time(threads, 15, [&](int t) {
    size_t at = part * size_t(t);
    triad(arrays[0] + at, arrays[1] + at, arrays[2] + at, part);
  });
  return 12.0 * double(part) * threads / best;
}

double fma_flops_per_second(int threads) {
  bool wide = __builtin_cpu_supports("avx512f");
  volatile float sink = 0;
  double best = best_time(threads, 7, [&](int) { sink = wide ? fma_512() : fma_256(); });
  return 2.0 * 12 * (wide ? 16 : 8) * double(fma_rounds) * threads / best;
}

}  // namespace encore::bench
