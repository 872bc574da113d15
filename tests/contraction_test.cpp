// Do blocked contractions give the interpreter's bits, whatever the layout, the tile, the ISA and
// the number of threads?
#include <encore/core/error.h>
#include <encore/jit/cpu/contraction.h>
#include <encore/jit/cpu/contraction_blocks.h>
#include <encore/jit/cpu/cpu_backend.h>
#include <encore/jit/reference/execute.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>

#include "contraction_cases.h"

namespace encore::jit {
namespace {

std::vector<Isa> isas() {
  return host_isa() == Isa::avx512 ? std::vector{Isa::avx2, Isa::avx512} : std::vector{Isa::avx2};
}

/// Two copies of a kernel's arguments: one for the interpreter, one for the blocked path.
class Launch {
 public:
  /// `elements` gives the length of each argument.
  Launch(const Kernel& kernel, const std::vector<int64_t>& elements, uint32_t seed)
      : kernel_(kernel) {
    verify_kernel(kernel);
    std::mt19937 random(seed);
    std::uniform_real_distribution<double> values(-1, 1);
    for (size_t i = 0; i < elements.size(); ++i) {
      const DType dtype = kernel.arguments[i].dtype;
      std::vector<std::byte> bytes(size_t(elements[i]) * size_of(dtype) + 1);
      for (int64_t j = 0; j < elements[i]; ++j) {
        const uint64_t bits = Scalar(values(random)).bits_as(dtype);
        std::memcpy(&bytes[size_t(j) * size_of(dtype)], &bits, size_of(dtype));
      }
      expected_.push_back(bytes);
      actual_.push_back(std::move(bytes));
    }
    for (const Size& size : kernel.sizes) sizes_.push_back(size.value);
    for (auto& bytes : expected_) expected_pointers_.push_back(bytes.data());
    for (auto& bytes : actual_) actual_pointers_.push_back(bytes.data());
    Program(kernel).run({expected_pointers_.data(), sizes_.data(), nullptr});
  }

  Segment segment() { return {actual_pointers_.data(), sizes_.data(), nullptr}; }

  /// Runs on the blocked path and compares all arguments, those that are only read included.
  void expect_same(Isa isa, const ContractionCode& code = {}) {
    const auto before = actual_;
    LatestPlan latest;
    run_contraction(kernel_, code, isa, segment(), latest);
    expect_equal(fmt::format("isa {}", int(isa)));
    restore(before);
  }

  /// The same with what LLVM compiles for the kernel's ends.
  void expect_same_compiled() {
    for (Isa isa : isas()) {
      const auto before = actual_;
      const std::unique_ptr<Backend> backend = make_cpu_backend(isa);
      const Kernel* kernel = &kernel_;
      const Binary binary = backend->compile({&kernel, 1})[0];
      const Segment launched = segment();
      backend->load(kernel_, binary)->launch({&launched, 1});
      expect_equal(fmt::format("compiled, isa {}", int(isa)));
      restore(before);
    }
  }

  void expect_equal(const std::string& label) const {
    for (size_t i = 0; i < actual_.size(); ++i) {
      if (actual_[i] == expected_[i]) continue;
      const auto first = std::mismatch(actual_[i].begin(), actual_[i].end(), expected_[i].begin());
      ADD_FAILURE() << label << ": argument " << i << " differs first at element "
                    << (first.first - actual_[i].begin()) / size_of(kernel_.arguments[i].dtype);
    }
  }

  /// Spoils what was written.
  void forget() {
    for (size_t i = 0; i < actual_.size(); ++i)
      if (kernel_.arguments[i].use == Use::write)
        std::fill(actual_[i].begin(), actual_[i].end() - 1, std::byte{0x5a});
  }

  /// Buffers keep their addresses.
  void restore(const std::vector<std::vector<std::byte>>& before) {
    for (size_t i = 0; i < before.size(); ++i)
      std::copy(before[i].begin(), before[i].end(), actual_[i].begin());
  }

  std::span<const std::byte> actual(size_t argument) const { return actual_[argument]; }

