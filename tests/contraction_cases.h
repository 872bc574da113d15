// Contractions of every kind, with inputs: what tests of a backend's contractions run through.
#pragma once
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "contraction_kernels.h"
#include "random_data.h"
#include "random_kernel.h"

namespace encore::jit {

struct ContractionCase {
  std::string name;
  RandomKernel random;
  int64_t depth = 0;   // contracted points
  int64_t summed = 1;  // sums that a column accumulator adds up
  bool exact = false;  // integers: the same bits in any order
};

/// `elements` gives the length of each argument; numbers lie in (-1, 1), or are small integers.
inline RandomKernel with_data(const Kernel& kernel, const std::vector<int64_t>& elements) {
  RandomKernel result{kernel, {LaunchData{}}, {}};
  Random random(uint64_t(elements[0] + 7 * elements.back()));
  LaunchData& data = result.segments[0];
  for (uint32_t i = 0; i < elements.size(); ++i) {
    const DType dtype = kernel.arguments[i].dtype;
    std::vector<std::byte>& bytes = data.arguments.emplace_back();
    bytes.resize(size_t(elements[i]) * size_of(dtype));
    for (int64_t j = 0; j < elements[i]; ++j) {
      const Scalar value = is_floating(dtype) ? Scalar(random.between(-1, 1))
                                              : Scalar(int64_t(random.below(100)) - 50);
      const uint64_t bits = value.bits_as(dtype);
      std::memcpy(&bytes[size_t(j) * size_of(dtype)], &bits, size_of(dtype));
    }
    result.owners.push_back(i);
  }
  for (const Size& size : kernel.sizes) data.sizes.push_back(size.value);
  return result;
}

/// out = max(product + bias, 0), saved = product, and the sums of out over chunks of rows.
inline Kernel bias_relu_kernel(int64_t rows, int64_t columns, int64_t depth, int64_t chunk_rows) {
  ContractionBuilder builder(f32, {{}, {rows}, {columns}, {depth}});
  for (Use use : {Use::read, Use::read, Use::read, Use::write, Use::write, Use::write})
    builder.argument(f32, use);
  const uint32_t a = builder.access(0, {depth, 0, 1}), b = builder.access(1, {0, 1, columns});
  const uint32_t bias = builder.access(2, {0, 1, 0}), out = builder.access(3, {columns, 1, 0});
  const uint32_t saved = builder.access(4, {columns, 1, 0});
  const uint32_t totals = builder.access(5, {0, 1, 0}, 0, columns);
  builder.contract(a, b);
  builder.begin_sweep();
  const ValueId product = builder.emit(Opcode::product, f32);
  const ValueId sum =
      builder.emit(Opcode::add, f32, {product, builder.emit(Opcode::load, f32, {}, bias)});
  const ValueId zero = builder.emit(Opcode::constant, f32);
  const ValueId value = builder.emit(Opcode::max, f32, {sum, zero});
  builder.emit(Opcode::store, f32, {product}, saved);
  builder.emit(Opcode::store, f32, {value}, out);
  builder.kernel.accumulators.push_back({Reduce::sum, f32, value, true, totals});
  builder.end_sweep();
  builder.kernel.rows_per_chunk = builder.size(chunk_rows);
  return builder.kernel;
}

/// a = x / 4 - 1 of bytes x, b = w where a mask is positive, both computed while they are read.
inline Kernel programs_kernel(int64_t m, int64_t n, int64_t k) {
  ContractionBuilder builder(f32, {{}, {m}, {n}, {k}});
  for (DType dtype : {u8, f32, f32}) builder.argument(dtype, Use::read);
  builder.argument(f32, Use::write);
  const uint32_t x = builder.access(0, {k, 0, 1}), w = builder.access(1, {0, 1, n}),
                 mask = builder.access(2, {0, 1, n}), out = builder.access(3, {n, 1, 0});
  auto number = [&](double value) {
    return builder.emit(Opcode::constant, f32, {}, 0, Scalar(value).bits_as(f32));
  };
  Contraction contraction{f32};
  contraction.a_begin = builder.here();
  const ValueId image = builder.emit(Opcode::cast, f32, {builder.emit(Opcode::load, u8, {}, x)});
  const ValueId scaled = builder.emit(Opcode::div, f32, {image, number(4)});
  contraction.a = builder.emit(Opcode::sub, f32, {scaled, number(1)});
  contraction.a_end = contraction.b_begin = builder.here();
  const ValueId zero = number(0);
  const ValueId positive =
      builder.emit(Opcode::lt, boolean, {zero, builder.emit(Opcode::load, f32, {}, mask)});
  const ValueId weight = builder.emit(Opcode::load, f32, {}, w);
  contraction.b = builder.emit(Opcode::select, f32, {positive, weight, zero});
  contraction.b_end = builder.here();
  builder.kernel.contraction = contraction;
  builder.store_product(out);
  return builder.kernel;
}

/// Several axes of each role, bf16 times f16, scaled, stored as bf16.
inline Kernel many_axes_kernel() {
  const int64_t batch = 2, m1 = 5, m2 = 9, n1 = 3, n2 = 21, k1 = 4, k2 = 15;
  ContractionBuilder builder(f32, {{batch}, {m1, m2}, {n1, n2}, {k1, k2}});
  builder.argument(bf16, Use::read);
  builder.argument(f16, Use::read);
  builder.argument(bf16, Use::write);
  builder.argument(f32, Use::read);
  const int64_t k = k1 * k2, m = m1 * m2, n = n1 * n2;
  const uint32_t a = builder.access(0, {m * k, k, m1 * k, 0, 0, k2, 1});
  const uint32_t b = builder.access(1, {0, 0, 0, n2 * k, k, 1, k1});
  const uint32_t out = builder.access(2, {m * n, m2 * n2, n2, m * n2, 1, 0, 0});
  const uint32_t scale = builder.access(3, {0, m2, 1, 0, 0, 0, 0});
  builder.contract(a, b);
  builder.begin_sweep();
  const ValueId product = builder.emit(Opcode::product, f32);
  const ValueId factor = builder.emit(Opcode::load, f32, {}, scale);
  builder.emit(Opcode::store, f32, {builder.emit(Opcode::mul, f32, {product, factor})}, out);
  builder.end_sweep();
  return builder.kernel;
}

/// out[n, y, x, o] = sum over ky, kx, c of image[n, y + ky, x + kx, c] weight[o, ky, kx, c].
inline Kernel convolution_kernel(int64_t images, int64_t size, int64_t channels, int64_t outputs,
                                 DType dtype = f32) {
  const int64_t window = 3, out_size = size - window + 1;
  ContractionBuilder builder(
      dtype, {{}, {images, out_size, out_size}, {outputs}, {window, window, channels}});
  for (Use use : {Use::read, Use::read, Use::write}) builder.argument(dtype, use);
  const int64_t line = size * channels, taps = window * window * channels;
  const uint32_t image = builder.access(0, {size * line, line, channels, 0, line, channels, 1});
  const uint32_t weight = builder.access(1, {0, 0, 0, taps, window * channels, channels, 1});
  const uint32_t out =
      builder.access(2, {out_size * out_size * outputs, out_size * outputs, outputs, 1, 0, 0, 0});
  builder.contract(image, weight);
  builder.store_product(out);
  return builder.kernel;
}

class ContractionCases {
 public:
  /// `large`: with shapes that only code that is never run should take.
  static std::vector<ContractionCase> make(bool large) {
    ContractionCases cases;
    cases.add_products();
    cases.add_others();
    if (large) cases.add_large();
    return std::move(cases.cases_);
  }
  static std::vector<ContractionCase> make_large() {
    ContractionCases cases;
    cases.add_large();
    return std::move(cases.cases_);
  }

