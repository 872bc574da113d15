// Times contractions on a GPU: the plan that is chosen, every other plan of a list, and cuBLASLt.
// Each figure is the best of several graphs of many equal launches, in microseconds a launch.
#include <encore/core/error.h>
#include <encore/core/settings.h>
#include <encore/jit/backend.h>
#include <encore/jit/cuda/contraction_wgmma.h>
#include <encore/jit/cuda/cublaslt.h>
#include <encore/jit/cuda/executable.h>
#include <encore/jit/cuda/generate.h>
#include <encore/jit/cuda/nvrtc.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <map>
#include <memory>

#include "contraction_kernels.h"

namespace {

using namespace encore;
using namespace encore::jit;
using namespace encore::jit::cuda;

struct Shape {
  int64_t m, k, n;
  bool a_transposed, b_transposed;
};

// A training step of 784-512-256-10 in batches of 128, then larger ones.
constexpr Shape shapes[] = {
    {128, 784, 512, false, false},    {128, 512, 256, false, false},
    {128, 256, 10, false, false},     {128, 10, 256, false, true},
    {128, 256, 512, false, true},     {784, 128, 512, true, false},
    {512, 128, 256, true, false},     {256, 128, 10, true, false},
    {512, 512, 512, false, false},    {2048, 768, 768, false, false},
    {2048, 2048, 2048, false, false}, {8192, 1024, 4096, false, false},
    {8192, 1024, 4096, false, true},
};

struct Numbers {
  const char* name;
  DType memory;
  MatmulPrecision precision;
};
constexpr Numbers kinds[] = {{"f32", DType::f32, MatmulPrecision::highest},
                             {"tf32", DType::f32, MatmulPrecision::high},
                             {"bf16", DType::bf16, MatmulPrecision::highest}};

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

class Bench {
 public:
  Bench() : gpu_(0) {
    // Numbers from 0.5 to 1, as f32 and, read by halves, as bf16.
    std::vector<uint32_t> numbers(size_t(8192) * 4096);
    for (size_t i = 0; i < numbers.size(); ++i)
      numbers[i] = 0x3f003f00 + (uint32_t(i) * 2654435761u >> 25) * 0x10001;
    for (Ref<Buffer>& buffer : buffers_) {
      buffer = owner_.allocate(numbers.size() * 4);
      owner_.copy_to_device(buffer->data(), numbers.data(), numbers.size() * 4);
    }
    owner_.synchronize();
    gpu_.enter();
  }

  /// `only`: the kind of numbers; empty: all.
  void run(const std::string& only) {
    fmt::print(
        "{:<28} {:>10} {:>10} {:>9}  plans (rows x columns x depths, down x across, stages, "
        "residents, "
        "splits)\n",
        "product", "chosen us", "cublaslt", "TFLOP/s");
    for (const Numbers& kind : kinds)
      for (const Shape& shape : shapes)
        if (only.empty() || only == kind.name) measure(kind, shape);
  }

 private:
  std::vector<ContractionPlan> plans(Multiplier multiplier, bool boxes) {
    const bool split = multiplier == Multiplier::split_tf32;
    const uint16_t deep = multiplier == Multiplier::bf16 ? 64 : 32;
    std::vector<ContractionPlan> plans;
    auto add = [&](uint16_t rows, uint16_t columns, uint16_t depths, uint16_t down, uint16_t across,
                   uint16_t stages, uint16_t residents = 1) {
      plans.push_back({multiplier, rows, columns, depths, down, across, stages, residents, 1});
    };
    if (!split) {
      add(128, 128, 32, 2, 4, 3), add(128, 128, 32, 2, 2, 3), add(128, 256, 32, 2, 4, 3);
      add(128, 128, 32, 2, 4, 3, 2), add(128, 128, 16, 2, 4, 4, 2), add(128, 128, 32, 2, 4, 4);
    }
    if (deep == 64) add(128, 128, 64, 2, 4, 3), add(128, 128, 64, 2, 4, 3, 2);
    if (!split) add(128, 256, 32, 4, 4, 3), add(256, 128, 32, 4, 4, 3);
    if (deep == 64) add(128, 256, 64, 2, 4, 3), add(128, 128, 32, 2, 4, 4, 2);
    add(128, 64, 32, 4, 2, 3), add(128, 64, 32, 4, 2, 3, 2), add(64, 64, 32, 2, 4, 3);
    add(64, 64, 32, 2, 4, 4, 2), add(64, 64, 32, 2, 2, 4), add(64, 32, 32, 4, 1, 4);
    add(32, 32, 32, 2, 2, 4), add(32, 64, 32, 2, 2, 4), add(128, 32, 32, 4, 2, 3);
    if (boxes) {
      auto add_boxed = [&](uint16_t rows, uint16_t columns, uint16_t stages, uint16_t residents,
                           uint16_t splits = 1) {
        plans.push_back({multiplier, rows, columns, deep, uint16_t(rows / 64), 1, stages, residents,
                         splits, true});
      };
      add_boxed(256, 128, 4, 1), add_boxed(128, 256, 4, 1), add_boxed(128, 128, 3, 2);
      add_boxed(128, 128, 6, 1), add_boxed(64, 128, 4, 2), add_boxed(64, 128, 4, 2, 2);
      add_boxed(64, 64, 4, 3), add_boxed(64, 64, 8, 1), add_boxed(64, 64, 4, 3, 2);
      add_boxed(64, 64, 4, 3, 4), add_boxed(64, 64, 4, 3, 8);
    }
    const size_t whole = plans.size();
    for (size_t i = 0; i < whole; ++i)
      if (!plans[i].boxed && (plans[i].rows <= 64 || plans[i].columns <= 32))
        for (uint16_t splits : {2, 4, 8}) {
          plans.push_back(plans[i]);
          plans.back().splits = splits;
        }
    return plans;
  }

