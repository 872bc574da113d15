// The products that gemm_bench and its rivals are measured on, and how.
#pragma once
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <vector>

namespace encore::bench {

struct Gemm {
  const char* name;
  int64_t m, k, n;
  bool a_transposed = false, b_transposed = false;
  bool gelu = false;  // adds a bias and applies gelu, the tanh form
};

inline constexpr Gemm gemms[] = {
    {"square", 512, 512, 512},
    {"square", 1024, 1024, 1024},
    {"square", 2048, 2048, 2048},
    {"few rows", 64, 784, 512},
    {"narrow", 256, 512, 10},
    {"tall", 4096, 256, 1024},
    {"odd", 33, 77, 130},
    {"odd", 100, 300, 200},
    {"mlp layer 1", 128, 784, 512},
    {"mlp layer 2", 128, 512, 256},
    {"mlp layer 3", 128, 256, 10},
    {"mlp dW 1", 784, 128, 512, true, false},
    {"mlp dW 2", 512, 128, 256, true, false},
    {"mlp dW 3", 256, 128, 10, true, false},
    {"mlp dX 2", 128, 256, 512, false, true},
    {"mlp dX 3", 128, 10, 256, false, true},
    {"linear + gelu", 1024, 512, 1024, false, false, true},
};

inline double flops(const Gemm& g) { return 2.0 * double(g.m) * double(g.k) * double(g.n); }

/// The median time of a call in seconds; about a fifth of a second is spent.
template <class Call>
double median_seconds(Call&& call) {
  using Clock = std::chrono::steady_clock;
  auto seconds_of = [&](int64_t repeats) {
    const auto begin = Clock::now();
    for (int64_t i = 0; i < repeats; ++i) call();
    return std::chrono::duration<double>(Clock::now() - begin).count() / double(repeats);
  };
  call();
  const double once = std::max(seconds_of(1), 1e-7);
  const auto repeats = std::max<int64_t>(1, int64_t(2e-3 / once));
  std::vector<double> rounds;
  for (double spent = 0; rounds.size() < 5 || (spent < 0.2 && rounds.size() < 99);
       spent += rounds.back() * double(repeats))
    rounds.push_back(seconds_of(repeats));
  std::nth_element(rounds.begin(), rounds.begin() + int64_t(rounds.size() / 2), rounds.end());
  return rounds[rounds.size() / 2];
}

}  // namespace encore::bench