 private:
  void add(const std::string& name, const Kernel& kernel, const std::vector<int64_t>& elements,
           int64_t depth, int64_t summed = 1, bool fixed_too = true) {
    const bool exact = !is_floating(kernel.contraction->dtype);
    if (fixed_too) cases_.push_back({name, with_data(kernel, elements), depth, summed, exact});
    cases_.push_back({name + ", sizes as arguments",
                      with_data(with_sizes_as_arguments(kernel), elements), depth, summed, exact});
  }

  void add_product(DType memory, int64_t batch, int64_t m, int64_t n, int64_t k, int transposed,
                   MatmulPrecision precision = MatmulPrecision::highest, bool fixed_too = true) {
    Kernel kernel =
        matmul_kernel(compute_dtype(memory), batch, m, n, k, transposed & 1, transposed & 2);
    for (Argument& argument : kernel.arguments) argument.dtype = memory;
    kernel.contraction->precision = precision;
    add(fmt::format("{} {} x ({} x {} x {}) {} {}", name_of(memory), batch, m, k, n, transposed,
                    name_of(precision)),
        kernel, {batch * m * k, batch * k * n, batch * m * n}, k, 1, fixed_too);
  }

  void add_products() {
    for (int transposed = 0; transposed < 4; ++transposed) {
      for (DType dtype : {f32, f64, bf16, f16, i32, u8, i64, i16}) {
        add_product(dtype, 1, 70, 33, 100, transposed);
        add_product(dtype, 2, 64, 72, 40, transposed);
      }
      add_product(f32, 1, 65, 130, 260, transposed, MatmulPrecision::high);
      add_product(f32, 1, 128, 64, 96, transposed, MatmulPrecision::medium);
    }
    for (auto [m, n, k] : {std::tuple{0, 5, 3}, {5, 0, 3}, {5, 7, 0}, {1, 1, 1}, {3, 1, 700}})
      add_product(f32, 2, m, n, k, 0);
    add_product(f32, 0, 3, 4, 5, 0);
  }

