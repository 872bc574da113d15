// The workloads that Encore is compared on, as a user writes them. One JSON line each:
//   {"name", "mode", "ms", "first_s", "launches", "compiles", "fraction_of_ceiling", …}
// then one line with this machine's ceilings, measured before and after in the same run.
//
// Results are named before eval: a temporary of the same expression still is a handle, and what a
// handle holds is stored.
//
// usage: yardstick [--only name,name] [--threads N] [--device cpu|cuda] [--precision f32|tf32|bf16]
#include <encore/core/settings.h>
#include <encore/encore.h>
#include <encore/trace/statistics.h>
#include <encore/utils/ceilings.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

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

/// As the rivals are timed: the first call apart, some warm ones, then the median of batches, each
/// waited for at its end.
Timing time_step(const Step& step) {
  encore::sync();
  auto start = Clock::now();
  step();
  encore::sync();
  Timing result{0, seconds_since(start)};
  for (int i = 0; i < 3; ++i) step();
  encore::sync();
  start = Clock::now();
  step();
  encore::sync();
  double one = std::max(seconds_since(start), 1e-6);
  int inner = std::max(1, int(0.02 / one));
  std::vector<double> times;
  auto begin = Clock::now();
  while (times.size() < 7 || (seconds_since(begin) < 1.5 && times.size() < 200)) {
    start = Clock::now();
    for (int i = 0; i < inner; ++i) step();
    encore::sync();
    times.push_back(seconds_since(start) / inner);
  }
  std::sort(times.begin(), times.end());
  result.median = times[times.size() / 2];
  return result;
}

/// Sizes of the workloads: those of bench/peers/torch_jax.py.
struct Sizes {
  Shape ew, softmax, layer_norm;
  int64_t adam_tensors, adam_elements;
  int64_t rows, depth, columns;  // linear_gelu
};

