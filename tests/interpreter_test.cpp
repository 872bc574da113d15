// Does the interpreter do what kernel.h says? Kernels made by hand, one or two features each,
// against plain C++ loops.
#include <encore/core/error.h>
#include <encore/jit/reference/execute.h>
#include <encore/jit/reference/interpreter.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>

#include "kernel_maker.h"
#include "random_data.h"

namespace encore::jit {
namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();

/// Buffers of any element types, handed to a kernel in order.
class Memory {
 public:
  template <class T>
  Memory& add(std::vector<T>& values) {
    pointers_.push_back(values.data());
    bytes_.push_back(values.size() * sizeof(T));
    return *this;
  }
  void* const* pointers() const { return pointers_.data(); }
  std::span<const size_t> bytes() const { return bytes_; }

 private:
  std::vector<void*> pointers_;
  std::vector<size_t> bytes_;
};

std::vector<int64_t> sizes_of(const Kernel& kernel) {
  std::vector<int64_t> sizes;
  for (const Size& size : kernel.sizes) sizes.push_back(size.value);
  return sizes;
}

/// Verifies, then runs one segment with every access checked.
void run(const Kernel& kernel, const Memory& memory, std::vector<uint64_t> scalars = {}) {
  verify_kernel(kernel);
  std::vector<int64_t> sizes = sizes_of(kernel);
  Program(kernel).run({memory.pointers(), sizes.data(), scalars.data()}, memory.bytes());
}

std::vector<float> random_floats(size_t count, uint64_t seed = 1) {
  Random random(seed);
  std::vector<float> values(count);
  for (float& value : values) value = float(random.between(-2, 2));
  return values;
}

TEST(Interpreter, ElementwiseWithBroadcastsTransposesAndReversal) {
  constexpr int64_t rows = 3, columns = 5;
  KernelMaker make;
  SizeId m = make.free(rows), n = make.free(columns), one = make.fixed(1), back = make.fixed(-1);
  make.axis(Role::row, m);
  make.axis(Role::inner, n);
  uint32_t transposed = make.access(make.argument(f32, Use::read), {one, m});
  uint32_t bias = make.access(make.argument(f32, Use::read), {none, back}, make.fixed(columns - 1));
  uint32_t out = make.access(make.argument(f32, Use::write), {n, one});
  make.emit(Opcode::scalar, f32, {}, make.scalar(f32));
  make.stage(StageKind::setup);
  ValueId a = make.load(f32, transposed), b = make.load(f32, bias);
  make.store(make.emit(Opcode::fma, f32, {a, 0, b}), out);
  make.stage(StageKind::sweep);

  std::vector<float> x = random_floats(rows * columns), y = random_floats(columns, 2);
  std::vector<float> result(rows * columns);
  run(make.kernel, Memory().add(x).add(y).add(result), {Scalar(1.75).bits_as(f32)});
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j)
      EXPECT_EQ(result[i * columns + j], std::fma(x[j * rows + i], 1.75f, y[columns - 1 - j]));
}

TEST(Interpreter, StorageIsWidenedAndRounded) {
  KernelMaker make;
  SizeId n = make.free(4), one = make.fixed(1);
  make.axis(Role::inner, n);
  uint32_t in = make.access(make.argument(bf16, Use::read), {one});
  uint32_t out = make.access(make.argument(f16, Use::write), {one});
  ValueId x = make.load(f32, in);
  make.store(make.emit(Opcode::div, f32, {x, make.constant(f32, 3)}), out);
  make.stage(StageKind::sweep);
  std::vector<BFloat16> x_memory;
  for (float value : {1.0f, -2.0f, 1e30f, not_a_number}) x_memory.push_back(BFloat16(value));
  std::vector<Half> result(4);
  run(make.kernel, Memory().add(x_memory).add(result));
  EXPECT_EQ(result[0].bits, Half(1.0f / 3).bits);
  EXPECT_EQ(result[1].bits, Half(-2.0f / 3).bits);
  EXPECT_EQ(float(result[2]), infinity);
  EXPECT_TRUE(std::isnan(float(result[3])));
}