  static Kernel kernel_of(const Numbers& kind, const Shape& shape) {
    Kernel kernel = matmul_kernel(DType::f32, 1, shape.m, shape.n, shape.k, shape.a_transposed,
                                  shape.b_transposed);
    for (Argument& argument : kernel.arguments) argument.dtype = kind.memory;
    kernel.contraction->precision = kind.precision;
    return kernel;
  }

  /// All plans of a kind of product, with sizes as arguments: compiled once for all shapes.
  struct Compiled {
    ContractionSchedule schedule;
    std::unique_ptr<const Module> module;
  };
  const Compiled& compiled(const Numbers& kind, const Shape& shape) {
    Compiled& known =
        compiled_[fmt::format("{} {} {}", kind.name, shape.a_transposed, shape.b_transposed)];
    if (known.module) return known;
    Kernel kernel = open(kernel_of(kind, shape));
    const Multiplier multiplier = schedule_contraction(kernel, target()).plans.back().multiplier;
    known.schedule = {plans(multiplier, allows_boxes(kernel, target(), multiplier))};
    known.module = compile(kernel, known.schedule);
    return known;
  }

  static Kernel open(Kernel kernel) {
    for (Size& size : kernel.sizes) size.fixed = size.value == 0 || size.value == 1;
    return kernel;
  }

  Target target() const { return {gpu_.compute_capability(), false, settings().wgmma}; }

  std::unique_ptr<const Module> compile(const Kernel& kernel, const ContractionSchedule& schedule) {
    const std::string text =
        prelude(target()) + generate_contraction(kernel, "k", target(), schedule);
    return std::make_unique<const Module>(gpu_, compile_to_cubin(text, gpu_.compute_capability()));
  }

  void measure(const Numbers& kind, const Shape& shape) {
    const Kernel fixed = kernel_of(kind, shape), generic = open(fixed);
    std::vector<int64_t> sizes;
    for (const Size& size : fixed.sizes) sizes.push_back(size.value);
    const ContractionSchedule chosen = schedule_contraction(fixed, target());
    const std::unique_ptr<const Module> own = compile(fixed, chosen);
    const double time = time_plan(fixed, chosen.plans[0], own->function("k"));
    const Compiled& all = compiled(kind, shape);
    std::vector<std::pair<double, std::string>> others;
    for (uint32_t i = 0; i < all.schedule.plans.size(); ++i) {
      const ContractionPlan& plan = all.schedule.plans[i];
      const int64_t blocks =
          (shape.m + plan.rows - 1) / plan.rows * ((shape.n + plan.columns - 1) / plan.columns);
      if (plan.boxed && !sizes_allow_boxes(generic, sizes.data())) continue;
      if (blocks * plan.splits > 1200 && plan.rows < 128) continue;
      if (blocks < 24 && plan.rows == 128 && plan.columns > 32) continue;
      const CUfunction function = all.module->function(function_symbol("k", i));
      others.push_back({time_plan(generic, plan, function), describe(plan)});
    }
    std::sort(others.begin(), others.end());
    std::string listed;
    for (size_t i = 0; i < std::min<size_t>(others.size(), 4); ++i)
      listed += fmt::format(" [{} {:.2f}]", others[i].second, others[i].first * 1e6);
    fmt::print("{:<28} {:>10.2f} {:>10.2f} {:>9.1f}  {}; best{}\n",
               fmt::format("{} {}x{}x{} {}{}", kind.name, shape.m, shape.k, shape.n,
                           shape.a_transposed ? 'T' : 'N', shape.b_transposed ? 'T' : 'N'),
               time * 1e6, time_cublaslt(kind, shape) * 1e6,
               2e-12 * double(shape.m) * double(shape.n) * double(shape.k) / time,
               describe(chosen.plans[0]), listed);
    std::fflush(stdout);
  }