  void add_others() {
    for (int64_t rows : {0, 1, 9, 10, 11, 64, 137})
      add_bias_relu(rows, 70, rows % 2 ? 20 : 150, 10);
    add_bias_relu(256, 64, 100, 128);
    add_bias_relu(128, 96, 784, 128);
    add("operand programs", programs_kernel(37, 75, 130), {37 * 130, 130 * 75, 130 * 75, 37 * 75},
        130);
    add("many axes", many_axes_kernel(), {2 * 45 * 60, 60 * 63, 2 * 45 * 63, 45}, 60);
    add("convolution", convolution_kernel(2, 12, 5, 20),
        {2 * 12 * 12 * 5, 20 * 45, 2 * 10 * 10 * 20}, 45);
  }

  void add_large() {
    const int64_t shapes[][3] = {
        {512, 512, 512},  {1024, 1024, 1024}, {64, 784, 512},  {256, 512, 10},   {4096, 256, 1024},
        {33, 77, 130},    {128, 784, 512},    {128, 512, 256}, {128, 256, 10},   {784, 128, 512},
        {512, 128, 256},  {256, 128, 10},     {1, 4096, 1000}, {2048, 128, 1},   {130, 20000, 70},
        {1025, 513, 511}, {2000, 100, 3000},  {640, 8, 640},   {2048, 1024, 512}};
    int number = 0;
    for (auto [m, k, n] : shapes) {
      add_product(f32, 1, m, n, k, number % 4, MatmulPrecision::highest, number % 5 == 0);
      add_product(f32, 1, m, n, k, (number + 1) % 4, MatmulPrecision::high, number % 5 == 1);
      add_product(bf16, 1, m, n, k, (number + 2) % 4, MatmulPrecision::highest, number % 5 == 2);
      if (number % 4 == 0) add_product(f64, 1, m, n, k, 0, MatmulPrecision::highest, false);
      ++number;
    }
    add_product(f16, 24, 256, 256, 64, 2);
    add_bias_relu(8192, 512, 256, 128);
    add_bias_relu(128, 512, 784, 128);
    add("convolution", convolution_kernel(16, 34, 32, 64),
        {16 * 34 * 34 * 32, 64 * 288, 16 * 32 * 32 * 64}, 288);
  }

  void add_bias_relu(int64_t rows, int64_t columns, int64_t depth, int64_t chunk) {
    const int64_t chunks = std::max<int64_t>(1, (rows + chunk - 1) / chunk);
    add(fmt::format("bias and relu, {} x {} x {} by {}", rows, depth, columns, chunk),
        bias_relu_kernel(rows, columns, depth, chunk),
        {rows * depth, depth * columns, columns, rows * columns, rows * columns, chunks * columns},
        depth, chunk);
  }

  std::vector<ContractionCase> cases_;
};

}  // namespace encore::jit