 private:
  const Kernel kernel_;
  std::vector<std::vector<std::byte>> expected_, actual_;
  std::vector<void*> expected_pointers_, actual_pointers_;
  std::vector<int64_t> sizes_;
};

void expect_matmul(DType dtype, int64_t batch, int64_t m, int64_t n, int64_t k, bool a_transposed,
                   bool b_transposed) {
  SCOPED_TRACE(fmt::format("{} {} x ({} x {} x {}) {}{}", name_of(dtype), batch, m, k, n,
                           a_transposed ? 'T' : 'N', b_transposed ? 'T' : 'N'));
  const Kernel kernel = matmul_kernel(dtype, batch, m, n, k, a_transposed, b_transposed);
  ASSERT_TRUE(contraction_needs(kernel).blocked);
  Launch launch(kernel, {batch * m * k, batch * k * n, batch * m * n}, uint32_t(m * n + k));
  for (Isa isa : isas()) launch.expect_same(isa);
}

TEST(Contraction, OddSizesAndAllTransposes) {
  std::mt19937 random(7);
  for (int i = 0; i < 160; ++i) {
    auto size = [&] { return int64_t(1 + random() % (i % 4 ? 48 : 130)); };
    const int64_t m = size(), n = size(), k = size();
    expect_matmul(i % 3 ? f32 : f64, i % 5 ? 1 : 3, m, n, k, i & 1, i & 2);
  }
}

TEST(Contraction, EveryTailOfRowsAndColumns) {
  for (int64_t m = 1; m <= 33; m += 2) expect_matmul(f32, 1, m, 70 - m, 5, false, false);
  for (int64_t n = 1; n <= 66; ++n) expect_matmul(n % 2 ? f32 : f64, 1, 7, n, 9, n & 4, n & 8);
}

TEST(Contraction, DepthIsBlocked) {
  for (bool transposed : {false, true}) {
    expect_matmul(f32, 1, 13, 21, 2500, transposed, transposed);
    expect_matmul(f64, 1, 9, 17, 1300, transposed, !transposed);
    expect_matmul(f32, 1, 1, 40, 1100, false, transposed);
    expect_matmul(f32, 1, 40, 1, 1100, transposed, false);
  }
}

TEST(Contraction, RowsAndColumnsAreBlocked) {
  expect_matmul(f32, 1, 500, 40, 260, false, false);
  expect_matmul(f32, 1, 500, 40, 260, true, true);
  expect_matmul(f32, 1, 24, 1100, 260, false, true);
}

TEST(Contraction, RowsAtPowersOfTwo) {
  expect_matmul(f32, 1, 40, 70, 1024, false, false);
  expect_matmul(f32, 1, 64, 32, 512, false, true);
  expect_matmul(f64, 1, 33, 24, 512, false, false);
}

TEST(Contraction, NothingToDo) {
  for (auto [m, n, k] : {std::tuple{0, 5, 3}, {5, 0, 3}, {5, 7, 0}, {1, 1, 0}, {0, 0, 0}})
    expect_matmul(f32, 2, m, n, k, false, false);
  expect_matmul(f32, 0, 3, 4, 5, false, false);
}

// out[b, h, i, j] = sum over d of q[b, i, h, d] k[b, j, h, d], as attention asks for it.
TEST(Contraction, PermutedBatch) {
  const int64_t b = 2, h = 3, t = 19, d = 24;
  ContractionBuilder builder(f32, {{b, h}, {t}, {t}, {d}});
  for (Use use : {Use::read, Use::read, Use::write}) builder.argument(f32, use);
  const uint32_t q = builder.access(0, {t * h * d, d, h * d, 0, 1});
  const uint32_t k = builder.access(1, {t * h * d, d, 0, h * d, 1});
  const uint32_t out = builder.access(2, {h * t * t, t * t, t, 1, 0});
  builder.contract(q, k);
  builder.store_product(out);
  Launch launch(builder.kernel, {b * t * h * d, b * t * h * d, b * h * t * t}, 1);
  for (Isa isa : isas()) launch.expect_same(isa);
}

TEST(Contraction, BroadcastFlippedAndPaddedOperands) {
  const int64_t m = 45, n = 50, k = 31, pitch = 1024;
  ContractionBuilder builder(f32, {{2}, {m}, {n}, {k}});
  for (Use use : {Use::read, Use::read, Use::write}) builder.argument(f32, use);
  const uint32_t a = builder.access(0, {0, pitch, 0, -1}, k - 1);
  const uint32_t b = builder.access(1, {0, 0, 2, 2 * n});
  const uint32_t out = builder.access(2, {1, 2 * n, 2, 0});
  builder.contract(a, b);
  builder.store_product(out);
  Launch launch(builder.kernel, {m * pitch, 2 * k * n, 2 * m * n}, 2);
  for (Isa isa : isas()) launch.expect_same(isa);
}

TEST(Contraction, ConvolutionReadsWindowsInPlace) {
  const int64_t images = 2, size = 12, channels = 5, outputs = 20, out_size = size - 2;
  for (DType dtype : {f32, f64}) {
    Launch launch(convolution_kernel(images, size, channels, outputs, dtype),
                  {images * size * size * channels, outputs * 9 * channels,
                   images * out_size * out_size * outputs},
                  3);
    for (Isa isa : isas()) launch.expect_same(isa);
  }
}

// Channels-first: rows and columns of the output do not follow each other in memory.
TEST(Contraction, ScatteredStore) {
  const int64_t m1 = 6, m2 = 11, n1 = 5, n2 = 9, k = 17;
  ContractionBuilder builder(f32, {{}, {m1, m2}, {n1, n2}, {k}});
  for (Use use : {Use::read, Use::read, Use::write}) builder.argument(f32, use);
  const uint32_t a = builder.access(0, {k, m1 * k, 0, 0, 1});
  const uint32_t b = builder.access(1, {0, 0, 1, n1, n1 * n2});
  const uint32_t out = builder.access(2, {n1 * m2 * n2, n2, m2 * n2, 1, 0});
  builder.contract(a, b);
  builder.store_product(out);
  Launch launch(builder.kernel, {m1 * m2 * k, k * n1 * n2, m1 * m2 * n1 * n2}, 4);
  for (Isa isa : isas()) launch.expect_same(isa);
}

Product plain_product(Isa isa, int64_t m, int64_t n, int64_t k, const Segment& segment) {
  Product product;
  product.isa = isa;
  product.rows = m, product.columns = n, product.depth = k;
  auto* const* arguments = reinterpret_cast<std::byte* const*>(segment.arguments);
  product.a.base = arguments[0];
  product.a.lines.append(m, k * 4), product.a.depth.append(k, 4);
  product.b.base = arguments[1];
  product.b.lines.append(n, 4), product.b.depth.append(k, n * 4);
  product.sink.base = arguments[2];
  product.sink.rows.append(m, n * 4), product.sink.columns.append(n, 4);
  return product;
}

TEST(Contraction, AnyNumberOfThreadsInAnyOrder) {
  const int64_t m = 90, n = 150, k = 40;
  const Kernel kernel = matmul_kernel(f32, 1, m, n, k);
  for (Isa isa : isas()) {
    for (int64_t threads = 1; threads <= 16; ++threads) {
      Launch launch(kernel, {m * k, k * n, m * n}, 5);
      const Product product = plain_product(isa, m, n, k, launch.segment());
      const Plan plan = plan_product(product, threads);
      EXPECT_LE(unit_count(product, plan), threads);
      EXPECT_GT(2 * unit_count(product, plan), threads);
      for (int64_t unit = unit_count(product, plan); unit-- > 0;) run_unit(product, plan, unit);
      launch.expect_equal(fmt::format("{} threads", threads));
    }
  }
}

/// |error| <= K eps sum |a| |b|, against a sum in double.
TEST(Contraction, ErrorIsBounded) {
  const int64_t m = 65, n = 49, k = 700;
  const Kernel kernel = matmul_kernel(f32, 1, m, n, k);
  Launch launch(kernel, {m * k, k * n, m * n}, 6);
  LatestPlan latest;
  run_contraction(kernel, {}, host_isa(), launch.segment(), latest);
  auto* a = reinterpret_cast<const float*>(launch.actual(0).data());
  auto* b = reinterpret_cast<const float*>(launch.actual(1).data());
  auto* c = reinterpret_cast<const float*>(launch.actual(2).data());
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      double sum = 0, magnitude = 0;
      for (int64_t p = 0; p < k; ++p) {
        const double term = double(a[i * k + p]) * double(b[p * n + j]);
        sum += term, magnitude += std::abs(term);
      }
      ASSERT_LE(std::abs(c[i * n + j] - sum), double(k) * 0x1p-24 * magnitude) << i << ", " << j;
    }
  }
}