/// The order of a row accumulator, spelled out: lanes, then halves.
template <class T, class Combine>
T in_lanes(const std::vector<std::vector<T>>& runs, T identity, Combine combine) {
  std::vector<T> lanes(sizeof(T) == 8 ? 16 : 32, identity);
  for (const std::vector<T>& values : runs)
    for (size_t i = 0; i < values.size(); ++i)
      lanes[i % lanes.size()] = combine(lanes[i % lanes.size()], values[i]);
  while (lanes.size() > 1) {
    std::vector<T> halved(lanes.size() / 2);
    for (size_t i = 0; i < halved.size(); ++i)
      halved[i] = combine(lanes[i], lanes[i + halved.size()]);
    lanes = halved;
  }
  return lanes[0];
}

template <class T>
void check_sum_over_two_inner_axes(DType dtype) {
  constexpr int64_t rows = 2, outer_runs = 3, columns = 71;
  KernelMaker make;
  SizeId one = make.fixed(1), r = make.free(rows), k = make.free(outer_runs),
         n = make.free(columns);
  SizeId block = make.free(outer_runs * columns);
  make.axis(Role::outer, r);
  make.axis(Role::inner, k);
  make.axis(Role::inner, n);
  uint32_t in = make.access(make.argument(dtype, Use::read), {block, n, one});
  uint32_t out = make.access(make.argument(dtype, Use::write), {one});
  uint32_t sum = make.accumulate(Reduce::sum, make.load(dtype, in));
  make.stage(StageKind::sweep);
  make.store(make.reduced(sum), out);
  make.stage(StageKind::row);

  Random random(5);
  std::vector<T> x(rows * outer_runs * columns), result(rows);
  for (T& value : x) value = T(random.between(-1, 1));
  run(make.kernel, Memory().add(x).add(result));
  for (int64_t row = 0; row < rows; ++row) {
    std::vector<std::vector<T>> runs;
    for (int64_t i = 0; i < outer_runs; ++i) {
      auto begin = x.begin() + (row * outer_runs + i) * columns;
      runs.push_back({begin, begin + columns});
    }
    EXPECT_EQ(result[row], in_lanes<T>(runs, 0, std::plus<T>()));
    auto begin = x.begin() + row * outer_runs * columns;
    EXPECT_NE(result[row], std::accumulate(begin, begin + outer_runs * columns, T(0)));
  }
}

TEST(Interpreter, RowSumsGoByLanesAndHalves) {
  check_sum_over_two_inner_axes<float>(f32);
  check_sum_over_two_inner_axes<double>(f64);
}

// max gives the second of two equals, so the sign of zero tells which lane was asked first.
TEST(Interpreter, WhatComesLaterIsTheSecondOperand) {
  for (auto [distance, last] : {std::pair{16, 0.0f}, {16, -0.0f}, {32, 0.0f}, {32, -0.0f}}) {
    KernelMaker make;
    make.axis(Role::inner, make.free(distance + 1));
    uint32_t in = make.access(make.argument(f32, Use::read), {make.fixed(1)});
    uint32_t out = make.access(make.argument(f32, Use::write), {});
    uint32_t highest = make.accumulate(Reduce::max, make.load(f32, in));
    make.stage(StageKind::sweep);
    make.store(make.reduced(highest), out);
    make.stage(StageKind::row);
    std::vector<float> x(distance + 1, -1.0f), result(1);
    x.front() = -last;
    x.back() = last;
    run(make.kernel, Memory().add(x).add(result));
    EXPECT_EQ(result[0], 0.0f);
    EXPECT_EQ(std::signbit(result[0]), std::signbit(last));
  }
}

TEST(Interpreter, SoftmaxTakesThreeSweeps) {
  constexpr int64_t rows = 4, columns = 37;
  KernelMaker make;
  SizeId one = make.fixed(1), m = make.free(rows), n = make.free(columns);
  make.axis(Role::row, m);
  make.axis(Role::inner, n);
  uint32_t in = make.access(make.argument(f32, Use::read), {n, one});
  uint32_t out = make.access(make.argument(f32, Use::write), {n, one});
  uint32_t highest = make.accumulate(Reduce::max, make.load(f32, in));
  make.stage(StageKind::sweep);
  ValueId top = make.reduced(highest);
  make.stage(StageKind::row);
  ValueId shifted = make.emit(Opcode::sub, f32, {make.load(f32, in), top});
  uint32_t total = make.accumulate(Reduce::sum, make.emit(Opcode::mul, f32, {shifted, shifted}));
  make.stage(StageKind::sweep);
  ValueId sum = make.reduced(total);
  make.stage(StageKind::row);
  ValueId again = make.emit(Opcode::sub, f32, {make.load(f32, in), top});
  make.store(make.emit(Opcode::div, f32, {again, sum}), out);
  make.stage(StageKind::sweep);

  std::vector<float> x = random_floats(rows * columns), result(rows * columns);
  run(make.kernel, Memory().add(x).add(result));
  for (int64_t i = 0; i < rows; ++i) {
    std::vector<float> row(x.begin() + i * columns, x.begin() + (i + 1) * columns), squares;
    float largest = *std::max_element(row.begin(), row.end());
    for (float value : row) squares.push_back((value - largest) * (value - largest));
    float divisor = in_lanes<float>({squares}, 0, std::plus<float>());
    for (int64_t j = 0; j < columns; ++j)
      EXPECT_EQ(result[i * columns + j], (row[j] - largest) / divisor);
  }
}

