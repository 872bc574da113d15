// Does a kernel's text say all that generated code depends on, and nothing else?
#include <gtest/gtest.h>

#include <functional>

#include "kernel_maker.h"

namespace encore::jit {
namespace {

Kernel column_means() {
  KernelMaker make;
  SizeId rows = make.free(40), columns = make.free(60), one = make.fixed(1);
  make.kernel.rows_per_chunk = make.fixed(16);
  make.axis(Role::row, rows);
  make.axis(Role::inner, columns);
  uint32_t in = make.access(make.argument(bf16, Use::read), {columns, one}, make.fixed(-4));
  uint32_t out = make.access(make.argument(f32, Use::write), {none, one});
  make.emit(Opcode::scalar, f32, {}, make.scalar(f32));
  make.constant(i8, -3);
  make.emit(Opcode::size, i64, {}, columns);
  make.stage(StageKind::setup);
  ValueId row = make.index(0);
  ValueId inside = make.emit(Opcode::lt, DType::boolean, {row, 2});
  make.stage(StageKind::row);
  make.kernel.accesses[in].predicate = inside;
  make.kernel.accesses[in].offset = row;
  ValueId x = make.emit(Opcode::quantize, f32, {make.load(f32, in)}, uint32_t(bf16));
  make.accumulate_column(Reduce::sum, make.emit(Opcode::mul, f32, {x, 0}), out, columns, inside);
  uint32_t most = make.accumulate(Reduce::argmax, x);
  make.stage(StageKind::sweep);
  make.reduced(most);
  make.stage(StageKind::row);
  make.kernel.name = "column_means";
  return make.kernel;
}

TEST(KernelText, IsReadable) {
  EXPECT_EQ(to_text(column_means()),
            R"(axis 0: row s0
axis 1: inner s1
rows per chunk: 16
argument 0: read bf16
argument 1: write f32
scalar 0: f32
setup
  %0 = scalar f32 scalar 0
  %1 = constant i8 0xfd (-3)
  %2 = size i64 s1
row
  %3 = index i64 axis 0
  %4 = lt bool %3 %2
sweep
  %5 = load f32 argument 0 [-4 + axis 0 * s1 + axis 1 + %3] if %4
  %6 = quantize f32 %5 bf16
  %7 = mul f32 %6 %0
  accumulator 0 = sum f32 %7 if %4 by column to argument 1 [axis 1 + chunk * s1]
  accumulator 1 = argmax i64 %6
row
  %8 = reduced i64 accumulator 1
)");
}

TEST(KernelText, SaysNothingOfNamesAndValuesThatAreNotFixed) {
  Kernel kernel = column_means();
  kernel.name = "another";
  kernel.sizes[0].value = 41;
  kernel.sizes[1].value = 61;
  EXPECT_EQ(to_text(kernel), to_text(column_means()));
  EXPECT_EQ(key_of(kernel), key_of(column_means()));
}

TEST(KernelText, CodeForSomeSizesIsAnotherKernel) {
  Kernel kernel = column_means();
  kernel.variant = 2;
  EXPECT_NE(key_of(kernel), key_of(column_means()));
  EXPECT_NE(to_text(kernel).find("rows per chunk: 16\nvariant: 2\n"), std::string::npos);
}

TEST(KernelText, NoStrideIsAStrideOfZero) {
  Kernel kernel = column_means();
  kernel.sizes.push_back({0, true});
  kernel.accesses[1].base = SizeId(kernel.sizes.size() - 1);
  kernel.accesses[1].strides[0] = SizeId(kernel.sizes.size() - 1);
  EXPECT_EQ(to_text(kernel), to_text(column_means()));
}

TEST(KernelText, DiffersWithEverythingThatCodeDependsOn) {
  std::vector<std::function<void(Kernel&)>> changes = {
      [](Kernel& k) { k.sizes[0].fixed = true; },
      [](Kernel& k) { k.sizes[3].value = 17; },
      [](Kernel& k) { k.axes[0].extent = 1; },
      [](Kernel& k) { k.axes[0].role = Role::outer; },
      [](Kernel& k) { k.arguments[0].dtype = f16; },
      [](Kernel& k) { k.arguments[1].use = Use::update; },
      [](Kernel& k) { k.scalars[0] = f64; },
      [](Kernel& k) { k.accesses[0].argument = 1; },
      [](Kernel& k) { k.accesses[0].base = none; },
      [](Kernel& k) { k.accesses[0].strides[1] = none; },
      [](Kernel& k) { k.accesses[0].offset = none; },
      [](Kernel& k) { k.accesses[0].predicate = none; },
      [](Kernel& k) { k.accesses[1].chunk_stride = 0; },
      [](Kernel& k) { k.instructions[1].bits = 2; },
      [](Kernel& k) { k.instructions[2].aux = 0; },
      [](Kernel& k) { k.instructions[3].aux = 1; },
      [](Kernel& k) { k.instructions[4].op = Opcode::le; },
      [](Kernel& k) { k.instructions[6].aux = uint32_t(f16); },
      [](Kernel& k) { k.instructions[7].operands[1] = 5; },
      [](Kernel& k) { k.instructions[8].aux = 0; },
      [](Kernel& k) { k.accumulators[0].reduce = Reduce::prod; },
      [](Kernel& k) { k.accumulators[0].value = 5; },
      [](Kernel& k) { k.accumulators[0].predicate = none; },
      [](Kernel& k) { k.accumulators[1].reduce = Reduce::argmin; },
      [](Kernel& k) { k.stages[1].kind = StageKind::setup; },
      [](Kernel& k) { --k.stages[0].end, --k.stages[1].begin; },
      [](Kernel& k) { k.stages[2].last_accumulator = 1; },
      [](Kernel& k) { k.contraction = Contraction{f32, 5, 6, 6, 7, 5, 6}; },
  };
  for (size_t i = 0; i < changes.size(); ++i) {
    Kernel kernel = column_means();
    changes[i](kernel);
    EXPECT_NE(to_text(kernel), to_text(column_means())) << "change " << i;
    EXPECT_NE(key_of(kernel), key_of(column_means())) << "change " << i;
  }
}

TEST(KernelText, ShowsThePrecisionOfProducts) {
  Kernel exact = column_means();
  exact.contraction = Contraction{f32, 5, 6, 6, 7, 5, 6};
  Kernel rounded = exact;
  rounded.contraction->precision = MatmulPrecision::high;
  EXPECT_NE(to_text(exact), to_text(rounded));
}

}  // namespace
}  // namespace encore::jit
