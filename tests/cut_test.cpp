// Does a loop that never reads stay small? The automatic cut, its trace, its memory.
#include <encore/core/settings.h>
#include <encore/encore.h>
#include <encore/trace/statistics.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>

namespace encore {
namespace {

int64_t resident_bytes() {
  long total = 0, resident = 0;
  std::FILE* file = std::fopen("/proc/self/statm", "r");
  if (!file || std::fscanf(file, "%ld %ld", &total, &resident) != 2) ADD_FAILURE() << "no statm";
  if (file) std::fclose(file);
  return int64_t(resident) * sysconf(_SC_PAGESIZE);
}

TEST(Cut, AMillionIterationsWithoutAReadStaySmall) {
  constexpr int iterations = 1'000'000;
  Tensor x = from_vector<float>({1, 2, 3, 4});
  auto run = [&](int count) {
    for (int i = 0; i < count; ++i) x = x * 1.0001 + 0.1;
  };
  trace::Statistics before = trace::statistics();
  run(20'000);  // code and pools come to exist
  int64_t resident = resident_bytes();
  run(iterations - 20'000);
  trace::Statistics after = trace::statistics();
  EXPECT_LT(resident_bytes() - resident, 64 << 20);
  EXPECT_GE(after.cuts - before.cuts, 2 * iterations / (2 * settings().cut_nodes) - 1);
  EXPECT_LE(after.trace_misses - before.trace_misses, 3);
  EXPECT_LE(after.kernels_compiled - before.kernels_compiled, 3);
  // The fixed point's own formula: x_n = (x_0 + c) a^n - c with c = 0.1 / (a - 1).
  double a = 1.0001, c = 0.1 / (a - 1), expected = (1 + c) * std::pow(a, iterations) - c;
  EXPECT_GT(expected, 1e45);  // beyond f32: what is computed must have overflowed to inf
  EXPECT_TRUE(std::isinf(x.to_vector<float>()[0]));
}

TEST(Cut, CutsChangeNoValue) {
  Settings before = settings();
  auto run = [] {
    Tensor x = from_vector<double>({1, 2, 3}), total = zeros({3}, {.dtype = f64});
    for (int i = 0; i < 300; ++i) {
      x = x * 0.99 + 0.5;
      if (i % 3 == 0) total += x;
    }
    return (total + x).to_vector<double>();
  };
  settings().cut_nodes = 0;
  settings().cut_bytes = 0;
  std::vector<double> whole = run();
  settings().cut_nodes = 20;
  trace::Statistics start = trace::statistics();
  EXPECT_EQ(run(), whole);
  EXPECT_GT(trace::statistics().cuts - start.cuts, 10);
  settings() = before;
}

TEST(Cut, BytesCutAsWell) {
  if (default_device() != cpu) GTEST_SKIP() << "a GPU may spend an eighth of its memory on a trace";
  Settings before = settings();
  settings().cut_nodes = 0;
  settings().cut_bytes = 1 << 20;
  trace::Statistics start = trace::statistics();
  Tensor x = ones({1 << 16});
  for (int i = 0; i < 64; ++i) x = x * 1.5 - 0.5;  // 1 stays 1; a quarter of the budget each
  EXPECT_EQ(x.sum().item<float>(), 1 << 16);
  EXPECT_GE(trace::statistics().cuts - start.cuts, 8);
  EXPECT_LE(trace::statistics().trace_misses - start.trace_misses, 4);
  settings() = before;
}

TEST(Cut, AStatementCutInTheMiddleKeepsWhatItsTemporariesHold) {
  Settings before = settings();
  settings().cut_nodes = 3;
  for (int i = 0; i < 50; ++i) {
    Tensor a = from_vector<float>({1, 2});
    Tensor y = (a * 2.0 + a * 3.0) * (a - 1.0) + exp(a * 0.0) * (a + (a * a - a));
    EXPECT_EQ(y.to_vector<float>(), (std::vector<float>{1, 14}));
  }
  settings() = before;
}

}  // namespace
}  // namespace encore