/// One row of `x` (as 2 x columns inner points) reduced by `reduce`, skipping masked points.
template <class T>
int64_t extreme_index(Reduce reduce, DType dtype, std::vector<T> x,
                      std::vector<uint8_t> mask = {}) {
  KernelMaker make;
  SizeId one = make.fixed(1), half = make.fixed(int64_t(x.size()) / 2);
  make.axis(Role::inner, make.fixed(2));
  make.axis(Role::inner, half);
  uint32_t in = make.access(make.argument(dtype, Use::read), {half, one});
  uint32_t keep = make.access(make.argument(DType::boolean, Use::read), {half, one});
  uint32_t out = make.access(make.argument(i64, Use::write), {});
  ValueId predicate = mask.empty() ? none : make.load(DType::boolean, keep);
  uint32_t best = make.accumulate(reduce, make.load(dtype, in), predicate);
  make.stage(StageKind::sweep);
  make.store(make.reduced(best), out);
  make.stage(StageKind::row);
  std::vector<int64_t> result(1, -1);
  run(make.kernel, Memory().add(x).add(mask).add(result));
  return result[0];
}

TEST(Interpreter, ArgmaxTakesTheFirstExtremeAndNaNBeatsAll) {
  EXPECT_EQ(extreme_index<float>(Reduce::argmax, f32, {1, 5, 3, 5, 2, 0}), 1);
  EXPECT_EQ(extreme_index<float>(Reduce::argmin, f32, {4, 5, 3, 5, 3, 9}), 2);
  EXPECT_EQ(
      extreme_index<float>(Reduce::argmax, f32, {1, 5, not_a_number, infinity, not_a_number, 0}),
      2);
  EXPECT_EQ(extreme_index<float>(Reduce::argmin, f32, {1, -infinity, 2, not_a_number}), 3);
  EXPECT_EQ(extreme_index<float>(Reduce::argmax, f32, {-infinity, -infinity}), 0);
  EXPECT_EQ(extreme_index<int8_t>(Reduce::argmin, i8, {127, 127, 127, 127}), 0);
  EXPECT_EQ(extreme_index<uint64_t>(Reduce::argmax, u64, {1, uint64_t(1) << 63, 2, 3}), 1);
  EXPECT_EQ(extreme_index<float>(Reduce::argmax, f32, {9, -infinity, -infinity, 9}, {0, 0, 1, 0}),
            2);
  EXPECT_EQ(extreme_index<float>(Reduce::argmax, f32, {1, 2}, {0, 0}), 0);
}

TEST(Interpreter, NothingToReduceGivesTheIdentity) {
  KernelMaker make;
  make.axis(Role::inner, make.fixed(0));
  uint32_t in = make.access(make.argument(f32, Use::read), {make.fixed(1)});
  ValueId x = make.load(f32, in);
  std::vector<uint32_t> accumulators;
  for (Reduce reduce : {Reduce::sum, Reduce::prod, Reduce::max, Reduce::min})
    accumulators.push_back(make.accumulate(reduce, x));
  accumulators.push_back(make.accumulate(Reduce::argmin, x));
  make.stage(StageKind::sweep);
  uint32_t floats = make.argument(f32, Use::write), indices = make.argument(i64, Use::write);
  for (uint32_t i = 0; i < 4; ++i)
    make.store(make.reduced(accumulators[i]), make.access(floats, {}, make.fixed(i)));
  make.store(make.reduced(accumulators[4]), make.access(indices, {}));
  make.stage(StageKind::row);
  std::vector<float> x_memory, result(4);
  std::vector<int64_t> index(1, -1);
  run(make.kernel, Memory().add(x_memory).add(result).add(index));
  EXPECT_EQ(result, (std::vector<float>{0, 1, -infinity, infinity}));
  EXPECT_EQ(index[0], 0);
}

