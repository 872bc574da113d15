// How close do fused loops come to the memory's stream? Kernels made by hand for the shapes of the
// peers' CPU workloads, next to a triad that stores past the caches, in one program so that the
// ratios hold on a busy machine. Bytes are the fewest that a workload can move. Each case runs with
// as many threads as ENCORE_THREADS says.
#include <benchmark/benchmark.h>
#include <encore/jit/cpu/cpu_backend.h>
#include <encore/jit/cpu/parallel.h>
#include <encore/tests/kernel_maker.h>
#include <immintrin.h>

#include <numeric>

namespace encore::jit {
namespace {

/// A kernel under construction, all in f32.
struct Loop : ArithmeticMaker {
  std::vector<int64_t> elements;  // of each argument

  uint32_t tensor(Use use, int64_t count, std::vector<SizeId> strides) {
    elements.push_back(count);
    return access(argument(f32, use), std::move(strides));
  }
  /// x / (1 + e^(-2 c (x + 0.044715 x^3))), which is gelu by tanh.
  ValueId gelu(ValueId x) {
    ValueId cube = mul(mul(x, x), x);
    ValueId inner = mul(fma(cube, number(0.044715), x), number(-1.5957691216057308));
    return div(x, add(exponential(inner), number(1)));
  }
};

Loop triad(int64_t elements) {
  Loop k;
  k.axis(Role::inner, k.fixed(elements));
  SizeId one = k.fixed(1);
  uint32_t a = k.tensor(Use::read, elements, {one}), b = k.tensor(Use::read, elements, {one});
  uint32_t out = k.tensor(Use::write, elements, {one});
  k.store(k.fma(k.load(f32, a), k.number(3), k.load(f32, b)), out);
  k.stage(StageKind::sweep);
  return k;
}

/// gelu(a * b + bias) + c
Loop ew_chain(int64_t rows, int64_t columns) {
  Loop k;
  SizeId n = k.fixed(columns), one = k.fixed(1);
  k.axis(Role::row, k.fixed(rows)), k.axis(Role::inner, n);
  int64_t all = rows * columns;
  uint32_t a = k.tensor(Use::read, all, {n, one}), b = k.tensor(Use::read, all, {n, one});
  uint32_t bias = k.tensor(Use::read, columns, {none, one});
  uint32_t c = k.tensor(Use::read, all, {n, one}), out = k.tensor(Use::write, all, {n, one});
  ValueId x = k.add(k.mul(k.load(f32, a), k.load(f32, b)), k.load(f32, bias));
  k.store(k.add(k.gelu(x), k.load(f32, c)), out);
  k.stage(StageKind::sweep);
  return k;
}

/// softmax(x / 8) along rows, the exponentials computed twice rather than stored.
Loop softmax(int64_t rows, int64_t columns) {
  Loop k;
  SizeId n = k.fixed(columns), one = k.fixed(1);
  k.axis(Role::row, k.fixed(rows)), k.axis(Role::inner, n);
  uint32_t in = k.tensor(Use::read, rows * columns, {n, one});
  uint32_t out = k.tensor(Use::write, rows * columns, {n, one});
  auto scaled = [&] { return k.mul(k.load(f32, in), k.number(0.125)); };
  uint32_t highest = k.accumulate(Reduce::max, scaled());
  k.stage(StageKind::sweep);
  ValueId shift = k.reduced(highest);
  k.stage(StageKind::row);
  uint32_t sum = k.accumulate(Reduce::sum, k.exponential(k.sub(scaled(), shift)));
  k.stage(StageKind::sweep);
  ValueId factor = k.div(k.number(1), k.reduced(sum));
  k.stage(StageKind::row);
  k.store(k.mul(k.exponential(k.sub(scaled(), shift)), factor), out);
  k.stage(StageKind::sweep);
  return k;
}

/// Forward and backward in one pass: y, dx, and chunk sums of dgamma and dbeta.
Loop layer_norm(int64_t rows, int64_t columns, int64_t rows_per_chunk) {
  Loop k;
  SizeId n = k.fixed(columns), one = k.fixed(1);
  k.axis(Role::row, k.fixed(rows)), k.axis(Role::inner, n);
  k.kernel.rows_per_chunk = k.fixed(rows_per_chunk);
  int64_t all = rows * columns, partial = (rows + rows_per_chunk - 1) / rows_per_chunk * columns;
  uint32_t in = k.tensor(Use::read, all, {n, one}), dy_in = k.tensor(Use::read, all, {n, one});
  uint32_t gamma = k.tensor(Use::read, columns, {none, one});
  uint32_t beta = k.tensor(Use::read, columns, {none, one});
  uint32_t y = k.tensor(Use::write, all, {n, one}), dx = k.tensor(Use::write, all, {n, one});
  uint32_t dgamma = k.tensor(Use::write, partial, {none, one});
  uint32_t dbeta = k.tensor(Use::write, partial, {none, one});
  auto mean_of = [&](uint32_t sum) {
    return k.mul(k.reduced(sum), k.number(1.0 / double(columns)));
  };
  uint32_t sum = k.accumulate(Reduce::sum, k.load(f32, in));
  k.stage(StageKind::sweep);
  ValueId mean = mean_of(sum);
  k.stage(StageKind::row);
  ValueId centred = k.sub(k.load(f32, in), mean);
  uint32_t squares = k.accumulate(Reduce::sum, k.mul(centred, centred));
  k.stage(StageKind::sweep);
  ValueId deviation = k.op(Opcode::sqrt, {k.add(mean_of(squares), k.number(1e-5))});
  ValueId scale = k.div(k.number(1), deviation);
  k.stage(StageKind::row);
  ValueId normal = k.mul(k.sub(k.load(f32, in), mean), scale);
  ValueId g = k.load(f32, gamma), dy = k.load(f32, dy_in);
  k.store(k.add(k.mul(normal, g), k.load(f32, beta)), y);
  ValueId dnormal = k.mul(dy, g);
  uint32_t first = k.accumulate(Reduce::sum, dnormal);
  uint32_t second = k.accumulate(Reduce::sum, k.mul(dnormal, normal));
  k.accumulate_column(Reduce::sum, k.mul(dy, normal), dgamma, n);
  k.accumulate_column(Reduce::sum, dy, dbeta, n);
  k.stage(StageKind::sweep);
  ValueId mean_first = mean_of(first), mean_second = mean_of(second);
  k.stage(StageKind::row);
  normal = k.mul(k.sub(k.load(f32, in), mean), scale);
  dnormal = k.mul(k.load(f32, dy_in), k.load(f32, gamma));
  ValueId rest = k.sub(k.sub(dnormal, mean_first), k.mul(normal, mean_second));
  k.store(k.mul(rest, scale), dx);
  k.stage(StageKind::sweep);
  return k;
}

/// Column sums of exp(x) * x, by chunks.
Loop colsum_exp(int64_t rows, int64_t columns, int64_t rows_per_chunk) {
  Loop k;
  SizeId n = k.fixed(columns), one = k.fixed(1);
  k.axis(Role::row, k.fixed(rows)), k.axis(Role::inner, n);
  k.kernel.rows_per_chunk = k.fixed(rows_per_chunk);
  uint32_t in = k.tensor(Use::read, rows * columns, {n, one});
  uint32_t out = k.tensor(Use::write, rows / rows_per_chunk * columns, {none, one});
  ValueId x = k.load(f32, in);
  k.accumulate_column(Reduce::sum, k.mul(k.exponential(x), x), out, n);
  k.stage(StageKind::sweep);
  return k;
}

void run(benchmark::State& state, const Loop& loop, int64_t least_bytes) {
  Backend& backend = cpu_backend();
  verify_kernel(loop.kernel);
  const Kernel* kernel = &loop.kernel;
  auto executable = backend.load(*kernel, backend.compile({&kernel, 1})[0]);
  std::vector<Ref<Buffer>> buffers;
  std::vector<void*> arguments;
  for (int64_t count : loop.elements) {
    buffers.push_back(backend.allocate(size_t(count) * 4));
    arguments.push_back(buffers.back()->data());
    auto* values = static_cast<float*>(arguments.back());
    for (int64_t i = 0; i < count; ++i) values[i] = float(i * 7919 % 2003) / 1000 - 1;
  }
  std::vector<int64_t> sizes;
  for (const Size& size : kernel->sizes) sizes.push_back(size.value);
  Segment segment{arguments.data(), sizes.data(), nullptr};
  for (auto _ : state) executable->launch({&segment, 1});
  state.SetBytesProcessed(state.iterations() * least_bytes);
}

/// The ceiling: three streams, stores past the caches, plain intrinsics on the same threads.
__attribute__((target("avx2,fma"))) void stream_part(const float* a, const float* b, float* out,
                                                     int64_t begin, int64_t end) {
  __m256 three = _mm256_set1_ps(3);
  for (int64_t i = begin; i < end; i += 8)
    _mm256_stream_ps(out + i,
                     _mm256_fmadd_ps(_mm256_loadu_ps(a + i), three, _mm256_loadu_ps(b + i)));
  _mm_sfence();
}

void Stream(benchmark::State& state) {
  constexpr int64_t elements = 2048 * 4096;
  Ref<Buffer> buffers[3];
  float* values[3];
  for (int i = 0; i < 3; ++i) {
    buffers[i] = cpu_backend().allocate(elements * 4);
    values[i] = static_cast<float*>(buffers[i]->data());
    std::fill(values[i], values[i] + elements, float(i));
  }
  constexpr int64_t block = 4096;
  for (auto _ : state)
    parallel_for(elements / block, [&](int64_t begin, int64_t end) {
      stream_part(values[0], values[1], values[2], begin * block, end * block);
    });
  state.SetBytesProcessed(state.iterations() * elements * 12);
}

void Triad(benchmark::State& state) { run(state, triad(2048 * 4096), 2048 * 4096 * 12); }
void EwChain(benchmark::State& state) { run(state, ew_chain(2048, 4096), 2048 * 4096 * 16); }
void Softmax(benchmark::State& state) { run(state, softmax(4096, 1024), 4096 * 1024 * 8); }
void LayerNorm(benchmark::State& state) {
  run(state, layer_norm(4096, 1024, 128), 4096 * 1024 * 16);
}
void ColsumExp(benchmark::State& state) { run(state, colsum_exp(2048, 4096, 64), 2048 * 4096 * 4); }

/// Time from the kernel to its bytes.
void CompileEwChain(benchmark::State& state) {
  Loop loop = ew_chain(2048, 4096);
  const Kernel* kernel = &loop.kernel;
  for (auto _ : state) benchmark::DoNotOptimize(cpu_backend().compile({&kernel, 1}));
}
void LoadEwChain(benchmark::State& state) {
  Loop loop = ew_chain(2048, 4096);
  const Kernel* kernel = &loop.kernel;
  Binary binary = cpu_backend().compile({&kernel, 1})[0];
  for (auto _ : state) benchmark::DoNotOptimize(cpu_backend().load(loop.kernel, binary));
}
/// What a launch costs besides its work.
void LaunchTiny(benchmark::State& state) { run(state, triad(64), 64 * 12); }

BENCHMARK(Stream)->UseRealTime();
BENCHMARK(Triad)->UseRealTime();
BENCHMARK(EwChain)->UseRealTime();
BENCHMARK(Softmax)->UseRealTime();
BENCHMARK(LayerNorm)->UseRealTime();
BENCHMARK(ColsumExp)->UseRealTime();
BENCHMARK(CompileEwChain);
BENCHMARK(LoadEwChain);
BENCHMARK(LaunchTiny);

}  // namespace
}  // namespace encore::jit

BENCHMARK_MAIN();
