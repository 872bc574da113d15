// Does a contraction whose epilogue is transposed become one that runs along memory, with the same
// results?
#include <encore/jit/reference/execute.h>
#include <encore/trace/orient_contraction.h>
#include <gtest/gtest.h>

#include <numeric>

#include "contraction_kernels.h"

namespace encore::trace {
namespace {

using namespace jit;

constexpr int64_t batch = 2, m = 3, n1 = 2, n2 = 5, k = 7, n = n1 * n2;

/// out[b, column, row] = (a b)[b, row, column] * 2 + index of the row, with a program for b.
Kernel gradient_like(bool transposed) {
  ContractionBuilder builder(f32, {{batch}, {m}, {n1, n2}, {k}});
  for (Use use : {Use::read, Use::read, Use::read, Use::write}) builder.argument(f32, use);
  const uint32_t a = builder.access(0, {m * k, k, 0, 0, 1});
  const uint32_t b = builder.access(1, {0, 0, n2, 1, n}),
                 scale = builder.access(2, {0, 0, 0, 0, 1});
  const uint32_t out = transposed ? builder.access(3, {m * n, 1, n2 * m, m, 0})
                                  : builder.access(3, {m * n, n, n2, 1, 0});
  Contraction contraction{f32};
  contraction.a_begin = builder.here();
  contraction.a = builder.emit(Opcode::load, f32, {}, a);
  contraction.a_end = contraction.b_begin = builder.here();
  const ValueId weight = builder.emit(Opcode::load, f32, {}, b);
  contraction.b =
      builder.emit(Opcode::mul, f32, {weight, builder.emit(Opcode::load, f32, {}, scale)});
  contraction.b_end = builder.here();
  builder.kernel.contraction = contraction;
  builder.begin_sweep();
  const ValueId product = builder.emit(Opcode::product, f32);
  const ValueId row = builder.emit(Opcode::cast, f32, {builder.emit(Opcode::index, i64, {}, 1)});
  const ValueId two = builder.emit(Opcode::constant, f32, {}, 0, Scalar(2).bits_as(f32));
  builder.emit(Opcode::store, f32, {builder.emit(Opcode::fma, f32, {product, two, row})}, out);
  builder.end_sweep();
  return builder.kernel;
}

std::vector<float> results(const Kernel& kernel) {
  verify_kernel(kernel);
  std::vector<float> a(batch * m * k), b(k * n), scale(k), out(batch * m * n);
  std::iota(a.begin(), a.end(), -20.0f);
  std::iota(b.begin(), b.end(), 0.5f);
  std::iota(scale.begin(), scale.end(), 1.0f);
  void* arguments[] = {a.data(), b.data(), scale.data(), out.data()};
  std::vector<int64_t> sizes;
  for (const Size& size : kernel.sizes) sizes.push_back(size.value);
  Program(kernel).run({arguments, sizes.data(), nullptr});
  return out;
}

TEST(OrientContraction, TransposedEpilogueTurns) {
  const Kernel before = gradient_like(true);
  Kernel after = before;
  orient_contraction(after);
  EXPECT_NE(to_text(before), to_text(after));
  EXPECT_EQ(results(before), results(after));
  EXPECT_EQ(after.size(after.accesses[3].strides[3]), 1);
  EXPECT_EQ(after.axes[3].role, Role::inner);
  EXPECT_EQ(after.size(after.axes[3].extent), m);
  EXPECT_LT(after.contraction->a_begin, after.contraction->b_begin);
  const std::string turned = to_text(after);
  orient_contraction(after);
  EXPECT_EQ(to_text(after), turned);
}

TEST(OrientContraction, OthersStay) {
  for (int variant = 0; variant < 3; ++variant) {
    Kernel kernel = gradient_like(variant != 0);
    if (variant == 1) kernel.accumulators.push_back({Reduce::sum, f32, 4, true, 3});
    if (variant == 2) kernel.stages.insert(kernel.stages.begin(), {StageKind::row});
    const std::string before = to_text(kernel);
    orient_contraction(kernel);
    EXPECT_EQ(to_text(kernel), before) << variant;
  }
}

}  // namespace
}  // namespace encore::trace