TEST(Interpreter, ColumnAccumulatorsHaveOneTotalPerChunk) {
  constexpr int64_t outers = 2, rows = 7, columns = 3, per_chunk = 3, chunks = 3;
  KernelMaker make;
  SizeId one = make.fixed(1), m = make.free(rows), n = make.free(columns);
  SizeId block = make.free(rows * columns), chunk_block = make.free(chunks * columns);
  make.kernel.rows_per_chunk = make.free(per_chunk);
  make.axis(Role::outer, make.free(outers));
  make.axis(Role::row, m);
  make.axis(Role::inner, n);
  uint32_t in = make.access(make.argument(f32, Use::read), {block, n, one});
  uint32_t sums = make.access(make.argument(f32, Use::write), {chunk_block, none, one});
  uint32_t counts = make.access(make.argument(i64, Use::write), {make.free(chunks)});
  ValueId row = make.index(1);
  ValueId odd = make.emit(Opcode::bit_and, i64, {row, make.constant(i64, 1)});
  ValueId is_odd = make.emit(Opcode::cast, DType::boolean, {odd});
  make.accumulate_column(Reduce::sum, row, counts, one, is_odd);
  make.stage(StageKind::row);
  make.accumulate_column(Reduce::sum, make.load(f32, in), sums, n);
  make.stage(StageKind::sweep);

  std::vector<float> x = random_floats(outers * rows * columns);
  std::vector<float> result(outers * chunks * columns);
  std::vector<int64_t> odd_rows(outers * chunks);
  run(make.kernel, Memory().add(x).add(result).add(odd_rows));
  for (int64_t outer = 0; outer < outers; ++outer)
    for (int64_t chunk = 0; chunk < chunks; ++chunk) {
      std::vector<float> wanted(columns);
      int64_t odd_sum = 0;
      for (int64_t i = chunk * per_chunk; i < std::min((chunk + 1) * per_chunk, rows); ++i) {
        odd_sum += i % 2 ? i : 0;
        for (int64_t j = 0; j < columns; ++j) wanted[j] += x[(outer * rows + i) * columns + j];
      }
      EXPECT_EQ(odd_rows[outer * chunks + chunk], odd_sum);
      for (int64_t j = 0; j < columns; ++j)
        EXPECT_EQ(result[(outer * chunks + chunk) * columns + j], wanted[j]);
    }
}

TEST(Interpreter, WithoutRowsAChunkOfIdentitiesIsWritten) {
  KernelMaker make;
  SizeId one = make.fixed(1), n = make.free(2);
  make.kernel.rows_per_chunk = make.free(4);
  make.axis(Role::row, make.fixed(0));
  make.axis(Role::inner, n);
  uint32_t in = make.access(make.argument(f32, Use::read), {n, one});
  uint32_t out = make.access(make.argument(bf16, Use::write), {none, one});
  make.accumulate_column(Reduce::max, make.load(f32, in), out, n);
  make.stage(StageKind::sweep);
  std::vector<float> x;
  std::vector<BFloat16> result(2);
  run(make.kernel, Memory().add(x).add(result));
  EXPECT_EQ(float(result[0]), -infinity);
  EXPECT_EQ(float(result[1]), -infinity);
}