const Sizes& sizes() {
  static const Sizes of_cpu = {{2048, 4096}, {4096, 1024}, {4096, 1024}, 20,
                               250'000,      1024,         512,          1024};
  static const Sizes of_gpu = {{8192, 8192}, {16384, 4096}, {16384, 1024}, 100,
                               500'000,      8192,          1024,          4096};
  return default_device() == cpu ? of_cpu : of_gpu;
}

/// What products are given; f32 and tf32 store f32.
DType product_dtype = f32;

Tensor random(Shape shape) {
  Tensor x = randn(shape);
  eval(x);
  return x;
}

Tensor random_operand(Shape shape) {
  Tensor x = randn(shape, {.dtype = product_dtype});
  eval(x);
  return x;
}

Step ew_chain() {
  Tensor a = random(sizes().ew), b = random(sizes().ew), c = random(sizes().ew),
         bias = random({sizes().ew[1]});
  return [=] {
    Tensor y = gelu(a * b + bias, GeluForm::tanh) + c;
    eval(y);
  };
}

Step softmax_rows() {
  Tensor x = random(sizes().softmax);
  return [=] {
    Tensor y = softmax(x * 0.125, -1);
    eval(y);
  };
}

Step layernorm_fwd_bwd() {
  const Shape& shape = sizes().layer_norm;
  Tensor x = variable(random(shape)), g = variable(random({shape[1]})),
         b = variable(random({shape[1]}));
  Tensor dy = random(shape);
  return [=] {
    Tensor y = layer_norm(x, {shape[1]}, g, b);
    std::vector<Tensor> gradients = grad((y * dy).sum(), {x, g, b});
    eval(y, gradients[0], gradients[1], gradients[2]);
  };
}

Step colsum_exp() {
  Tensor a = random(sizes().ew);
  return [=] {
    Tensor y = (exp(a) * a).sum({0});
    eval(y);
  };
}

Step adamw_step() {
  auto parameters = std::make_shared<std::vector<Parameter>>();
  std::vector<Tensor> gradients;
  for (int64_t i = 0; i < sizes().adam_tensors; ++i) {
    parameters->emplace_back(random({sizes().adam_elements}));
    gradients.push_back(random({sizes().adam_elements}));
  }
  std::vector<ParameterRef> refs(parameters->begin(), parameters->end());
  for (size_t i = 0; i < refs.size(); ++i) refs[i].set_grad(gradients[i]);
  auto optimizer = std::make_shared<AdamW>(refs);
  return [=] { (void)parameters, optimizer->step(); };
}

Step linear_gelu() {
  const Sizes& size = sizes();
  Tensor x = random_operand({size.rows, size.depth}),
         w = random_operand({size.columns, size.depth}), b = random_operand({size.columns});
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

std::vector<Workload> workloads() {
  const Sizes& size = sizes();
  double ew = double(size.ew.numel()) * 4, rows = double(size.layer_norm.numel()) * 4;
  double adam = double(size.adam_tensors * size.adam_elements) * 4;
  double linear =
      double(size.rows * size.depth + size.depth * size.columns) * size_of(product_dtype) +
      double(size.rows * size.columns) * size_of(product_dtype);
  double weights = 784.0 * 512 + 512 * 256 + 256 * 10;
  return {
      {"ew_chain", 4 * ew, 0, ew_chain},
      {"softmax", 8 * double(size.softmax.numel()), 0, softmax_rows},
      {"layernorm_fwd_bwd", 4 * rows, 0, layernorm_fwd_bwd},
      {"colsum_exp", ew, 0, colsum_exp},
      {"adamw_step", 7 * adam, 0, adamw_step},
      {"linear_gelu", linear, 2.0 * double(size.rows * size.depth * size.columns), linear_gelu},
      {"tiny_600ops", 0, 0, tiny_600ops},
      {"tiny_600ops_compiled", 0, 0, tiny_600ops_compiled},
      {"mlp_train", 0, 2.0 * 128 * (3 * weights - 784.0 * 512), mlp_train},
  };
}

struct Arguments {
  std::vector<std::string> only;
  int threads = 2;
  std::string device = "cpu";
  std::string precision = "f32";
  double stream = 0, gflops = 0;  // a GPU's, in GB/s and GFLOP/s
};

/// The CPU's are measured here; a GPU's by bench/peers/gpu_ceilings.py in the same run. What is
/// unknown bounds nothing.
Ceilings measure_ceilings(const Arguments& options) {
  constexpr double unbound = std::numeric_limits<double>::infinity();
  if (default_device() == cpu)
    return {stream_bytes_per_second(options.threads), fma_flops_per_second(options.threads)};
  return {options.stream > 0 ? options.stream * 1e9 : unbound,
          options.gflops > 0 ? options.gflops * 1e9 : unbound};
}

void run(const Workload& workload, const Arguments& options, const Ceilings& ceilings) {
  manual_seed(1);
  Step step = workload.make();
  trace::Statistics before = trace::statistics();
  Timing timing = time_step(step);
  trace::Statistics warm = trace::statistics();
  step();
  trace::Statistics after = trace::statistics();
  double floor = std::max(workload.bytes / ceilings.stream, workload.flops / ceilings.flops);
  fmt::print(
      "{{\"name\":\"{}\",\"mode\":\"encore\",\"device\":\"{}\",\"prec\":\"{}\",\"ms\":{:.4f},"
      "\"first_s\":{:.4f},\"threads\":{},\"launches\":{},\"graph_launches\":{},\"kernels\":{},"
      "\"compiles_when_warm\":{},\"floor_ms\":{:.4f},\"fraction_of_ceiling\":{:.3f}}}\n",
      workload.name, options.device, options.precision, timing.median * 1e3, timing.first,
      options.threads, after.launches - warm.launches, after.graph_launches - warm.graph_launches,
      warm.kernels_compiled - before.kernels_compiled,
      after.kernels_compiled - warm.kernels_compiled, floor * 1e3, floor / timing.median);
  std::fflush(stdout);
}

/// JSON has no infinity; 0 stands for what was not measured.
double known(double ceiling) { return std::isfinite(ceiling) ? ceiling : 0; }

void choose_precision(const std::string& precision) {
  if (precision == "tf32") set_matmul_precision(MatmulPrecision::high);
  if (precision == "bf16") product_dtype = bf16;
}

}  // namespace

int main(int argc, char** argv) {
  Arguments options;
  CLI::App app("Encore's side of the yardstick.");
  app.add_option("--only", options.only, "names of workloads")->delimiter(',');
  app.add_option("--threads", options.threads, "worker threads of the CPU")->capture_default_str();
  app.add_option("--device", options.device, "cpu or cuda")->capture_default_str();
  app.add_option("--precision", options.precision, "of products: f32, tf32 or bf16")
      ->check(CLI::IsMember({"f32", "tf32", "bf16"}))
      ->capture_default_str();
  app.add_option("--stream", options.stream, "GB/s that a GPU's memory moves at best");
  app.add_option("--gflops", options.gflops, "GFLOP/s that a GPU's products reach at best");
  CLI11_PARSE(app, argc, argv);
  settings().threads = options.threads;
  set_default_device(parse_device(options.device));
  choose_precision(options.precision);
  Ceilings ceilings = measure_ceilings(options);
  for (const Workload& workload : workloads())
    if (options.only.empty() || std::ranges::count(options.only, workload.name))
      run(workload, options, ceilings);
  Ceilings after = measure_ceilings(options);
  fmt::print(
      "{{\"name\":\"ceilings\",\"device\":\"{}\",\"threads\":{},\"stream_GBps\":{:.2f},"
      "\"stream_GBps_after\":{:.2f},\"GFLOPs\":{:.1f}}}\n",
      options.device, options.threads, known(ceilings.stream) / 1e9, known(after.stream) / 1e9,
      known(ceilings.flops) / 1e9);
}