// An epilogue written by hand where LLVM's would be:
// out = max(product + bias, 0), saved = product, and the sums of out over chunks of rows.
struct Epilogue {
  static constexpr int64_t columns = 70, rows_per_chunk = 10;

  static void finish(void* const* arguments, const int64_t* sizes, const uint64_t*,
                     const Tile* tile) {
    const int64_t rows = sizes[0];
    const auto* product = static_cast<const float*>(tile->product);
    const auto* bias = static_cast<const float*>(arguments[2]);
    auto* out = static_cast<float*>(arguments[3]);
    auto* saved = static_cast<float*>(arguments[4]);
    auto* chunk_totals = static_cast<float*>(arguments[5]) + tile->row / rows_per_chunk * columns;
    auto total = [&](int64_t c) -> float& {
      return *reinterpret_cast<float*>(tile->totals + 4 * c);
    };
    for (int64_t c = 0; c < tile->columns; ++c) {
      const int64_t column = tile->column + c;
      if (tile->row % rows_per_chunk == 0) total(c) = 0;
      for (int64_t r = 0; r < tile->rows; ++r) {
        const int64_t at = (tile->row + r) * columns + column;
        const float value = product[r * tile->stride + c];
        const float sum = value + bias[column];
        saved[at] = value;
        out[at] = sum > 0 ? sum : 0;
        total(c) += out[at];
      }
      const int64_t end = tile->row + tile->rows;
      if (end == rows || end % rows_per_chunk == 0) chunk_totals[column] = total(c);
    }
  }