TEST(Interpreter, TakeAndScatterAddGoThroughIndices) {
  constexpr int64_t rows = 6, columns = 4, entries = 3;
  KernelMaker make;
  SizeId one = make.fixed(1), n = make.free(columns);
  make.axis(Role::row, make.free(rows));
  make.axis(Role::inner, n);
  uint32_t index = make.access(make.argument(i32, Use::read), {one});
  uint32_t table = make.access(make.argument(f32, Use::read), {none, one});
  uint32_t taken = make.access(make.argument(f32, Use::write), {n, one});
  uint32_t sums = make.access(make.argument(f16, Use::update), {none, one});
  ValueId entry = make.emit(Opcode::cast, i64, {make.load(i32, index)});
  ValueId inside = make.emit(Opcode::lt, DType::boolean, {entry, make.constant(i64, entries)});
  ValueId offset = make.emit(Opcode::mul, i64, {entry, make.emit(Opcode::size, i64, {}, n)});
  make.stage(StageKind::row);
  for (uint32_t access : {table, sums}) {
    make.kernel.accesses[access].offset = offset;
    make.kernel.accesses[access].predicate = inside;
  }
  ValueId value = make.load(f32, table);
  make.store(value, taken);
  make.store(value, sums, Opcode::store_add);
  make.stage(StageKind::sweep);

  std::vector<int32_t> indices = {2, 0, 2, 1000000, 2, 1};
  std::vector<float> x = random_floats(entries * columns), result(rows * columns, 7);
  std::vector<Half> added(entries * columns, Half(0.25f));
  run(make.kernel, Memory().add(indices).add(x).add(result).add(added));
  std::vector<Half> wanted(entries * columns, Half(0.25f));
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j) {
      bool valid = indices[i] < entries;
      EXPECT_EQ(result[i * columns + j], valid ? x[indices[i] * columns + j] : 0.0f);
      if (!valid) continue;
      Half& sum = wanted[indices[i] * columns + j];
      sum = Half(float(sum) + x[indices[i] * columns + j]);
    }
  for (size_t i = 0; i < wanted.size(); ++i) EXPECT_EQ(added[i].bits, wanted[i].bits);
}

TEST(Interpreter, ContractionIsOneChainOfFma) {
  constexpr int64_t m = 3, n = 5, k1 = 2, k2 = 7;
  KernelMaker make;
  SizeId one = make.fixed(1), columns = make.free(n), depth = make.free(k2);
  SizeId all = make.free(k1 * k2), column_block = make.free(n * k2);
  make.kernel.rows_per_chunk = make.free(2);
  make.axis(Role::row, make.free(m));
  make.axis(Role::inner, columns);
  make.axis(Role::contracted, make.free(k1));
  make.axis(Role::contracted, depth);
  uint32_t left = make.access(make.argument(f32, Use::read), {all, none, depth, one});
  uint32_t right = make.access(make.argument(f32, Use::read), {none, depth, column_block, one});
  uint32_t bias = make.access(make.argument(f32, Use::read), {none, one});
  uint32_t out = make.access(make.argument(f32, Use::write), {columns, one});
  uint32_t sums = make.access(make.argument(f32, Use::write), {none, one});
  ValueId a = make.load(f32, left);
  make.operand(make.emit(Opcode::add, f32, {a, a}));
  make.operand(make.load(f32, right));
  ValueId sum =
      make.emit(Opcode::add, f32, {make.emit(Opcode::product, f32), make.load(f32, bias)});
  make.store(sum, out);
  make.accumulate_column(Reduce::sum, sum, sums, columns);
  make.stage(StageKind::sweep);

  std::vector<float> x = random_floats(m * k1 * k2), y = random_floats(k1 * n * k2, 2);
  std::vector<float> z = random_floats(n, 3), result(m * n), totals(2 * n);
  run(make.kernel, Memory().add(x).add(y).add(z).add(result).add(totals));
  std::vector<float> wanted_totals(2 * n);
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < n; ++j) {
      float product = 0;
      for (int64_t p = 0; p < k1; ++p)
        for (int64_t q = 0; q < k2; ++q)
          product = std::fma(2 * x[i * k1 * k2 + p * k2 + q], y[p * n * k2 + j * k2 + q], product);
      EXPECT_EQ(result[i * n + j], product + z[j]);
      wanted_totals[i / 2 * n + j] += product + z[j];
    }
  EXPECT_EQ(totals, wanted_totals);
}

TEST(Interpreter, IntegerContractionWraps) {
  KernelMaker make;
  SizeId one = make.fixed(1);
  make.axis(Role::contracted, make.free(3));
  uint32_t left = make.access(make.argument(u8, Use::read), {one});
  uint32_t right = make.access(make.argument(u8, Use::read), {one});
  uint32_t out = make.access(make.argument(u8, Use::write), {});
  make.operand(make.load(u8, left));
  make.operand(make.load(u8, right));
  make.store(make.emit(Opcode::product, u8), out);
  make.stage(StageKind::sweep);
  std::vector<uint8_t> x = {200, 3, 9}, y = {100, 255, 7}, result(1);
  run(make.kernel, Memory().add(x).add(y).add(result));
  EXPECT_EQ(result[0], uint8_t(200 * 100 + 3 * 255 + 9 * 7));
}

