// Judges what a backend made of a contraction that may add in another order.
#pragma once
#include <encore/jit/reference/evaluate.h>

#include <cmath>
#include <functional>

#include "contraction_cases.h"

namespace encore::jit {

using Oracle = std::function<std::vector<LaunchData>(const RandomKernel&)>;

/// The same kernel and data with all floating numbers in double.
inline RandomKernel in_double(const RandomKernel& random) {
  RandomKernel result = random;
  Kernel& kernel = result.kernel;
  auto widen = [](DType& dtype) {
    if (is_floating(dtype)) dtype = DType::f64;
  };
  for (uint32_t i = 0; i < kernel.arguments.size(); ++i) {
    const DType dtype = kernel.arguments[i].dtype;
    widen(kernel.arguments[i].dtype);
    if (!is_floating(dtype) || dtype == DType::f64) continue;
    for (LaunchData& data : result.segments) {
      const std::vector<std::byte> narrow = data.arguments[i];
      const size_t count = narrow.size() / size_of(dtype);
      data.arguments[i].resize(count * 8);
      for (size_t j = 0; j < count; ++j) {
        double value = 0;
        if (dtype == DType::f32) value = reinterpret_cast<const float*>(narrow.data())[j];
        if (dtype == DType::f16) value = float(reinterpret_cast<const Half*>(narrow.data())[j]);
        if (dtype == DType::bf16)
          value = float(reinterpret_cast<const BFloat16*>(narrow.data())[j]);
        std::memcpy(&data.arguments[i][j * 8], &value, 8);
      }
    }
  }
  for (Instruction& instruction : kernel.instructions) {
    if (instruction.op == Opcode::constant && is_floating(instruction.dtype))
      instruction.bits =
          evaluate(Opcode::cast, DType::f64, instruction.dtype, instruction.bits, 0, 0, 0);
    widen(instruction.dtype);
  }
  for (Accumulator& accumulator : kernel.accumulators) widen(accumulator.dtype);
  for (DType& scalar : kernel.scalars) widen(scalar);
  widen(kernel.contraction->dtype);
  kernel.contraction->precision = MatmulPrecision::highest;
  return result;
}

/// How far from the sum in double a result may be whose terms are at most 1: for f32 and operands
/// in 16 bits a chain of fma's usual error with room for 20 of it, for rounded operands theirs.
inline double allowed_error(const ContractionCase& one) {
  const Contraction& contraction = *one.random.kernel.contraction;
  const double depth = double(one.depth), root = std::sqrt(depth + 1);
  if (contraction.dtype == DType::f64) return 0x1p-50 * (depth + 8) * double(one.summed);
  double error = 0x1p-24 * (root / 4 + 6) * (depth / 2 + 1);
  if (contraction.precision != MatmulPrecision::highest) error += 0x1p-10 * root;
  return error * std::sqrt(double(one.summed)) * 2;
}

/// Empty where `found` is right. `oracle` runs a kernel in the order of jit/kernel.h.
inline std::string contraction_difference(const ContractionCase& one,
                                          const std::vector<LaunchData>& found, bool strict,
                                          const Oracle& oracle) {
  const Kernel& kernel = one.random.kernel;
  if (strict || one.exact) return first_difference(kernel, oracle(one.random), found);
  const std::vector<LaunchData> expected = oracle(in_double(one.random));
  const double allowed = allowed_error(one);
  for (uint32_t i = 0; i < kernel.arguments.size(); ++i) {
    const DType dtype = kernel.arguments[i].dtype;
    if (kernel.arguments[i].use == Use::read || !is_floating(dtype)) continue;
    const auto* wanted = reinterpret_cast<const double*>(expected[0].arguments[i].data());
    const std::byte* bytes = found[0].arguments[i].data();
    for (size_t j = 0; j < found[0].arguments[i].size() / size_of(dtype); ++j) {
      double value = 0, rounding = 0;
      if (dtype == DType::f64) value = reinterpret_cast<const double*>(bytes)[j];
      if (dtype == DType::f32) {
        value = reinterpret_cast<const float*>(bytes)[j];
        rounding = std::abs(wanted[j]) * 0x1p-20;
      }
      if (dtype == DType::f16) {
        value = float(reinterpret_cast<const Half*>(bytes)[j]);
        rounding = std::abs(wanted[j]) * 0x1p-10;
      }
      if (dtype == DType::bf16) {
        value = float(reinterpret_cast<const BFloat16*>(bytes)[j]);
        rounding = std::abs(wanted[j]) * 0x1p-7;
      }
      if (value == wanted[j] || (std::isnan(value) && std::isnan(wanted[j]))) continue;
      if (std::abs(value - wanted[j]) <= allowed + rounding) continue;
      // Beyond f32's largest number.
      if (std::isinf(value) && std::abs(wanted[j]) > 3e38 && value * wanted[j] > 0) continue;
      return fmt::format("argument {}, element {}: {} is not {}, only {} off is allowed", i, j,
                         value, wanted[j], allowed + rounding);
    }
  }
  return {};
}

}  // namespace encore::jit
