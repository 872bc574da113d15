#include "instruction_kernels.h"

#include <encore/jit/reference/evaluate.h>
#include <fmt/format.h>

#include <cstring>

#include "kernel_maker.h"
#include "random_data.h"

namespace encore::jit {
namespace {

constexpr DType dtypes[] = {
#define DTYPE(name, bytes, kind, type) DType::name,
    ENCORE_DTYPES(DTYPE)
#undef DTYPE
};

/// What operands may be: integral exponents for scale2, no NaN whose payload would show.
std::vector<uint64_t> inputs(Opcode op, DType dtype, int operand) {
  std::vector<uint64_t> values;
  if (op == Opcode::scale2 && operand == 1) {
    for (int exponent : {0,    1,    -1,   23,    -24,   126,   127,   128,  -125,  -126, -127,
                         -149, -150, -151, 254,   255,   277,   278,   -252, -253,  -277, -278,
                         1022, 1023, 1024, -1022, -1023, -1074, -1075, 2097, -2098, 2200, -2200})
      values.push_back(Scalar(exponent).bits_as(dtype));
    return values;
  }
  values = edge_values(dtype);
  if (op == Opcode::bitcast && is_floating(dtype)) values.pop_back();  // NaN comes last
  if (is_floating(dtype) && op != Opcode::fma)
    for (double value : {1.0 / 3, -7.25, 1e-20, 3e-39, 65520.0, 65519.9, 5.9604644775390625e-8 / 2,
                         127.5, 255.5, 32767.5, -128.5, 4294967296.0, -2147483649.0, 1e19, -1e19})
      values.push_back(Scalar(value).bits_as(dtype));
  return values;
}

RandomKernel make(Opcode op, DType result, DType first, uint32_t aux) {
  KernelMaker k;
  int count = operand_count(op);
  DType operands[3] = {first, first, first};
  if (op == Opcode::select) operands[1] = operands[2] = result;
  std::vector<uint64_t> values[3];
  int64_t points = 1;
  for (int i = 0; i < count; ++i) {
    values[i] = inputs(op, operands[i], i);
    points *= int64_t(values[i].size());
  }
  k.axis(Role::inner, k.free(std::max<int64_t>(points, 2)));
  LaunchData data;
  data.sizes = {std::max<int64_t>(points, 2), 1};
  SizeId one = k.fixed(1);
  ValueId loaded[3] = {none, none, none};
  int64_t repeat = points;
  for (int i = 0; i < count; ++i) {
    loaded[i] = k.load(operands[i], k.access(k.argument(operands[i], Use::read), {one}));
    int64_t period = repeat;
    repeat /= int64_t(values[i].size());
    std::vector<std::byte> memory;
    for (int64_t point = 0; point < data.sizes[0]; ++point) {
      uint64_t bits =
          values[i][size_t(point % period / std::max<int64_t>(repeat, 1)) % values[i].size()];
      memory.resize(memory.size() + size_of(operands[i]));
      std::memcpy(memory.data() + memory.size() - size_of(operands[i]), &bits,
                  size_of(operands[i]));
    }
    data.arguments.push_back(std::move(memory));
  }
  ValueId value = k.emit(op, result, {loaded[0], loaded[1], loaded[2]}, aux);
  k.store(value, k.access(k.argument(result, Use::write), {one}));
  k.stage(StageKind::sweep);
  data.arguments.emplace_back(size_t(data.sizes[0]) * size_of(result));
  k.kernel.name = fmt::format("{}_{}_{}_{}", name_of(op), name_of(result), name_of(first), aux);
  std::vector<uint32_t> owners;
  for (uint32_t i = 0; i < k.kernel.arguments.size(); ++i) owners.push_back(i);
  return {k.kernel, {data}, owners};
}

/// Storing and loading what 16-bit memory holds is a rounding of its own.
RandomKernel make_storage(DType stored) {
  KernelMaker k;
  DType computed = compute_dtype(stored);
  std::vector<uint64_t> values = inputs(Opcode::add, computed, 0);
  k.axis(Role::inner, k.free(int64_t(values.size())));
  SizeId one = k.fixed(1);
  uint32_t from = k.access(k.argument(computed, Use::read), {one});
  k.store(k.load(computed, from), k.access(k.argument(stored, Use::write), {one}));
  k.stage(StageKind::sweep);
  k.kernel.name = fmt::format("store_{}", name_of(stored));
  LaunchData data;
  data.sizes = {int64_t(values.size()), 1};
  data.arguments.resize(2);
  for (uint64_t bits : values) {
    data.arguments[0].resize(data.arguments[0].size() + size_of(computed));
    std::memcpy(data.arguments[0].data() + data.arguments[0].size() - size_of(computed), &bits,
                size_of(computed));
  }
  data.arguments[1].resize(values.size() * size_of(stored));
  return {k.kernel, {data}, {0, 1}};
}

}  // namespace

std::vector<RandomKernel> instruction_kernels() {
  std::vector<RandomKernel> kernels;
  for (int i = 0; i <= int(Opcode::quantize); ++i) {
    Opcode op = Opcode(i);
    for (DType result : dtypes)
      for (DType first : dtypes)
        for (uint32_t aux : {0u, uint32_t(DType::f16), uint32_t(DType::bf16)}) {
          if (op == Opcode::constant || (op != Opcode::quantize && aux != 0)) continue;
          if (evaluation_of(op, result, first, aux))
            kernels.push_back(make(op, result, first, aux));
        }
  }
  for (DType stored : dtypes) kernels.push_back(make_storage(stored));
  return kernels;
}

}  // namespace encore::jit
