#include "schedule_kernels.h"

#include <fmt/format.h>

#include <cmath>
#include <cstring>

#include "kernel_maker.h"
#include "random_data.h"

namespace encore::jit {
namespace {

/// A kernel under construction with its data.
struct Maker : ArithmeticMaker {
  bool fixed_sizes;
  Random random{7};
  LaunchData data;

  explicit Maker(bool fixed) : fixed_sizes(fixed) {}

  SizeId size(int64_t value) {
    SizeId id = fixed_sizes || value < 2 ? fixed(value) : free(value);
    data.sizes.push_back(value);
    return id;
  }
  uint32_t tensor(DType dtype, Use use, int64_t count, std::vector<SizeId> strides, double low = -1,
                  double high = 1) {
    std::vector<std::byte> memory(size_t(count) * size_of(dtype));
    for (int64_t i = 0; use != Use::write && i < count; ++i) {
      double value = random.between(low, high);
      Scalar scalar = is_floating(dtype) ? Scalar(value) : Scalar(int64_t(std::floor(value)));
      uint64_t bits = scalar.bits_as(dtype);
      std::memcpy(memory.data() + size_t(i) * size_of(dtype), &bits, size_of(dtype));
    }
    data.arguments.push_back(std::move(memory));
    return access(argument(dtype, use), std::move(strides));
  }
  RandomKernel finish(std::string name) {
    kernel.name = std::move(name);
    std::vector<uint32_t> owners;
    for (uint32_t i = 0; i < kernel.arguments.size(); ++i) owners.push_back(i);
    return {kernel, {data}, owners};
  }
};

}  // namespace

RandomKernel chain_kernel(int64_t rows, int64_t columns, bool fixed, DType stored) {
  Maker k(fixed);
  SizeId n = k.size(columns), one = k.size(1);
  k.axis(Role::outer, k.size(rows)), k.axis(Role::inner, n);
  int64_t all = rows * columns;
  uint32_t a = k.tensor(stored, Use::read, all, {n, one});
  uint32_t b = k.tensor(f32, Use::read, all, {n, one});
  uint32_t bias = k.tensor(f32, Use::read, columns, {none, one});
  uint32_t scale = k.tensor(f32, Use::read, rows, {one, none});
  uint32_t out = k.tensor(stored, Use::write, all, {n, one});
  ValueId x = k.add(k.mul(k.load(f32, a), k.load(f32, b)), k.load(f32, bias));
  k.store(k.mul(k.exponential(x), k.load(f32, scale)), out);
  k.stage(StageKind::sweep);
  return k.finish(fmt::format("chain_{}x{}", rows, columns));
}

RandomKernel softmax_kernel(int64_t rows, int64_t columns, bool fixed, DType stored) {
  Maker k(fixed);
  SizeId n = k.size(columns), one = k.size(1);
  k.axis(Role::outer, k.size(rows)), k.axis(Role::inner, n);
  uint32_t in = k.tensor(stored, Use::read, rows * columns, {n, one}, -4, 4);
  uint32_t kept = k.tensor(f32, Use::update, rows * columns, {n, one});
  uint32_t out = k.tensor(stored, Use::write, rows * columns, {n, one});
  auto scaled = [&] { return k.mul(k.load(f32, in), k.number(0.125)); };
  uint32_t highest = k.accumulate(Reduce::max, scaled());
  k.stage(StageKind::sweep);
  ValueId shift = k.reduced(highest);
  k.stage(StageKind::row);
  ValueId exponential = k.exponential(k.sub(scaled(), shift));
  uint32_t sum = k.accumulate(Reduce::sum, exponential);
  k.store(exponential, kept);
  k.stage(StageKind::sweep);
  ValueId factor = k.div(k.number(1), k.reduced(sum));
  k.stage(StageKind::row);
  ValueId result = k.mul(k.load(f32, kept), factor);
  k.store(result, out);
  k.store(result, kept);
  k.stage(StageKind::sweep);
  return k.finish(fmt::format("softmax_{}x{}", rows, columns));
}

RandomKernel layer_norm_kernel(int64_t rows, int64_t columns, int64_t rows_per_chunk, bool fixed) {
  Maker k(fixed);
  SizeId n = k.size(columns), one = k.size(1);
  k.axis(Role::row, k.size(rows)), k.axis(Role::inner, n);
  k.kernel.rows_per_chunk = k.size(rows_per_chunk);
  int64_t all = rows * columns;
  int64_t partial = std::max<int64_t>(1, (rows + rows_per_chunk - 1) / rows_per_chunk) * columns;
  uint32_t in = k.tensor(f32, Use::read, all, {n, one});
  uint32_t dy_in = k.tensor(f32, Use::read, all, {n, one});
  uint32_t gamma = k.tensor(f32, Use::read, columns, {none, one});
  uint32_t y = k.tensor(f32, Use::write, all, {n, one});
  uint32_t dx = k.tensor(f32, Use::write, all, {n, one});
  uint32_t dgamma = k.tensor(f32, Use::write, partial, {none, one});
  uint32_t dbeta = k.tensor(f32, Use::write, partial, {none, one});
  uint32_t sum = k.accumulate(Reduce::sum, k.load(f32, in));
  k.stage(StageKind::sweep);
  ValueId mean = k.mul(k.reduced(sum), k.number(1.0 / double(columns)));
  k.stage(StageKind::row);
  ValueId centred = k.sub(k.load(f32, in), mean);
  uint32_t squares = k.accumulate(Reduce::sum, k.mul(centred, centred));
  k.stage(StageKind::sweep);
  ValueId variance = k.mul(k.reduced(squares), k.number(1.0 / double(columns)));
  ValueId scale = k.div(k.number(1), k.op(Opcode::sqrt, {k.add(variance, k.number(1e-5))}));
  k.stage(StageKind::row);
  ValueId normal = k.mul(k.sub(k.load(f32, in), mean), scale);
  ValueId g = k.load(f32, gamma), dy = k.load(f32, dy_in);
  k.store(k.mul(normal, g), y);
  ValueId dnormal = k.mul(dy, g);
  uint32_t first = k.accumulate(Reduce::sum, dnormal);
  uint32_t second = k.accumulate(Reduce::sum, k.mul(dnormal, normal));
  k.accumulate_column(Reduce::sum, k.mul(dy, normal), dgamma, n);
  k.accumulate_column(Reduce::sum, dy, dbeta, n);
  k.stage(StageKind::sweep);
  ValueId mean_first = k.mul(k.reduced(first), k.number(1.0 / double(columns)));
  ValueId mean_second = k.mul(k.reduced(second), k.number(1.0 / double(columns)));
  k.stage(StageKind::row);
  normal = k.mul(k.sub(k.load(f32, in), mean), scale);
  dnormal = k.mul(k.load(f32, dy_in), k.load(f32, gamma));
  ValueId rest = k.sub(k.sub(dnormal, mean_first), k.mul(normal, mean_second));
  k.store(k.mul(rest, scale), dx);
  k.stage(StageKind::sweep);
  return k.finish(fmt::format("layer_norm_{}x{}", rows, columns));
}

RandomKernel column_sum_kernel(int64_t rows, int64_t columns, int64_t rows_per_chunk, bool fixed) {
  Maker k(fixed);
  SizeId n = k.size(columns), one = k.size(1);
  k.axis(Role::row, k.size(rows)), k.axis(Role::inner, n);
  k.kernel.rows_per_chunk = k.size(rows_per_chunk);
  int64_t chunks = std::max<int64_t>(1, (rows + rows_per_chunk - 1) / rows_per_chunk);
  uint32_t in = k.tensor(f32, Use::read, rows * columns, {n, one});
  uint32_t sums = k.tensor(f32, Use::write, chunks * columns, {none, one});
  uint32_t counts = k.tensor(i64, Use::write, chunks, {none, none});
  k.accumulate_column(Reduce::max, k.index(0), counts, one);
  k.stage(StageKind::row);
  ValueId x = k.load(f32, in);
  k.accumulate_column(Reduce::sum, k.mul(k.exponential(x), x), sums, n);
  k.stage(StageKind::sweep);
  return k.finish(fmt::format("column_sum_{}x{}", rows, columns));
}

RandomKernel reductions_kernel(int64_t rows, int64_t columns, bool fixed, DType dtype) {
  Maker k(fixed);
  SizeId n = k.size(columns), one = k.size(1), plane = k.size(3 * columns);
  k.axis(Role::outer, k.size(rows)), k.axis(Role::inner, k.fixed(3)), k.axis(Role::inner, n);
  k.data.sizes.push_back(3);
  int64_t all = rows * columns * 3;
  DType computed = compute_dtype(dtype);
  uint32_t in = k.tensor(dtype, Use::read, all, {plane, n, one}, -8, 8);
  ValueId x = k.load(computed, in);
  std::vector<uint32_t> totals;
  for (Reduce reduce : {Reduce::sum, Reduce::max, Reduce::min, Reduce::argmax, Reduce::argmin})
    totals.push_back(k.accumulate(reduce, x));
  if (is_integer(dtype)) totals.push_back(k.accumulate(Reduce::prod, x));
  ValueId positive = k.emit(Opcode::lt, boolean, {k.constant(computed, 0), x});
  totals.push_back(k.accumulate(Reduce::any, positive));
  totals.push_back(k.accumulate(Reduce::all, positive));
  k.stage(StageKind::sweep);
  for (uint32_t total : totals) {
    ValueId value = k.reduced(total);
    DType result = k.kernel.instructions[value].dtype;
    k.store(value, k.tensor(result, Use::write, rows, {one}));
  }
  k.stage(StageKind::row);
  return k.finish(fmt::format("reductions_{}x3x{}_{}", rows, columns, name_of(dtype)));
}

RandomKernel scatter_kernel(int64_t rows, int64_t columns, int64_t entries, bool fixed) {
  Maker k(fixed);
  SizeId n = k.size(columns), one = k.size(1);
  k.axis(Role::row, k.size(rows)), k.axis(Role::inner, n);
  uint32_t indices = k.tensor(i64, Use::read, rows, {one}, -1, double(entries) + 1);
  uint32_t source = k.tensor(f32, Use::read, rows * columns, {n, one});
  uint32_t table = k.tensor(f32, Use::update, entries * columns, {none, one});
  ValueId index = k.load(i64, indices);
  ValueId below = k.emit(Opcode::lt, boolean, {index, k.constant(i64, entries)});
  ValueId above = k.emit(Opcode::le, boolean, {k.constant(i64, 0), index});
  ValueId inside = k.emit(Opcode::bit_and, boolean, {below, above});
  ValueId offset = k.emit(Opcode::mul, i64, {index, k.emit(Opcode::size, i64, {}, n)});
  k.stage(StageKind::row);
  k.kernel.accesses[table].offset = offset;
  k.kernel.accesses[table].predicate = inside;
  k.store(k.load(f32, source), table, Opcode::store_add);
  k.stage(StageKind::sweep);
  return k.finish(fmt::format("scatter_{}x{}", rows, columns));
}

std::vector<RandomKernel> schedule_kernels() {
  std::vector<RandomKernel> kernels;
  for (bool fixed : {true, false}) {
    for (int64_t columns : {1, 4, 31, 64, 129, 1024, 4096, 5001}) {
      int64_t rows = columns > 2000 ? 3 : columns > 200 ? 9 : 37;
      kernels.push_back(chain_kernel(rows, columns, fixed));
      kernels.push_back(softmax_kernel(rows, columns, fixed));
      kernels.push_back(reductions_kernel(rows, columns, fixed, f32));
      kernels.push_back(column_sum_kernel(2 * rows, columns, 7, fixed));
      kernels.push_back(layer_norm_kernel(rows, columns, 16, fixed));
      kernels.push_back(scatter_kernel(2 * rows, columns, 5, fixed));
    }
    kernels.push_back(chain_kernel(8, 4096, fixed, bf16));
    kernels.push_back(softmax_kernel(6, 520, fixed, f16));
    kernels.push_back(reductions_kernel(2, 70000, fixed, f32));
    kernels.push_back(reductions_kernel(2, 70001, fixed, i64));
    kernels.push_back(reductions_kernel(5, 700, fixed, u8));
    kernels.push_back(softmax_kernel(2, 70004, fixed));
    kernels.push_back(softmax_kernel(1, 40000, fixed));
    kernels.push_back(column_sum_kernel(512, 16, 512, fixed));
    kernels.push_back(column_sum_kernel(0, 16, 4, fixed));
    kernels.push_back(layer_norm_kernel(12, 40000, 5, fixed));
  }
  return kernels;
}

std::vector<RandomKernel> summing_kernels() {
  std::vector<RandomKernel> kernels;
  for (int64_t columns : {2, 7, 10, 32, 33, 100, 130, 516, 1000, 1026, 2048, 3001, 4100, 9000}) {
    const int64_t rows = columns > 1024 ? 3 : columns > 200 ? 9 : 41;
    kernels.push_back(softmax_kernel(rows, columns, true));
    kernels.push_back(reductions_kernel(rows, columns, true, f32));
    kernels.push_back(layer_norm_kernel(rows, columns, 16, true));
    kernels.push_back(column_sum_kernel(3 * rows, columns, 20, true));
  }
  kernels.push_back(softmax_kernel(5, 12, true, bf16));
  kernels.push_back(softmax_kernel(5, 2050, true, f16));
  kernels.push_back(softmax_kernel(2, 33000, true));
  kernels.push_back(softmax_kernel(2, 70002, true));
  kernels.push_back(reductions_kernel(1, 70001, true, f32));
  kernels.push_back(layer_norm_kernel(12, 40000, 5, true));
  return kernels;
}

std::string first_far_difference(const Kernel& kernel, const std::vector<LaunchData>& expected,
                                 const std::vector<LaunchData>& actual, double tolerance) {
  for (size_t segment = 0; segment < expected.size(); ++segment)
    for (size_t argument = 0; argument < kernel.arguments.size(); ++argument) {
      DType dtype = kernel.arguments[argument].dtype;
      size_t width = size_of(dtype);
      const auto& wanted = expected[segment].arguments[argument];
      const auto& found = actual[segment].arguments[argument];
      auto number = [&](const std::byte* at) -> double {
        if (dtype == DType::f64) return *reinterpret_cast<const double*>(at);
        if (dtype == DType::f32) return *reinterpret_cast<const float*>(at);
        if (dtype == DType::f16) return float(*reinterpret_cast<const Half*>(at));
        return float(*reinterpret_cast<const BFloat16*>(at));
      };
      for (size_t at = 0; at < wanted.size(); at += width) {
        if (std::memcmp(wanted.data() + at, found.data() + at, width) == 0) continue;
        double a = 0, b = 0;
        if (is_floating(dtype)) {
          a = number(wanted.data() + at), b = number(found.data() + at);
          if (std::abs(a - b) <= tolerance * std::max(1.0, std::abs(a))) continue;
        }
        return fmt::format("kernel '{}', segment {}, argument {} ({}), element {}: {} is not {}",
                           kernel.name, segment, argument, name_of(dtype), at / width, b, a);
      }
    }
  return {};
}

}  // namespace encore::jit