  static Kernel kernel(int64_t rows, int64_t depth) {
    ContractionBuilder builder(f32, {{}, {rows}, {columns}, {depth}});
    for (Use use : {Use::read, Use::read, Use::read, Use::write, Use::write, Use::write})
      builder.argument(f32, use);
    const uint32_t a = builder.access(0, {depth, 0, 1}), b = builder.access(1, {0, 1, columns});
    const uint32_t bias = builder.access(2, {0, 1, 0});
    const uint32_t out = builder.access(3, {columns, 1, 0}),
                   saved = builder.access(4, {columns, 1, 0});
    const uint32_t totals = builder.access(5, {0, 1, 0}, 0, columns);
    builder.contract(a, b);
    builder.begin_sweep();
    const ValueId product = builder.emit(Opcode::product, f32);
    const ValueId sum =
        builder.emit(Opcode::add, f32, {product, builder.emit(Opcode::load, f32, {}, bias)});
    const ValueId zero = builder.emit(Opcode::constant, f32);
    const ValueId positive = builder.emit(Opcode::lt, boolean, {zero, sum});
    const ValueId value = builder.emit(Opcode::select, f32, {positive, sum, zero});
    builder.emit(Opcode::store, f32, {product}, saved);
    builder.emit(Opcode::store, f32, {value}, out);
    builder.kernel.accumulators.push_back({Reduce::sum, f32, value, true, totals});
    builder.end_sweep();
    builder.kernel.rows_per_chunk = builder.size(rows_per_chunk);
    return builder.kernel;
  }
};

TEST(Contraction, FinisherSeesEachTileOnceAndChunksInOrder) {
  for (int64_t rows : {0, 1, 9, 10, 11, 64, 137}) {
    for (int64_t depth : {0, 20, 1500}) {
      SCOPED_TRACE(fmt::format("{} rows, depth {}", rows, depth));
      const Kernel kernel = Epilogue::kernel(rows, depth);
      const ContractionNeeds needs = contraction_needs(kernel);
      EXPECT_TRUE(needs.blocked && needs.finisher && !needs.a && !needs.b);
      const int64_t columns = Epilogue::columns, chunks = std::max<int64_t>(1, (rows + 9) / 10);
      Launch launch(kernel,
                    {rows * depth, depth * columns, columns, rows * columns, rows * columns,
                     chunks * columns},
                    8);
      ContractionCode code;
      code.finish = Epilogue::finish;
      for (Isa isa : isas()) launch.expect_same(isa, code);
      launch.expect_same_compiled();
    }
  }
}

