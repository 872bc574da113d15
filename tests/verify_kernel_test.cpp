// Does the verifier accept what kernel.h allows, and does it name whoever breaks a rule?
#include <encore/core/error.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "kernel_maker.h"

namespace encore::jit {
namespace {

// Sizes: 0: rows (free 4), 1: columns (free 8), 2: fixed 1, 3: rows per chunk (fixed 2).
// Axes: 0: row, 1: inner. Arguments: 0: read f32, 1: write f32, 2: write f32 (column sums),
// 3: update f16.
Kernel normalize_rows() {
  KernelMaker make;
  SizeId rows = make.free(4), columns = make.free(8), one = make.fixed(1), chunk = make.fixed(2);
  make.axis(Role::row, rows);
  make.axis(Role::inner, columns);
  make.scalar(f32);
  uint32_t x = make.access(make.argument(f32, Use::read), {columns, one});
  uint32_t y = make.access(make.argument(f32, Use::write), {columns, one});
  uint32_t sums = make.access(make.argument(f32, Use::write), {none, one});
  uint32_t table = make.access(make.argument(f16, Use::update), {none, one});
  make.kernel.rows_per_chunk = chunk;
  make.kernel.name = "normalize_rows";
  ValueId zero = make.constant(f32, 0);                          // 0
  make.emit(Opcode::scalar, f32, {}, 0);                         // 1
  make.stage(StageKind::setup);                                  // stage 0
  ValueId row = make.index(0);                                   // 2
  make.emit(Opcode::lt, DType::boolean, {row, row});             // 3
  make.stage(StageKind::row);                                    // stage 1
  ValueId value = make.load(f32, x);                             // 4
  ValueId clamped = make.emit(Opcode::max, f32, {value, zero});  // 5
  uint32_t total = make.accumulate(Reduce::sum, clamped);        // accumulator 0
  make.accumulate(Reduce::argmax, value);                        // accumulator 1
  make.stage(StageKind::sweep);                                  // stage 2
  ValueId sum = make.reduced(total);                             // 6
  make.stage(StageKind::row);                                    // stage 3
  ValueId again = make.load(f32, x);                             // 7
  ValueId quotient = make.emit(Opcode::div, f32, {again, sum});  // 8
  make.store(quotient, y);                                       // 9
  make.store(quotient, table, Opcode::store_add);                // 10
  make.accumulate_column(Reduce::sum, quotient, sums, columns);  // accumulator 2
  make.stage(StageKind::sweep);                                  // stage 4
  return make.kernel;
}

// Axes: 0: outer, 1: row, 2: inner, 3: contracted. Arguments: 0, 1: read f32, 2: write f32.
Kernel multiply_matrices() {
  KernelMaker make;
  SizeId m = make.free(4), n = make.free(8), k = make.free(5), one = make.fixed(1);
  make.axis(Role::outer, one);
  make.axis(Role::row, m);
  make.axis(Role::inner, n);
  make.axis(Role::contracted, k);
  uint32_t a = make.access(make.argument(f32, Use::read), {none, k, none, one});
  uint32_t b = make.access(make.argument(f32, Use::read), {none, none, one, n});
  uint32_t c = make.access(make.argument(f32, Use::write), {none, n, one, none});
  make.kernel.name = "multiply_matrices";
  make.operand(make.load(f32, a));                 // 0
  make.operand(make.load(f32, b));                 // 1
  make.store(make.emit(Opcode::product, f32), c);  // 2, 3
  make.stage(StageKind::sweep);                    // stage 0
  return make.kernel;
}

std::string complaint(const Kernel& kernel) {
  try {
    verify_kernel(kernel);
  } catch (const Error& error) {
    return error.message();
  }
  return "";
}

struct Breach {
  const char* complaint;
  std::function<void(Kernel&)> commit;
};

void expect_complaints(Kernel (*make)(), const std::vector<Breach>& breaches) {
  ASSERT_EQ(complaint(make()), "");
  for (const Breach& breach : breaches) {
    Kernel kernel = make();
    breach.commit(kernel);
    EXPECT_EQ(complaint(kernel), "kernel '" + kernel.name + "': " + breach.complaint);
  }
}

TEST(VerifyKernel, SizesAndAxes) {
  expect_complaints(
      normalize_rows,
      {{"size 0: is 1 and not fixed", [](Kernel& k) { k.sizes[0].value = 1; }},
       {"size 1: is 0 and not fixed", [](Kernel& k) { k.sizes[1].value = 0; }},
       {"axis 0: its extent is no size of the kernel", [](Kernel& k) { k.axes[0].extent = 9; }},
       {"axis 1: its extent is negative", [](Kernel& k) { k.sizes[1].value = -2; }},
       {"axis 1: axes must be ordered by role: outer, row, inner, contracted",
        [](Kernel& k) { k.axes[1].role = Role::outer; }},
       {"axis 1: is contracted in a kernel without a contraction",
        [](Kernel& k) { k.axes[1].role = Role::contracted; }},
       {"scalar 0: f16 and bf16 are no compute dtypes", [](Kernel& k) { k.scalars[0] = bf16; }}});
}

TEST(VerifyKernel, StagesCoverInstructionsAndAccumulators) {
  expect_complaints(
      normalize_rows,
      {{"stage 1 (setup): setup stages come before all others",
        [](Kernel& k) {
          k.stages[0].kind = StageKind::row;
          k.stages[1].kind = StageKind::setup;
        }},
       {"stage 4 (sweep): its instructions are no range of the kernel's",
        [](Kernel& k) { k.stages[4].end = 12; }},
       {"stage 3 (row): its instructions come before those of the stage before it",
        [](Kernel& k) { k.stages[3].begin = 5; }},
       {"instruction 5 (max f32): belongs to no stage or operand program",
        [](Kernel& k) { k.stages[2].end = 5; }},
       {"accumulator 2: no stage feeds it", [](Kernel& k) { k.stages[4].last_accumulator = 2; }},
       {"stage 4 (sweep): accumulators must be numbered from 0 in the order of the stages that "
        "feed them",
        [](Kernel& k) { k.stages[4].first_accumulator = 1; }},
       {"the kernel: has 2049 instructions; 2048 are allowed", [](Kernel& k) {
          k.instructions.resize(2049, k.instructions[8]);
          k.stages[4].end = 513;
        }}});
}

TEST(VerifyKernel, AccessesHaveTheirParts) {
  expect_complaints(
      normalize_rows,
      {{"access 1: its argument does not exist", [](Kernel& k) { k.accesses[1].argument = 4; }},
       {"access 0: its base is no size of the kernel", [](Kernel& k) { k.accesses[0].base = 7; }},
       {"access 2: it needs one stride for each axis of the kernel",
        [](Kernel& k) { k.accesses[2].strides.pop_back(); }},
       {"access 0: a stride is no size of the kernel",
        [](Kernel& k) { k.accesses[0].strides[1] = 4; }},
       {"access 2: its chunk stride is no size of the kernel",
        [](Kernel& k) { k.accesses[2].chunk_stride = 8; }}});
}

TEST(VerifyKernel, OperandsAreThereAndFit) {
  expect_complaints(
      normalize_rows,
      {{"instruction 5 (max f32): operand 1: is no value of the kernel",
        [](Kernel& k) { k.instructions[5].operands[1] = none; }},
       {"instruction 5 (max f32): operand 2: is one too many",
        [](Kernel& k) { k.instructions[5].operands[2] = 0; }},
       {"instruction 5 (max f32): operand 0: value 5 is not computed yet",
        [](Kernel& k) { k.instructions[5].operands[0] = 5; }},
       {"instruction 10 (store_add f32): operand 0: value 9 is a store",
        [](Kernel& k) { k.instructions[10].operands[0] = 9; }},
       {"instruction 8 (div f32): operand 0: value 5 of stage 2 (sweep) cannot be used in stage 4 "
        "(sweep)",
        [](Kernel& k) { k.instructions[8].operands[0] = 5; }},
       {"instruction 5 (max f32): operand 1: has dtype i64, f32 is needed",
        [](Kernel& k) { k.instructions[5].operands[1] = 2; }},
       {"instruction 3 (lt bool): operand 1: has dtype f32, i64 is needed",
        [](Kernel& k) { k.instructions[3].operands[1] = 0; }},
       {"instruction 3 (lt i32): a comparison gives bool",
        [](Kernel& k) { k.instructions[3].dtype = i32; }},
       {"instruction 8 (select f32): operand 0: has dtype f32, bool is needed",
        [](Kernel& k) { k.instructions[8] = {Opcode::select, f32, {7, 7, 7}}; }},
       {"instruction 8 (bit_and f32): has no meaning on f32",
        [](Kernel& k) { k.instructions[8].op = Opcode::bit_and; }},
       {"instruction 8 (bitcast f32): has no meaning on i64",
        [](Kernel& k) { k.instructions[8] = {Opcode::bitcast, f32, {2, none, none}}; }},
       {"instruction 8 (quantize f32): quantizes to f16 or bf16 only",
        [](Kernel& k) { k.instructions[8] = {Opcode::quantize, f32, {7, none, none}}; }},
       {"instruction 8 (cast f16): f16 and bf16 are no compute dtypes",
        [](Kernel& k) { k.instructions[8] = {Opcode::cast, f16, {7, none, none}}; }},
       {"instruction 0 (constant f32): its literal is too wide",
        [](Kernel& k) { k.instructions[0].bits = uint64_t(1) << 32; }},
       {"instruction 0 (constant bool): its literal is too wide", [](Kernel& k) {
          k.instructions[0] = {Opcode::constant, DType::boolean, {none, none, none}, 0, 2};
        }}});
}

TEST(VerifyKernel, SourcesExistWhereTheyAreAsked) {
  auto replace_row = [](Opcode op, DType dtype, uint32_t aux) {
    return [=](Kernel& k) { k.instructions[2] = {op, dtype, {none, none, none}, aux}; };
  };
  expect_complaints(
      normalize_rows,
      {{"instruction 1 (scalar f32): its scalar slot does not exist",
        [](Kernel& k) { k.instructions[1].aux = 1; }},
       {"instruction 1 (scalar f32): its scalar slot has another dtype",
        [](Kernel& k) { k.scalars[0] = f64; }},
       {"instruction 2 (size i64): its size does not exist", replace_row(Opcode::size, i64, 4)},
       {"instruction 2 (size i32): a size is i64", replace_row(Opcode::size, i32, 0)},
       {"instruction 2 (index i64): its axis does not exist", replace_row(Opcode::index, i64, 2)},
       {"instruction 2 (index u64): an index is i64", replace_row(Opcode::index, u64, 0)},
       {"instruction 2 (index i64): the index of its axis is not known there",
        replace_row(Opcode::index, i64, 1)},
       {"instruction 1 (index i64): the index of its axis is not known there",
        [](Kernel& k) { k.instructions[1] = {Opcode::index, i64, {none, none, none}, 0}; }},
       {"instruction 2 (reduced f32): no sweep before it feeds its accumulator",
        replace_row(Opcode::reduced, f32, 0)},
       {"instruction 6 (reduced f32): its accumulator does not exist",
        [](Kernel& k) { k.instructions[6].aux = 3; }},
       {"instruction 6 (reduced f32): its accumulator is a column one",
        [](Kernel& k) { k.instructions[6].aux = 2; }},
       {"instruction 6 (reduced f32): its accumulator has another dtype",
        [](Kernel& k) { k.instructions[6].aux = 1; }},
       {"instruction 7 (reduced f32): belongs in a row stage",
        [](Kernel& k) { k.instructions[7] = {Opcode::reduced, f32, {none, none, none}, 0}; }},
       {"instruction 7 (product f32): the kernel has no contraction",
        [](Kernel& k) { k.instructions[7] = {Opcode::product, f32, {none, none, none}}; }}});
}

TEST(VerifyKernel, MemoryIsUsedAsItsArgumentSays) {
  expect_complaints(
      normalize_rows,
      {{"instruction 4 (load f32): its access does not exist",
        [](Kernel& k) { k.instructions[4].aux = 4; }},
       {"instruction 4 (load f32): argument 0 has dtype i32",
        [](Kernel& k) { k.arguments[0].dtype = i32; }},
       {"instruction 4 (load f32): loads from an argument that is only written",
        [](Kernel& k) { k.instructions[4].aux = 1; }},
       {"instruction 9 (store f32): stores to an argument that is only read",
        [](Kernel& k) { k.instructions[9].aux = 0; }},
       {"instruction 10 (store_add f32): needs an argument in use `update`",
        [](Kernel& k) { k.arguments[3].use = Use::write; }},
       {"instruction 1 (load f32): its access has a stride on axis 0, whose index is not known "
        "there",
        [](Kernel& k) { k.instructions[1] = {Opcode::load, f32, {none, none, none}, 0}; }},
       {"instruction 1 (load f32): setup loads only from arguments that are only read",
        [](Kernel& k) { k.instructions[1] = {Opcode::load, f32, {none, none, none}, 3}; }},
       {"instruction 1 (store f32): setup stores nothing",
        [](Kernel& k) { k.instructions[1] = {Opcode::store, f32, {0, none, none}, 1}; }},
       {"instruction 6 (load f32): its access has a stride on axis 1, whose index is not known "
        "there",
        [](Kernel& k) { k.instructions[6] = {Opcode::load, f32, {none, none, none}, 0}; }},
       {"instruction 9 (store f32): operand 0: has dtype i64, f32 is needed",
        [](Kernel& k) { k.instructions[9].operands[0] = 2; }},
       {"instruction 4 (load f32): only a column accumulator's access may use the chunk",
        [](Kernel& k) { k.accesses[0].chunk_stride = 1; }},
       {"instruction 4 (load f32): offset: has dtype f32, i64 is needed",
        [](Kernel& k) { k.accesses[0].offset = 0; }},
       {"instruction 4 (load f32): predicate: has dtype i64, bool is needed",
        [](Kernel& k) { k.accesses[0].predicate = 2; }},
       {"instruction 4 (load f32): predicate: value 5 is not computed yet",
        [](Kernel& k) { k.accesses[0].predicate = 5; }}});
}

TEST(VerifyKernel, AccumulatorsAreFedWhereTheyMayBe) {
  auto move_to_row_stage = [](Kernel& k) {
    k.accumulators = {k.accumulators[0]};
    k.accumulators[0].value = 0;
    for (Stage& stage : k.stages) stage.first_accumulator = stage.last_accumulator = 0;
    k.stages[1].last_accumulator = 1;
    k.instructions[6] = {Opcode::constant, f32, {none, none, none}};
    k.rows_per_chunk = none;
  };
  expect_complaints(
      normalize_rows,
      {{"accumulator 0: a row stage feeds only column accumulators", move_to_row_stage},
       {"accumulator 0: a setup stage feeds no accumulator",
        [=](Kernel& k) {
          move_to_row_stage(k);
          k.stages[0].last_accumulator = 1;
          k.stages[1].last_accumulator = 0;
        }},
       {"accumulator 0: f16 and bf16 are no compute dtypes",
        [](Kernel& k) { k.accumulators[0].dtype = f16; }},
       {"accumulator 0: value: has dtype i64, f32 is needed",
        [](Kernel& k) { k.accumulators[0].value = 2; }},
       {"accumulator 0: value: value 8 is not computed yet",
        [](Kernel& k) { k.accumulators[0].value = 8; }},
       {"accumulator 2: value: value 5 of stage 2 (sweep) cannot be used in stage 4 (sweep)",
        [](Kernel& k) { k.accumulators[2].value = 5; }},
       {"accumulator 0: predicate: has dtype f32, bool is needed",
        [](Kernel& k) { k.accumulators[0].predicate = 4; }},
       {"accumulator 0: any and all need bool",
        [](Kernel& k) { k.accumulators[0].reduce = Reduce::any; }},
       {"accumulator 1: argmax and argmin give i64",
        [](Kernel& k) { k.accumulators[1].dtype = i32; }},
       {"accumulator 1: argmax and argmin are row accumulators only",
        [](Kernel& k) { k.accumulators[1].column = true; }},
       {"accumulator 0: a row accumulator has no access",
        [](Kernel& k) { k.accumulators[0].access = 2; }}});
}

TEST(VerifyKernel, ColumnTotalsHaveSomewhereToGo) {
  expect_complaints(
      normalize_rows,
      {{"accumulator 2: its access does not exist",
        [](Kernel& k) { k.accumulators[2].access = none; }},
       {"accumulator 2: its access's argument has another dtype",
        [](Kernel& k) { k.arguments[2].dtype = f64; }},
       {"accumulator 2: its access's argument is only read",
        [](Kernel& k) { k.arguments[2].use = Use::read; }},
       {"accumulator 2: its access has a stride on axis 0, whose index is not known there",
        [](Kernel& k) { k.accesses[2].strides[0] = 1; }},
       {"accumulator 2: its access has neither offset nor predicate",
        [](Kernel& k) { k.accesses[2].offset = 2; }},
       {"rows_per_chunk: a kernel with column accumulators needs it",
        [](Kernel& k) { k.rows_per_chunk = none; }},
       {"rows_per_chunk: is no size of the kernel", [](Kernel& k) { k.rows_per_chunk = 4; }},
       {"rows_per_chunk: must be at least 1", [](Kernel& k) { k.sizes[3].value = 0; }}});
  expect_complaints(multiply_matrices, {{"rows_per_chunk: is for kernels with column accumulators",
                                         [](Kernel& k) { k.rows_per_chunk = 0; }}});
}

TEST(VerifyKernel, Contractions) {
  expect_complaints(
      multiply_matrices,
      {{"instruction 0 (load f32): its access has a stride on axis 2, whose index is not known "
        "there",
        [](Kernel& k) { k.accesses[0].strides[2] = 3; }},
       {"instruction 1 (load f32): its access has a stride on axis 1, whose index is not known "
        "there",
        [](Kernel& k) { k.accesses[1].strides[1] = 3; }},
       {"instruction 3 (store f32): its access has a stride on axis 3, whose index is not known "
        "there",
        [](Kernel& k) { k.accesses[2].strides[3] = 3; }},
       {"instruction 1 (store f32): operand 0: value 0 of operand a of the contraction cannot be "
        "used in operand b of the contraction",
        [](Kernel& k) { k.instructions[1] = {Opcode::store, f32, {0, none, none}, 2}; }},
       {"instruction 3 (store f32): operand 0: value 0 of operand a of the contraction cannot be "
        "used in stage 0 (sweep)",
        [](Kernel& k) { k.instructions[3].operands[0] = 0; }},
       {"instruction 1 (product f32): belongs in the contraction's sweep",
        [](Kernel& k) { k.instructions[1] = {Opcode::product, f32, {none, none, none}}; }},
       {"instruction 2 (product f64): the contraction has another dtype",
        [](Kernel& k) { k.instructions[2].dtype = f64; }},
       {"instruction 0 (load f32): belongs to two stages or operand programs",
        [](Kernel& k) { k.contraction->b_begin = 0; }},
       {"operand a: its value is not computed by its own program",
        [](Kernel& k) { k.contraction->a = 1; }},
       {"operand b: its value is not computed by its own program",
        [](Kernel& k) { k.contraction->b = none; }},
       {"the contraction: needs exactly one sweep",
        [](Kernel& k) { k.stages.push_back({StageKind::sweep, 4, 4, 0, 0}); }}});
}

TEST(VerifyKernel, AnOperandProgramStoresNothing) {
  Kernel kernel = multiply_matrices();
  kernel.instructions[1] = {Opcode::constant, f32, {none, none, none}};
  kernel.instructions[2] = {Opcode::store, f32, {1, none, none}, 2};
  kernel.instructions[3] = {Opcode::constant, f32, {none, none, none}};
  kernel.accesses[2].strides[1] = none;
  kernel.contraction->b_end = 3;
  kernel.stages[0].begin = 3;
  EXPECT_EQ(
      complaint(kernel),
      "kernel 'multiply_matrices': instruction 2 (store f32): an operand program stores nothing");
}

TEST(VerifyKernel, ContractionsAreOfNumbers) {
  Kernel kernel = multiply_matrices();
  for (Argument& argument : kernel.arguments) argument.dtype = DType::boolean;
  for (Instruction& instruction : kernel.instructions) instruction.dtype = DType::boolean;
  kernel.contraction->dtype = DType::boolean;
  EXPECT_EQ(
      complaint(kernel),
      "kernel 'multiply_matrices': the contraction: its dtype must be a number's compute dtype");
}

}  // namespace
}  // namespace encore::jit
