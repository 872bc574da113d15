#include <encore/utils/ceilings.h>
#include <immintrin.h>
#include <sys/mman.h>

#include <algorithm>
#include <barrier>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <vector>

namespace encore {
namespace {

using Clock = std::chrono::steady_clock;

/// The best time of `rounds` in which all threads run `work(thread)` together: from the first start
/// to the last end.
template <class Work>
double best_time(int threads, int rounds, Work work) {
  std::barrier gate(threads);
  std::vector<Clock::time_point> starts(threads * rounds), ends(threads * rounds);
  auto run = [&](int t) {
    for (int round = 0; round < rounds; ++round) {
      gate.arrive_and_wait();
      starts[round * threads + t] = Clock::now();
      work(t);
      ends[round * threads + t] = Clock::now();
    }
  };
  std::vector<std::thread> team;
  for (int t = 1; t < threads; ++t) team.emplace_back(run, t);
  run(0);
  for (std::thread& thread : team) thread.join();
  double best = 1e30;
  for (int round = 0; round < rounds; ++round) {
    auto start = *std::min_element(&starts[round * threads], &starts[round * threads] + threads);
    auto end = *std::max_element(&ends[round * threads], &ends[round * threads] + threads);
    best = std::min(best, std::chrono::duration<double>(end - start).count());
  }
  return best;
}

float* huge_array(size_t count) {
  void* memory =
      mmap(nullptr, count * 4, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  madvise(memory, count * 4, MADV_HUGEPAGE);
  auto* values = static_cast<float*>(memory);
  std::fill_n(values, count, 1.0f);
  return values;
}

__attribute__((target("avx2,fma"))) void triad(float* a, const float* b, const float* c,
                                               size_t count) {
  __m256 scale = _mm256_set1_ps(3);
  for (size_t i = 0; i < count; i += 16) {
    _mm256_stream_ps(a + i, _mm256_fmadd_ps(scale, _mm256_load_ps(c + i), _mm256_load_ps(b + i)));
    _mm256_stream_ps(a + i + 8,
                     _mm256_fmadd_ps(scale, _mm256_load_ps(c + i + 8), _mm256_load_ps(b + i + 8)));
  }
  _mm_sfence();
}

constexpr int64_t fma_rounds = 1 << 20;

__attribute__((target("avx512f"))) float fma_512() {
  __m512 sums[12], x = _mm512_set1_ps(1.0000001f), y = _mm512_set1_ps(1e-9f);
  for (__m512& sum : sums) sum = x;
  for (int64_t i = 0; i < fma_rounds; ++i) {
#pragma GCC unroll 12
    for (int j = 0; j < 12; ++j) sums[j] = _mm512_fmadd_ps(sums[j], x, y);
  }
  alignas(64) float last[16];
  for (int i = 1; i < 12; ++i) sums[0] = _mm512_add_ps(sums[0], sums[i]);
  _mm512_store_ps(last, sums[0]);
  return last[0];
}

__attribute__((target("avx2,fma"))) float fma_256() {
  __m256 sums[12], x = _mm256_set1_ps(1.0000001f), y = _mm256_set1_ps(1e-9f);
  for (__m256& sum : sums) sum = x;
  for (int64_t i = 0; i < fma_rounds; ++i) {
#pragma GCC unroll 12
    for (int j = 0; j < 12; ++j) sums[j] = _mm256_fmadd_ps(sums[j], x, y);
  }
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

}  // namespace encore