Plan random_plan(const Product& product, std::mt19937& random) {
  auto up_to = [&](int64_t most) { return int64_t(1 + random() % uint64_t(most)); };
  Plan plan;
  plan.tile_vectors = up_to(3);
  plan.tile_rows = up_to(most_tile_rows(product.isa, int(plan.tile_vectors)));
  plan.depth_block = up_to(product.depth);
  plan.row_block = plan.tile_rows * up_to(3);
  plan.row_group = plan.row_block * up_to(3);
  plan.column_block = plan.tile_vectors * product.lanes() * up_to(2);
  plan.packs_a = random() % 2;
  plan.packs_b = random() % 2;
  plan.row_units = up_to(3);
  plan.column_units = up_to(3);
  return plan;
}

TEST(Contraction, AnyPlanGivesTheSameBits) {
  std::mt19937 random(11);
  const int64_t m = 57, n = Epilogue::columns, k = 23;
  const Kernel plain = matmul_kernel(f32, 1, m, n, k), finished = Epilogue::kernel(m, k);
  Launch direct(plain, {m * k, k * n, m * n}, 12);
  Launch through(finished, {m * k, k * n, n, m * n, m * n, 6 * n}, 13);
  for (int i = 0; i < 200; ++i) {
    const bool finishes = i % 2;
    Launch& launch = finishes ? through : direct;
    const Segment segment = launch.segment();
    for (Isa isa : isas()) {
      Product product = plain_product(isa, m, n, k, segment);
      if (finishes) {
        product.sink = {};
        product.sink.finish = Epilogue::finish;
        product.sink.segment = &segment;
        product.sink.column_accumulators = 1;
        product.sink.rows_per_chunk = Epilogue::rows_per_chunk;
      }
      const Plan plan = random_plan(product, random);
      for (int64_t unit = unit_count(product, plan); unit-- > 0;) run_unit(product, plan, unit);
      launch.expect_equal(fmt::format("plan {}", i));
      launch.forget();
    }
  }
}

// Operands that are programs: a = x * 2 along rows, b = u8 weights cast, evaluated in either
// direction.
template <bool along_depth>
void evaluate_doubled(void* const* arguments, const int64_t* sizes, const uint64_t*,
                      const OperandBlock* block) {
  const auto* x = static_cast<const float*>(arguments[0]);
  auto* to = static_cast<float*>(block->to);
  for (int64_t i = 0; i < block->count; ++i)
    for (int64_t k = 0; k < block->depths; ++k)
      to[along_depth ? i * block->stride + k : k * block->stride + i] =
          x[(block->position + i) * sizes[2] + block->depth + k] * 2;
}

template <bool along_depth>
void evaluate_weights(void* const* arguments, const int64_t* sizes, const uint64_t*,
                      const OperandBlock* block) {
  const auto* w = static_cast<const uint8_t*>(arguments[1]);
  auto* to = static_cast<float*>(block->to);
  for (int64_t i = 0; i < block->count; ++i)
    for (int64_t k = 0; k < block->depths; ++k)
      to[along_depth ? i * block->stride + k : k * block->stride + i] =
          float(w[(block->depth + k) * sizes[1] + block->position + i]);
}