/// y = x * scalar over n elements, n free.
Kernel scale_kernel() {
  KernelMaker make;
  SizeId one = make.fixed(1);
  make.axis(Role::inner, make.free(4));
  uint32_t in = make.access(make.argument(f32, Use::read), {one});
  uint32_t out = make.access(make.argument(f32, Use::write), {one});
  make.emit(Opcode::scalar, f32, {}, make.scalar(f32));
  make.stage(StageKind::setup);
  make.store(make.emit(Opcode::mul, f32, {make.load(f32, in), 0}), out);
  make.stage(StageKind::sweep);
  make.kernel.name = "scale";
  return make.kernel;
}

TEST(Interpreter, SegmentsOfOneLaunchHaveTheirOwnSizesAndScalars) {
  Kernel kernel = scale_kernel();
  const Kernel* pointer = &kernel;
  std::vector<Binary> binaries = interpreter().compile({&pointer, 1});
  std::vector<float> x = {1, 2, 3, 4}, y(4), u = {5, 6}, v(2);
  void* first[] = {x.data(), y.data()};
  void* second[] = {u.data(), v.data()};
  int64_t first_sizes[] = {1, 4}, second_sizes[] = {1, 2};
  uint64_t two = Scalar(2).bits_as(f32), ten = Scalar(10).bits_as(f32);
  Segment segments[] = {{first, first_sizes, &two}, {second, second_sizes, &ten}};
  interpreter().load(kernel, binaries[0])->launch(segments);
  EXPECT_EQ(y, (std::vector<float>{2, 4, 6, 8}));
  EXPECT_EQ(v, (std::vector<float>{50, 60}));
}

TEST(Interpreter, LoadsOnlyTheKernelThatTheBinaryWasMadeOf) {
  Kernel kernel = scale_kernel(), other = scale_kernel();
  other.instructions[2].op = Opcode::add;
  const Kernel* pointer = &kernel;
  std::vector<Binary> binaries = interpreter().compile({&pointer, 1});
  EXPECT_THROW(interpreter().load(other, binaries[0]), Error);
  other.instructions[2].dtype = f64;
  pointer = &other;
  EXPECT_THROW(interpreter().compile({&pointer, 1}), Error);
}

TEST(Interpreter, CheckedRunNamesTheAccessThatLeavesItsArgument) {
  Kernel kernel = scale_kernel();
  std::vector<float> x(4), y(3);
  try {
    run(kernel, Memory().add(x).add(y), {0});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.message(), "kernel 'scale': access 1 goes to element 3 of 3");
  }
}

TEST(Interpreter, MemoryIsAlignedAndCounted) {
  Backend& backend = interpreter();
  int64_t before = backend.live_bytes();
  backend.reset_peak_bytes();
  {
    Ref<Buffer> empty = backend.allocate(0), big = backend.allocate(1000);
    EXPECT_NE(empty->data(), nullptr);
    EXPECT_EQ(uintptr_t(big->data()) % 64, 0u);
    EXPECT_EQ(backend.live_bytes(), before + 1000);
  }
  EXPECT_EQ(backend.live_bytes(), before);
  EXPECT_EQ(backend.peak_bytes(), before + 1000);
  backend.reset_peak_bytes();
  EXPECT_EQ(backend.peak_bytes(), before);
  EXPECT_THROW(backend.allocate(size_t(1) << 60), OutOfMemory);
  EXPECT_EQ(backend.live_bytes(), before);
}

TEST(Kernel, ChunksCoverAllRows) {
  KernelMaker make;
  make.axis(Role::row, make.free(5));
  make.axis(Role::row, make.free(3));
  make.axis(Role::inner, make.free(9));
  std::vector<int64_t> sizes = sizes_of(make.kernel);
  EXPECT_EQ(extent_product(make.kernel, Role::row, sizes.data()), 15);
  EXPECT_EQ(extent_product(make.kernel, Role::outer, sizes.data()), 1);
  EXPECT_EQ(chunk_count(make.kernel, sizes.data()), 1);
  make.kernel.rows_per_chunk = make.free(4);
  for (auto [rows, chunks] : {std::pair{5, 4}, {4, 3}, {0, 1}, {1, 1}, {8, 6}}) {
    sizes = sizes_of(make.kernel);
    sizes[0] = rows;
    EXPECT_EQ(chunk_count(make.kernel, sizes.data()), chunks);
  }
}

}  // namespace
}  // namespace encore::jit