  static std::string describe(const ContractionPlan& plan) {
    return fmt::format("{}{}x{}x{} {}x{} {} {} {}", plan.boxed ? "wgmma " : "", plan.rows,
                       plan.columns, plan.depths, plan.down, plan.across, plan.stages,
                       plan.residents, plan.splits);
  }

  CUdeviceptr buffer(int i) const { return reinterpret_cast<CUdeviceptr>(buffers_[i]->data()); }

  /// Best of several, a launch. `enqueue` puts `repeats` on the stream.
  double best_of(const std::function<void()>& enqueue, int repeats) {
    double best = 1e9;
    for (int i = 0; i < 6; ++i) {
      gpu_.synchronize();
      const double begin = now();
      enqueue();
      gpu_.synchronize();
      best = std::min(best, (now() - begin) / repeats);
    }
    return best;
  }

  double time_plan(const Kernel& kernel, const ContractionPlan& plan, CUfunction function) {
    std::vector<int64_t> sizes;
    for (const Size& size : kernel.sizes) sizes.push_back(size.value);
    const Geometry geometry = contraction_geometry(kernel, plan, sizes.data());
    driver().cuFuncSetAttribute(function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                                int(geometry.shared_bytes));
    std::vector<uint64_t> block = {1, geometry.grid_x, 0, 0, 0, buffer(0), buffer(1), buffer(2)};
    for (const Size& size : kernel.sizes)
      if (!size.fixed) block.push_back(uint64_t(size.value));
    constexpr size_t words = TensorMap::alignment / 8;
    const size_t maps_at = (block.size() + words - 1) / words * words;
    block.resize(maps_at + 2 * TensorMap::bytes / 8);
    if (plan.boxed) {
      void* arguments[] = {buffers_[0]->data(), buffers_[1]->data(), buffers_[2]->data()};
      const auto maps = tensor_maps(kernel, plan, {arguments, sizes.data(), nullptr});
      for (size_t i = 0; i < maps.size(); ++i)
        encode(maps[i], reinterpret_cast<std::byte*>(&block[maps_at + i * TensorMap::bytes / 8]));
    }
    void* parameters[] = {block.data()};
    CUDA_KERNEL_NODE_PARAMS node{
        function, geometry.grid_x,       1,          1,       geometry.threads, 1,
        1,        geometry.shared_bytes, parameters, nullptr, nullptr,          nullptr};
    constexpr int repeats = 50;
    CUgraph graph = nullptr;
    driver().cuGraphCreate(&graph, 0);
    CUgraphNode last = nullptr;
    for (int i = 0; i < repeats; ++i) {
      CUgraphNode added = nullptr;
      driver().cuGraphAddKernelNode(&added, graph, &last, i > 0, &node);
      last = added;
    }
    CUgraphExec executable = nullptr;
    driver().cuGraphInstantiate(&executable, graph, 0);
    const double best =
        best_of([&] { driver().cuGraphLaunch(executable, gpu_.stream()); }, repeats);
    driver().cuGraphExecDestroy(executable);
    driver().cuGraphDestroy(graph);
    return best;
  }

  double time_cublaslt(const Numbers& kind, const Shape& shape) {
    if (!cublaslt_is_available()) return 0;
    CublasLtShape wanted{.m = shape.m, .n = shape.n, .k = shape.k, .c = {shape.n}};
    wanted.a = {shape.a_transposed ? shape.m : shape.k, 0, shape.a_transposed};
    wanted.b = {shape.b_transposed ? shape.k : shape.n, 0, shape.b_transposed};
    wanted.dtype = wanted.result = kind.memory;
    wanted.rounds = kind.memory == DType::f32 && kind.precision != MatmulPrecision::highest;
    const CublasLtProduct product(wanted);
    const CublasLtOperands operands{buffers_[0]->data(), buffers_[1]->data(), nullptr,
                                    buffers_[2]->data(), buffers_[3]->data()};
    double best = 1e9;
    for (size_t algorithm = 0; algorithm < product.algorithms(); ++algorithm) {
      constexpr int repeats = 50;
      auto enqueue = [&] {
        for (int i = 0; i < repeats; ++i) product.run(algorithm, operands, gpu_.stream());
      };
      best = std::min(best, best_of(enqueue, repeats));
    }
    return best;
  }

  Gpu gpu_;
  std::map<std::string, Compiled> compiled_;
  Backend& owner_ = backend(Device{DeviceKind::cuda, 0});
  Ref<Buffer> buffers_[4];
};

}  // namespace

// One argument: f32, tf32 or bf16, and only that is measured.
int main(int count, char** words) {
  if (cuda_device_count() == 0) return std::puts("there is no GPU here"), 0;
  Bench().run(count > 1 ? words[1] : "");
}