Kernel programs_kernel(int64_t m, int64_t n, int64_t k) {
  ContractionBuilder builder(f32, {{}, {m}, {n}, {k}});
  builder.argument(f32, Use::read);
  builder.argument(u8, Use::read);
  builder.argument(f32, Use::write);
  const uint32_t x = builder.access(0, {k, 0, 1}), w = builder.access(1, {0, 1, n});
  const uint32_t out = builder.access(2, {n, 1, 0});
  Contraction contraction{f32};
  contraction.a_begin = builder.here();
  const ValueId load = builder.emit(Opcode::load, f32, {}, x);
  const ValueId two = builder.emit(Opcode::constant, f32, {}, 0, Scalar(2).bits_as(f32));
  contraction.a = builder.emit(Opcode::mul, f32, {load, two});
  contraction.a_end = contraction.b_begin = builder.here();
  contraction.b = builder.emit(Opcode::cast, f32, {builder.emit(Opcode::load, u8, {}, w)});
  contraction.b_end = builder.here();
  builder.kernel.contraction = contraction;
  builder.store_product(out);
  return builder.kernel;
}

TEST(Contraction, OperandProgramsArePacked) {
  for (auto [m, n, k] : {std::tuple{1, 1, 1}, {37, 75, 130}, {450, 20, 300}, {20, 130, 1200}}) {
    SCOPED_TRACE(fmt::format("{} x {} x {}", m, k, n));
    const Kernel kernel = programs_kernel(m, n, k);
    const ContractionNeeds needs = contraction_needs(kernel);
    EXPECT_TRUE(needs.blocked && !needs.finisher && needs.a && needs.b);
    Launch launch(kernel, {int64_t(m) * k, int64_t(k) * n, int64_t(m) * n}, 9);
    for (Isa isa : isas()) {
      ContractionCode code;
      code.a = {evaluate_doubled<true>, true};
      code.b = {evaluate_weights<true>, true};
      launch.expect_same(isa, code);
      code.a = {evaluate_doubled<false>, false};
      code.b = {evaluate_weights<false>, false};
      launch.expect_same(isa, code);
    }
    launch.expect_same_compiled();
  }
}

// bf16 in and out with several axes of rows and columns: everything goes through compiled ends.
TEST(Contraction, NarrowDtypesAndManyAxes) {
  const Kernel kernel = many_axes_kernel();
  const ContractionNeeds needs = contraction_needs(kernel);
  EXPECT_TRUE(needs.blocked && needs.finisher && needs.a && needs.b);
  Launch(kernel, {2 * 45 * 60, 60 * 63, 2 * 45 * 63, 45}, 10).expect_same_compiled();
}

TEST(Contraction, OtherKernelsAreLeftToTheCompiler) {
  EXPECT_FALSE(contraction_needs(matmul_kernel(i32, 1, 4, 4, 4)).blocked);
  Kernel reduced = matmul_kernel(f32, 1, 4, 4, 4);
  reduced.accumulators.push_back({Reduce::sum, f32, 2});
  EXPECT_FALSE(contraction_needs(reduced).blocked);
  Kernel adding = matmul_kernel(f32, 1, 4, 4, 4);
  adding.instructions.back().op = Opcode::store_add;
  EXPECT_FALSE(contraction_needs(adding).blocked);
}

TEST(MicroKernel, Avx2CodeHoldsNoWideRegister) {
  for (int vectors = 1; most_tile_rows(Isa::avx2, vectors) >= 1; ++vectors) {
    for (DType dtype : {f32, f64}) {
      for (AOrder order : {AOrder::depth_contiguous, AOrder::row_contiguous}) {
        for (int flags = 0; flags < 4; ++flags) {
          MicroTile tile{Isa::avx2,        dtype, uint8_t(most_tile_rows(Isa::avx2, vectors)),
                         uint8_t(vectors), order, bool(flags & 1),
                         bool(flags & 2)};
          const std::string assembly = assembly_of(tile);
          EXPECT_NE(assembly.find("ymm"), std::string::npos);
          for (const char* wide : {"zmm", "ymm16", "k1", "k2"})
            EXPECT_EQ(assembly.find(wide), std::string::npos) << wide << " in\n" << assembly;
        }
      }
    }
  }
}

TEST(MicroKernel, OneKernelPerTile) {
  const MicroTile tile{host_isa(), f32, 6, 2};
  EXPECT_EQ(micro_kernel(tile), micro_kernel(tile));
  MicroTile masked = tile;
  masked.masked = true;
  EXPECT_NE(micro_kernel(tile), micro_kernel(masked));
}

}  // namespace
}  // namespace encore::jit
