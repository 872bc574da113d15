// How fast are matrix products, next to the machine's peak and (if built) to oneDNN?
//
//   gemm_bench [THREADS]    with several threads, ENCORE_THREADS and OMP_NUM_THREADS are set
//
// Encore's time is that of a whole step: recording, replay and the product. The rival runs in a
// process of its own, in turns with Encore, because its waiting threads would slow whatever
// follows.
#include <encore/core/settings.h>
#include <encore/encore.h>
#include <encore/lazy/composite.h>
#include <fmt/format.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "gemm_shapes.h"

namespace encore::bench {
namespace {

constexpr int turns = 3;
constexpr int64_t rounds = 200000;

// Independent chains of multiply-add on zeros: what the vector units can do at most.
#define ENCORE_CHAINS(vector, chains, count)                                                     \
  asm volatile(                                                                                  \
      "vxorps %%xmm14,%%xmm14,%%xmm14\n vxorps %%xmm15,%%xmm15,%%xmm15\n1:\n"                    \
      ".irp r," chains "\n vfmadd231ps %%" vector "14,%%" vector "15,%%" vector                  \
      "\\r\n.endr\n sub $1,%0\n jnz 1b\n vzeroupper"                                             \
      : "+r"(count)                                                                              \
      :                                                                                          \
      : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", \
        "xmm11", "xmm14", "xmm15", "cc")

void multiply_add(bool wide) {
  int64_t count = rounds;
  if (wide)
    ENCORE_CHAINS("zmm", "0,1,2,3,4,5,6,7,8,9,10,11", count);
  else
    ENCORE_CHAINS("ymm", "0,1,2,3,4,5,6,7,8,9,10,11", count);
}

double peak_gflops(int threads) {
  const bool wide = __builtin_cpu_supports("avx512f") && settings().isa != "avx2";
  const double flops = double(rounds) * 12 * 2 * (wide ? 16 : 8) * threads;
  const double seconds = median_seconds([&] {
    std::vector<std::thread> helpers;
    for (int i = 1; i < threads; ++i) helpers.emplace_back([&] { multiply_add(wide); });
    multiply_add(wide);
    for (auto& helper : helpers) helper.join();
  });
  return flops / seconds * 1e-9;
}

double encore_seconds(const Gemm& g) {
  const Tensor a = g.a_transposed ? randn({g.k, g.m}) : randn({g.m, g.k});
  const Tensor b = g.b_transposed ? randn({g.n, g.k}) : randn({g.k, g.n});
  const Tensor bias = randn({g.n});
  eval(a, b, bias);
  return median_seconds([&] {
    Tensor c = matmul(g.a_transposed ? transpose(a) : a, g.b_transposed ? transpose(b) : b);
    if (g.gelu) c = gelu(c + bias, GeluForm::tanh);
    eval(c);
  });
}

// Seconds of the rival's program for one shape; 0 where it is not built or fails.
double rival_seconds(const std::filesystem::path& program, size_t index) {
  if (!std::filesystem::exists(program)) return 0;
  const std::string command = fmt::format("'{}' {}", program.string(), index);
  std::FILE* pipe = popen(command.c_str(), "r");
  if (!pipe) return 0;
  double seconds = 0;
  if (std::fscanf(pipe, "%lf", &seconds) != 1) seconds = 0;
  pclose(pipe);
  return seconds;
}

void run(int threads, const std::filesystem::path& rival) {
  fmt::print("{:<14} {:>16}   {:>7} {:>7} {:>7}  {:>6} {:>7}  ({} threads)\n", "", "M x K x N",
             "GFLOP/s", "oneDNN", "peak", "/peak", "/oneDNN", threads);
  double log_sum = 0;
  int compared = 0;
  for (size_t i = 0; i < std::size(gemms); ++i) {
    const Gemm& g = gemms[i];
    double own = 1e9, other = 1e9, peak = 0;
    for (int turn = 0; turn < turns; ++turn) {
      own = std::min(own, encore_seconds(g));
      other = std::min(other, rival_seconds(rival, i));
      peak = std::max(peak, peak_gflops(threads));
    }
    const double speed = flops(g) / own * 1e-9;
    fmt::print("{:<14} {:>16}   {:>7.1f} {:>7.1f} {:>7.1f}  {:>6.2f} {:>7.2f}\n", g.name,
               fmt::format("{}x{}x{} {}{}", g.m, g.k, g.n, g.a_transposed ? 'T' : 'N',
                           g.b_transposed ? 'T' : 'N'),
               speed, other > 0 ? flops(g) / other * 1e-9 : 0, peak, speed / peak, other / own);
    std::fflush(stdout);
    if (other > 0) log_sum += std::log(other / own), ++compared;
  }
  if (compared)
    fmt::print("geometric mean of the ratio to oneDNN: {:.2f}\n", std::exp(log_sum / compared));
}

}  // namespace
}  // namespace encore::bench

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : 1;
  encore::settings().threads = threads;
  setenv("OMP_NUM_THREADS", std::to_string(threads).c_str(), 1);
  encore::bench::run(threads, std::filesystem::path(argv[0]).replace_filename("peer_gemm_onednn"));
}
