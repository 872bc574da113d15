// Is a contraction that was cut into a library's product and what follows it still the same, bit by
// bit, and is only cut what can be?
#include <encore/jit/cuda/split_contraction.h>
#include <encore/jit/reference/evaluate.h>
#include <gtest/gtest.h>

#include <cmath>

#include "contraction_cases.h"
#include "contraction_oracle.h"

namespace encore::jit::cuda {
namespace {

using Bytes = std::vector<std::byte>;

float element(const Bytes& matrix, DType dtype, int64_t at) {
  if (dtype == DType::bf16) return float(reinterpret_cast<const BFloat16*>(matrix.data())[at]);
  if (dtype == DType::f16) return float(reinterpret_cast<const Half*>(matrix.data())[at]);
  return reinterpret_cast<const float*>(matrix.data())[at];
}

void put(Bytes& matrix, DType dtype, int64_t at, float value) {
  const uint64_t bits = Scalar(value).bits_as(dtype);
  std::memcpy(matrix.data() + at * int64_t(size_of(dtype)), &bits, size_of(dtype));
}

int64_t place(const CublasLtMatrix& matrix, int64_t z, int64_t row, int64_t column) {
  if (matrix.transposed) std::swap(row, column);
  return z * matrix.batch_stride + row * matrix.leading + column;
}

/// What the library is asked for, in the order of jit/kernel.h.
void multiply(const CublasLtShape& shape, const Bytes& a, const Bytes& b, const Bytes* bias,
              Bytes& c) {
  for (int64_t z = 0; z < shape.batch; ++z)
    for (int64_t i = 0; i < shape.m; ++i)
      for (int64_t j = 0; j < shape.n; ++j) {
        float sum = 0;
        for (int64_t k = 0; k < shape.k; ++k)
          sum = std::fma(element(a, shape.dtype, place(shape.a, z, i, k)),
                         element(b, shape.dtype, place(shape.b, z, k, j)), sum);
        if (bias) sum += element(*bias, shape.result, j);
        put(c, shape.result, place(shape.c, z, i, j), sum);
      }
}

/// What the arguments hold after both parts have run; nothing where the kernel is not cut.
std::optional<std::vector<Bytes>> run_parts(const RandomKernel& random) {
  const Kernel& kernel = random.kernel;
  LaunchData data = random.segments[0];
  const auto split = split_contraction(kernel);
  if (!split) return {};
  const auto shape = library_shape(kernel, *split, data.sizes.data());
  if (!shape) return {};
  Bytes own(size_t(extent_of(shape->c, shape->batch, shape->m, shape->n)) * size_of(shape->result));
  const uint32_t output = split->in_place() ? kernel.accesses[split->result].argument : none;
  Bytes& matrix = split->in_place() ? data.arguments[output] : own;
  multiply(*shape, data.arguments[split->a], data.arguments[split->b],
           split->bias == none ? nullptr : &data.arguments[split->bias], matrix);
  if (!split->epilogue) return data.arguments;
  verify_kernel(*split->epilogue);
  RandomKernel epilogue{*split->epilogue, {data}, random.owners};
  LaunchData& after = epilogue.segments[0];
  after.sizes = epilogue_sizes(kernel, data.sizes.data());
  after.arguments.push_back(own);
  epilogue.owners.push_back(split->in_place() ? output : uint32_t(random.owners.size()));
  std::vector<Bytes> arguments = run_reference(epilogue)[0].arguments;
  arguments.pop_back();
  return arguments;
}

/// How a test's epilogue differs.
struct Tail {
  bool bias = false, relu = false, scale = false, saved = false;
};

Kernel with_tail(DType memory, DType out, int64_t batch, int64_t m, int64_t n, int64_t k,
                 Tail tail) {
  ContractionBuilder builder(f32, {{batch}, {m}, {n}, {k}});
  builder.argument(memory, Use::read), builder.argument(memory, Use::read);
  builder.argument(memory, Use::read), builder.argument(f32, Use::read);
  builder.argument(out, Use::write), builder.argument(out, Use::write);
  const uint32_t a = builder.access(0, {m * k, k, 0, 1}), b = builder.access(1, {0, 0, 1, n});
  const uint32_t bias = builder.access(2, {0, 0, 1, 0}), factor = builder.access(3, {0, 1, 0, 0});
  const uint32_t result = builder.access(4, {m * n, n, 1, 0});
  const uint32_t saved = builder.access(5, {m * n, n, 1, 0});
  builder.contract(a, b);
  builder.begin_sweep();
  ValueId value = builder.emit(Opcode::product, f32);
  if (tail.bias)
    value = builder.emit(Opcode::add, f32, {builder.emit(Opcode::load, f32, {}, bias), value});
  if (tail.saved) builder.emit(Opcode::store, f32, {value}, saved);
  if (tail.relu) {
    const ValueId zero = builder.emit(Opcode::constant, f32);
    const ValueId low = builder.emit(Opcode::le, boolean, {value, zero});
    value = builder.emit(Opcode::select, f32, {low, zero, value});
  }
  if (tail.scale)
    value = builder.emit(Opcode::mul, f32, {value, builder.emit(Opcode::load, f32, {}, factor)});
  builder.emit(Opcode::store, f32, {value}, result);
  builder.end_sweep();
  return builder.kernel;
}

RandomKernel data_for(const Kernel& kernel, int64_t batch, int64_t m, int64_t n, int64_t k) {
  return with_data(kernel, {batch * m * k, n * k, n, m, batch * m * n, batch * m * n});
}

void expect_same(const RandomKernel& random, const std::vector<Bytes>& parts) {
  const std::vector<LaunchData> whole = run_reference(random);
  for (size_t i = 0; i < whole[0].arguments.size(); ++i)
    EXPECT_EQ(whole[0].arguments[i], parts[i]) << "argument " << i;
}

TEST(SplitContraction, PartsGiveTheSameBits) {
  int cut = 0;
  for (const ContractionCase& one : ContractionCases::make(false)) {
    SCOPED_TRACE(one.name);
    const auto parts = run_parts(one.random);
    if (parts) expect_same(one.random, *parts), ++cut;
  }
  EXPECT_GT(cut, 20);
}

TEST(SplitContraction, WhatTheLibraryDoesItselfIsNotDoneAgain) {
  for (int bits = 0; bits < 16; ++bits)
    for (int64_t batch : {1, 3})
      for (bool fixed : {true, false}) {
        const Tail tail{bool(bits & 1), bool(bits & 2), bool(bits & 4), bool(bits & 8)};
        Kernel kernel = with_tail(f32, f32, batch, 12, 20, 8, tail);
        if (!fixed) kernel = with_sizes_as_arguments(kernel);
        SCOPED_TRACE(testing::Message() << bits << " " << batch << " " << fixed);
        const auto split = split_contraction(kernel);
        ASSERT_TRUE(split);
        EXPECT_TRUE(split->in_place());
        EXPECT_EQ(split->bias != none, tail.bias);
        EXPECT_EQ(split->epilogue.has_value(), tail.relu || tail.scale || tail.saved);
        const RandomKernel random = data_for(kernel, batch, 12, 20, 8);
        const auto parts = run_parts(random);
        ASSERT_TRUE(parts);
        expect_same(random, *parts);
      }
}

TEST(SplitContraction, HalvesStayHalvesWhereAllOutputsAre) {
  for (DType memory : {bf16, f16})
    for (Tail tail : {Tail{}, Tail{true}}) {
      const Kernel kernel = with_tail(memory, memory, 1, 12, 24, 8, tail);
      EXPECT_EQ(split_contraction(kernel)->matrix, memory);
      EXPECT_FALSE(split_contraction(kernel)->epilogue);
      const RandomKernel random = data_for(kernel, 1, 12, 24, 8);
      expect_same(random, *run_parts(random));
    }
  const Kernel wide = with_tail(bf16, f32, 1, 12, 24, 8, {.scale = true});
  EXPECT_EQ(split_contraction(wide)->matrix, f32);
  const RandomKernel random = data_for(wide, 1, 12, 24, 8);
  expect_same(random, *run_parts(random));
  const Kernel narrow = with_tail(f32, bf16, 1, 12, 24, 8, {});  // no library stores that
  EXPECT_TRUE(split_contraction(narrow)->epilogue);
  EXPECT_FALSE(split_contraction(narrow)->in_place());
}

TEST(SplitContraction, KnowsWhatIsAMatrix) {
  auto shape = [](const Kernel& kernel) -> std::optional<CublasLtShape> {
    std::vector<int64_t> sizes;
    for (const Size& size : kernel.sizes) sizes.push_back(size.value);
    const auto split = split_contraction(kernel);
    return split ? library_shape(kernel, *split, sizes.data()) : std::nullopt;
  };
  const auto found = shape(matmul_kernel(f32, 2, 8, 16, 4, true, false));
  ASSERT_TRUE(found);
  EXPECT_EQ(found->batch, 2);
  EXPECT_EQ(found->m, 8);
  EXPECT_EQ(found->n, 16);
  EXPECT_EQ(found->k, 4);
  EXPECT_EQ(found->a, (CublasLtMatrix{8, 32, true}));
  EXPECT_EQ(found->b, (CublasLtMatrix{16, 64, false}));
  EXPECT_EQ(found->c, (CublasLtMatrix{16, 128, false}));
  EXPECT_FALSE(shape(matmul_kernel(f64, 1, 8, 16, 4)));
  EXPECT_FALSE(shape(matmul_kernel(i32, 1, 8, 16, 4)));
  EXPECT_FALSE(shape(matmul_kernel(f32, 1, 8, 16, 0)));
  EXPECT_FALSE(shape(matmul_kernel(f32, 1, 8, 18, 4)));  // rows that are not aligned
  EXPECT_FALSE(shape(programs_kernel(8, 16, 4)));
  EXPECT_FALSE(shape(many_axes_kernel()));
  Kernel gaps = matmul_kernel(f32, 1, 8, 16, 4);
  gaps.sizes[gaps.accesses[0].strides[1]].value = 12;
  ASSERT_TRUE(shape(gaps));
  EXPECT_EQ(shape(gaps)->a.leading, 12);
  gaps.sizes[gaps.accesses[0].strides[1]].value = 2;  // rows that overlap
  EXPECT_FALSE(shape(gaps));
  // Matrices of a batch that do not lie at equal distances.
  ContractionBuilder builder(f32, {{2, 3}, {8}, {16}, {4}});
  builder.argument(f32, Use::read), builder.argument(f32, Use::read);
  builder.argument(f32, Use::write);
  const uint32_t a = builder.access(0, {32, 64, 4, 0, 1}), b = builder.access(1, {0, 0, 0, 1, 16});
  builder.contract(a, b);
  builder.store_product(builder.access(2, {384, 128, 16, 1, 0}));
  EXPECT_FALSE(shape(builder.kernel));
  builder.kernel.sizes[builder.kernel.accesses[0].strides[0]].value = 192;
  ASSERT_TRUE(shape(builder.kernel));
  EXPECT_EQ(shape(builder.kernel)->batch, 6);
  EXPECT_EQ(shape(builder.kernel)->b.batch_stride, 0);
}

}  // namespace
}  // namespace encore::jit::cuda
