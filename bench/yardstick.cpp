// The workloads that Encore is compared on, as a user writes them. One JSON line each:
//   {"name", "mode", "ms", "first_s", "launches", "compiles", "fraction_of_ceiling", …}
// then one line with this machine's ceilings, measured before and after in the same run.
//
// Results are named before eval: a temporary of the same expression still is a handle, and what a
// handle holds is stored.
//
// usage: yardstick [--only name,name] [--threads N]
#include <encore/core/settings.h>
#include <encore/encore.h>
#include <encore/trace/statistics.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "ceilings.h"

using namespace encore;

namespace {

using Clock = std::chrono::steady_clock;
using Step = std::function<void()>;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// A workload: `make` builds fresh state and returns its step. `bytes` are the fewest that memory
/// must move a step, `flops` those of its products; 0: not bound by that.
struct Workload {
  std::string name;
  double bytes;
  double flops;
  std::function<Step()> make;
};

struct Timing {
  double median;
  double first;
};

/// As the rivals are timed: the first call apart, some warm ones, then the median of batches.
Timing time_step(const Step& step) {
  auto start = Clock::now();
  step();
  Timing result{0, seconds_since(start)};
  for (int i = 0; i < 3; ++i) step();
  start = Clock::now();
  step();
  double one = std::max(seconds_since(start), 1e-6);
  int inner = std::max(1, int(0.02 / one));
  std::vector<double> times;
  auto begin = Clock::now();
  while (times.size() < 7 || (seconds_since(begin) < 1.5 && times.size() < 200)) {
    start = Clock::now();
    for (int i = 0; i < inner; ++i) step();
    times.push_back(seconds_since(start) / inner);
  }
  std::sort(times.begin(), times.end());
  result.median = times[times.size() / 2];
  return result;
}

Tensor random(Shape shape) {
  Tensor x = randn(shape);
  eval(x);
  return x;
}

Step ew_chain() {
  Tensor a = random({2048, 4096}), b = random({2048, 4096}), c = random({2048, 4096}),
         bias = random({4096});
  return [=] {
    Tensor y = gelu(a * b + bias, GeluForm::tanh) + c;
    eval(y);
  };
}

Step softmax_rows() {
  Tensor x = random({4096, 1024});
  return [=] {
    Tensor y = softmax(x * 0.125, -1);
    eval(y);
  };
}

Step layernorm_fwd_bwd() {
  Tensor x = variable(random({4096, 1024})), g = variable(random({1024})),
         b = variable(random({1024}));
  Tensor dy = random({4096, 1024});
  return [=] {
    Tensor y = layer_norm(x, {1024}, g, b);
    std::vector<Tensor> gradients = grad((y * dy).sum(), {x, g, b});
    eval(y, gradients[0], gradients[1], gradients[2]);
  };
}

Step colsum_exp() {
  Tensor a = random({2048, 4096});
  return [=] {
    Tensor y = (exp(a) * a).sum({0});
    eval(y);
  };
}

Step adamw_step() {
  auto parameters = std::make_shared<std::vector<Parameter>>();
  std::vector<Tensor> gradients;
  for (int i = 0; i < 20; ++i) {
    parameters->emplace_back(random({250000}));
    gradients.push_back(random({250000}));
  }
  std::vector<ParameterRef> refs(parameters->begin(), parameters->end());
  for (size_t i = 0; i < refs.size(); ++i) refs[i].set_grad(gradients[i]);
  auto optimizer = std::make_shared<AdamW>(refs);
  return [=] { (void)parameters, optimizer->step(); };
}

Step linear_gelu() {
  Tensor x = random({1024, 512}), w = random({1024, 512}), b = random({1024});
  return [=] {
    Tensor y = gelu(linear(x, w, b), GeluForm::tanh);
    eval(y);
  };
}

Step tiny_600ops() {
  Tensor x = random({64});
  return [=] {
    Tensor y = x;
    for (int i = 0; i < 200; ++i) y = tanh(y * 1.01 + 0.1);
    eval(y);
  };
}

Step tiny_600ops_compiled() {
  Tensor x = random({64});
  auto f = std::make_shared<Compiled<Tensor (*)(const Tensor&)>>(compile(+[](const Tensor& x) {
    Tensor y = x;
    for (int i = 0; i < 200; ++i) y = tanh(y * 1.01 + 0.1);
    return y;
  }));
  return [=] { (*f)(x); };
}

struct Mlp : Module {
  Linear fc1{784, 512}, fc2{512, 256}, fc3{256, 10};
  Tensor forward(const Tensor& x) { return fc3(relu(fc2(relu(fc1(x))))); }
  ENCORE_MEMBERS(fc1, fc2, fc3)
};

Step mlp_train() {
  auto model = std::make_shared<Mlp>();
  auto optimizer = std::make_shared<AdamW>(model->parameters());
  Tensor x = random({128, 784}), labels = randint(0, 10, {128});
  eval(labels);
  return [=] {
    Tensor loss = cross_entropy((*model)(x), labels);
    optimizer->minimize(loss);
  };
}

const std::vector<Workload>& workloads() {
  constexpr double ew = 2048.0 * 4096 * 4, sm = 4096.0 * 1024 * 4, adam = 20 * 250000.0 * 4;
  constexpr double weights = 784.0 * 512 + 512 * 256 + 256 * 10;
  static const std::vector<Workload> all = {
      {"ew_chain", 4 * ew, 0, ew_chain},
      {"softmax", 2 * sm, 0, softmax_rows},
      {"layernorm_fwd_bwd", 4 * sm, 0, layernorm_fwd_bwd},
      {"colsum_exp", ew, 0, colsum_exp},
      {"adamw_step", 7 * adam, 0, adamw_step},
      {"linear_gelu", 0, 2.0 * 1024 * 512 * 1024, linear_gelu},
      {"tiny_600ops", 0, 0, tiny_600ops},
      {"tiny_600ops_compiled", 0, 0, tiny_600ops_compiled},
      {"mlp_train", 0, 2.0 * 128 * (3 * weights - 784.0 * 512), mlp_train},
  };
  return all;
}

void run(const Workload& workload, int threads, double stream, double fma) {
  manual_seed(1);
  Step step = workload.make();
  trace::Statistics before = trace::statistics();
  Timing timing = time_step(step);
  trace::Statistics warm = trace::statistics();
  step();
  trace::Statistics after = trace::statistics();
  double floor = std::max(workload.bytes / stream, workload.flops / fma);
  fmt::print(
      "{{\"name\":\"{}\",\"mode\":\"encore\",\"ms\":{:.4f},\"first_s\":{:.4f},\"threads\":{},"
      "\"launches\":{},"
      "\"kernels\":{},\"compiles_when_warm\":{},\"floor_ms\":{:.4f},\"fraction_of_ceiling\":{:.3f}}"
      "}\n",
      workload.name, timing.median * 1e3, timing.first, threads, after.launches - warm.launches,
      warm.kernels_compiled - before.kernels_compiled,
      after.kernels_compiled - warm.kernels_compiled, floor * 1e3, floor / timing.median);
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> only;
  int threads = 2;
  CLI::App app("Encore's side of the yardstick.");
  app.add_option("--only", only, "names of workloads")->delimiter(',');
  app.add_option("--threads", threads, "worker threads")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  settings().threads = threads;
  double stream = bench::stream_bytes_per_second(threads),
         fma = bench::fma_flops_per_second(threads);
  for (const Workload& workload : workloads())
    if (only.empty() || std::find(only.begin(), only.end(), workload.name) != only.end())
      run(workload, threads, stream, fma);
  fmt::print(
      "{{\"name\":\"ceilings\",\"threads\":{},\"stream_GBps\":{:.2f},\"stream_GBps_after\":{:.2f},"
      "\"fma_GFLOPs\":{:.1f}}}\n",
      threads, stream / 1e9, bench::stream_bytes_per_second(threads) / 1e9, fma / 1e9);
}
