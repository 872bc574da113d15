// What the compiled CPU backend promises beyond the interpreter's bits: every instruction at its
// edges, the ISA it was asked for, clean errors, and the same bits however a launch is split.
#include <encore/core/error.h>
#include <encore/jit/cpu/cpu_backend.h>
#include <encore/jit/reference/evaluate.h>
#include <encore/jit/reference/execute.h>
#include <encore/jit/seal.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <thread>

#include "kernel_maker.h"
#include "random_data.h"

namespace encore::jit {
namespace {

using Bytes = std::vector<std::byte>;

class Llvm : public testing::TestWithParam<Isa> {
 protected:
  void SetUp() override {
    if (GetParam() > host_isa()) GTEST_SKIP() << "not on this machine";
    backend = make_cpu_backend(GetParam());
  }

  std::shared_ptr<const Executable> build(const Kernel& kernel) {
    verify_kernel(kernel);
    const Kernel* pointer = &kernel;
    return backend->load(kernel, backend->compile({&pointer, 1})[0]);
  }

  /// Runs one segment on `memory` in place.
  void run(const Kernel& kernel, std::vector<Bytes>& memory) {
    launch(*build(kernel), kernel, memory);
  }

  static void launch(const Executable& executable, const Kernel& kernel,
                     std::vector<Bytes>& memory) {
    std::vector<void*> arguments;
    for (Bytes& bytes : memory) arguments.push_back(bytes.data());
    std::vector<int64_t> sizes;
    for (const Size& size : kernel.sizes) sizes.push_back(size.value);
    Segment segment{arguments.data(), sizes.data(), nullptr};
    executable.launch({&segment, 1});
  }

  std::unique_ptr<Backend> backend;
};

uint64_t element(const Bytes& bytes, DType dtype, size_t index) {
  uint64_t bits = 0;
  std::memcpy(&bits, bytes.data() + index * size_of(dtype), size_of(dtype));
  return bits;
}

bool is_nan(DType dtype, uint64_t bits) {
  if (!is_floating(dtype)) return false;
  float single;
  double wide;
  std::memcpy(&single, &bits, sizeof single);
  std::memcpy(&wide, &bits, sizeof wide);
  return dtype == DType::f32 ? std::isnan(single) : std::isnan(wide);
}

/// Inner points on which each operand takes its edge values in all combinations.
struct EdgeCase {
  Opcode op;
  DType result, operand;
  uint32_t aux = 0;

  DType dtype_of_operand(int i) const { return op == Opcode::select && i > 0 ? result : operand; }
};

std::vector<uint64_t> edge_operands(const EdgeCase& edge, int which) {
  DType dtype = edge.dtype_of_operand(which);
  std::vector<uint64_t> values = edge_values(dtype);
  if (edge.op == Opcode::scale2 && which == 1) {
    values.clear();
    for (int exponent : {0,     1,     -1,    23,    -23,   126,   127,  128,  -126, -127,
                         -149,  -150,  -151,  -277,  -278,  277,   278,  1022, 1023, 1024,
                         -1021, -1022, -1023, -1074, -1075, -2098, 2098, 2200, -2200})
      values.push_back(Scalar(exponent).bits_as(dtype));
  }
  return values;
}

class Edges {
 public:
  explicit Edges(const EdgeCase& edge) : edge_(edge), operands_(operand_count(edge.op)) {
    size_t points = 1;
    for (int i = 0; i < operands_; ++i) points *= (choices_[i] = edge_operands(edge, i)).size();
    while (points < 40) points *= 2;  // fills a vector and leaves a tail
    points_ = points + 3;
  }

  Kernel kernel() const {
    KernelMaker make;
    make.axis(Role::inner, make.fixed(int64_t(points_)));
    SizeId one = make.fixed(1);
    std::vector<uint32_t> accesses;
    for (int i = 0; i < operands_; ++i)
      accesses.push_back(make.access(make.argument(edge_.dtype_of_operand(i), Use::read), {one}));
    uint32_t out = make.access(make.argument(edge_.result, Use::write), {one});
    ValueId values[3] = {none, none, none};
    for (int i = 0; i < operands_; ++i)
      values[i] = make.load(edge_.dtype_of_operand(i), accesses[i]);
    ValueId result = make.emit(edge_.op, edge_.result, {}, edge_.aux);
    std::copy(values, values + 3, make.kernel.instructions[result].operands);
    make.store(result, out);
    make.stage(StageKind::sweep);
    make.kernel.name = fmt::format("{} {} of {}", name_of(edge_.op), name_of(edge_.result),
                                   name_of(edge_.operand));
    return make.kernel;
  }

  uint64_t operand(int which, size_t point) const {
    if (which >= operands_) return 0;
    for (int i = 0; i < which; ++i) point /= choices_[i].size();
    return choices_[which][point % choices_[which].size()];
  }

  std::vector<Bytes> memory() const {
    std::vector<Bytes> memory;
    for (int i = 0; i < operands_; ++i) {
      size_t width = size_of(edge_.dtype_of_operand(i));
      Bytes& bytes = memory.emplace_back(points_ * width);
      for (size_t point = 0; point < points_; ++point) {
        uint64_t bits = operand(i, point);
        std::memcpy(bytes.data() + point * width, &bits, width);
      }
    }
    memory.emplace_back(points_ * size_of(edge_.result));
    return memory;
  }

  void expect(const Bytes& found) const {
    for (size_t point = 0; point < points_; ++point) {
      uint64_t a = operand(0, point), b = operand(1, point), c = operand(2, point);
      uint64_t wanted = evaluate(edge_.op, edge_.result, edge_.operand, a, b, c, edge_.aux);
      uint64_t actual = element(found, edge_.result, point);
      if (is_nan(edge_.result, wanted) && is_nan(edge_.result, actual)) continue;
      ASSERT_EQ(actual, wanted) << fmt::format("point {}: {:#x} {:#x} {:#x}", point, a, b, c);
    }
  }

 private:
  EdgeCase edge_;
  int operands_;
  std::vector<uint64_t> choices_[3];
  size_t points_;
};

std::vector<EdgeCase> every_pure_instruction() {
  std::vector<DType> dtypes;
#define DTYPE(name, bytes, kind, type) \
  if (compute_dtype(DType::name) == DType::name) dtypes.push_back(DType::name);
  ENCORE_DTYPES(DTYPE)
#undef DTYPE
  std::vector<EdgeCase> cases;
#define INSTRUCTION(name, operands, meaning)                                           \
  for (DType result : dtypes)                                                          \
    for (DType operand : dtypes)                                                       \
      for (uint32_t aux : {uint32_t(DType::f16), uint32_t(DType::bf16)}) {             \
        if (Opcode::name != Opcode::quantize && aux != uint32_t(DType::f16)) continue; \
        if (evaluation_of(Opcode::name, result, operand, aux))                         \
          cases.push_back({Opcode::name, result, operand, aux});                       \
      }
  ENCORE_INSTRUCTIONS(INSTRUCTION)
#undef INSTRUCTION
  return cases;
}

TEST_P(Llvm, EveryInstructionAtItsEdges) {
  std::vector<EdgeCase> cases = every_pure_instruction();
  EXPECT_GT(cases.size(), 300u);
  for (const EdgeCase& edge : cases) {
    if (operand_count(edge.op) == 0) continue;
    Edges edges(edge);
    Kernel kernel = edges.kernel();
    SCOPED_TRACE(kernel.name);
    std::vector<Bytes> memory = edges.memory();
    run(kernel, memory);
    edges.expect(memory.back());
    if (HasFatalFailure()) return;
  }
}

/// out[i] = a[i] * b[i] + a[i], in two roundings.
Kernel multiply_add(int64_t elements, DType dtype = f32) {
  KernelMaker make;
  make.axis(Role::inner, make.fixed(elements));
  SizeId one = make.fixed(1);
  uint32_t a = make.access(make.argument(dtype, Use::read), {one});
  uint32_t b = make.access(make.argument(dtype, Use::read), {one});
  uint32_t out = make.access(make.argument(dtype, Use::write), {one});
  ValueId x = make.load(compute_dtype(dtype), a), y = make.load(compute_dtype(dtype), b);
  ValueId product = make.emit(Opcode::mul, compute_dtype(dtype), {x, y});
  make.store(make.emit(Opcode::add, compute_dtype(dtype), {product, x}), out);
  make.stage(StageKind::sweep);
  make.kernel.name = "multiply_add";
  return make.kernel;
}

std::string listing(Backend& backend, const Kernel& kernel, const std::string& kind) {
  for (const Listing& each : backend.listings(kernel))
    if (each.kind == kind) return each.text;
  return {};
}

TEST_P(Llvm, UsesTheRegistersOfItsIsaAndNeverContracts) {
  Kernel kernel = multiply_add(1000);
  std::string assembly = listing(*backend, kernel, "assembly");
  EXPECT_EQ(assembly.find("vfmadd"), std::string::npos);
  EXPECT_EQ(assembly.find("zmm") != std::string::npos, GetParam() == Isa::avx512);
  std::string llvm = listing(*backend, kernel, "llvm");
  EXPECT_NE(llvm.find(GetParam() == Isa::avx512 ? "<16 x float>" : "<8 x float>"),
            std::string::npos);
  EXPECT_EQ(llvm.find(" fast "), std::string::npos);
}

TEST_P(Llvm, LargeOutputsThatBypassTheCachesHoldTheSameBits) {
  constexpr int64_t elements = (64 << 20) / 4 + 37;
  Kernel kernel = multiply_add(elements);
  EXPECT_NE(listing(*backend, kernel, "assembly").find("vmovnt"), std::string::npos);
  Ref<Buffer> a = backend->allocate(elements * 4), b = backend->allocate(elements * 4);
  Ref<Buffer> out = backend->allocate(elements * 4 + 64);
  auto* x = static_cast<float*>(a->data());
  auto* y = static_cast<float*>(b->data());
  for (int64_t i = 0; i < elements; ++i) x[i] = float(i % 1013), y[i] = float(i % 97) * 0.25f;
  auto executable = build(kernel);
  for (int64_t shift : {0, 1}) {
    auto* z = static_cast<float*>(out->data()) + shift;
    void* arguments[] = {x, y, z};
    std::vector<int64_t> sizes;
    for (const Size& size : kernel.sizes) sizes.push_back(size.value);
    Segment segment{arguments, sizes.data(), nullptr};
    executable->launch({&segment, 1});
    int64_t wrong = 0;
    for (int64_t i = 0; i < elements; ++i) wrong += z[i] != x[i] * y[i] + x[i];
    EXPECT_EQ(wrong, 0) << "shifted by " << shift;
  }
}

/// out = x * x + (the row's sum of x * x), the squares handed from sweep to sweep through out.
Kernel squares_and_their_sum(int64_t rows, int64_t columns) {
  KernelMaker make;
  SizeId n = make.fixed(columns), one = make.fixed(1);
  make.axis(Role::row, make.fixed(rows));
  make.axis(Role::inner, n);
  uint32_t in = make.access(make.argument(f32, Use::read), {n, one});
  uint32_t out = make.access(make.argument(f32, Use::update), {n, one});
  ValueId x = make.load(f32, in);
  ValueId square = make.emit(Opcode::mul, f32, {x, x});
  make.store(square, out);
  uint32_t sum = make.accumulate(Reduce::sum, square);
  make.stage(StageKind::sweep);
  ValueId total = make.reduced(sum);
  make.stage(StageKind::row);
  make.store(make.emit(Opcode::add, f32, {make.load(f32, out), total}), out);
  make.stage(StageKind::sweep);
  return make.kernel;
}

TEST_P(Llvm, RowsThatSweepsHandOnAreWrittenOnce) {
  constexpr int64_t rows = 16411, columns = 1056;
  Kernel kernel = squares_and_their_sum(rows, columns);
  EXPECT_NE(listing(*backend, kernel, "assembly").find("vmovnt"), std::string::npos);
  Ref<Buffer> in = backend->allocate(rows * columns * 4);
  Ref<Buffer> out = backend->allocate(rows * columns * 4 + 64);
  auto* x = static_cast<float*>(in->data());
  for (int64_t i = 0; i < rows * columns; ++i) x[i] = float(i * 7 % 11 - 5);
  auto executable = build(kernel);
  for (int64_t shift : {0, 1}) {
    auto* z = static_cast<float*>(out->data()) + shift;
    void* arguments[] = {x, z};
    std::vector<int64_t> sizes;
    for (const Size& size : kernel.sizes) sizes.push_back(size.value);
    Segment segment{arguments, sizes.data(), nullptr};
    executable->launch({&segment, 1});
    int64_t wrong = 0;
    for (int64_t row = 0; row < rows; ++row) {
      const float *from = x + row * columns, *to = z + row * columns;
      float sum = 0;  // of small integers: exact in any order
      for (int64_t i = 0; i < columns; ++i) sum += from[i] * from[i];
      for (int64_t i = 0; i < columns; ++i) wrong += to[i] != from[i] * from[i] + sum;
    }
    EXPECT_EQ(wrong, 0) << "shifted by " << shift;
  }
}

/// Sums of every row of [rows, columns] and of every column, in chunks of rows.
Kernel sums(int64_t rows, int64_t columns, int64_t rows_per_chunk) {
  KernelMaker make;
  SizeId n = make.free(columns), one = make.fixed(1);
  make.axis(Role::row, make.free(rows));
  make.axis(Role::inner, n);
  make.kernel.rows_per_chunk = make.free(rows_per_chunk);
  uint32_t in = make.access(make.argument(f32, Use::read), {n, one});
  uint32_t by_row = make.access(make.argument(f32, Use::write), {one});
  uint32_t by_column = make.access(make.argument(f32, Use::write), {none, one});
  ValueId x = make.load(f32, in);
  uint32_t total = make.accumulate(Reduce::sum, x);
  make.accumulate_column(Reduce::sum, x, by_column, n);
  make.stage(StageKind::sweep);
  make.store(make.reduced(total), by_row);
  make.stage(StageKind::row);
  return make.kernel;
}

TEST_P(Llvm, OrdersOfAccumulationAreThoseOfTheKernelsContract) {
  constexpr int64_t rows = 301, columns = 1003, chunk = 64, chunks = 5;
  Kernel kernel = sums(rows, columns, chunk);
  std::vector<float> x(rows * columns);
  Random random(3);
  for (float& value : x) value = float(random.between(-1, 1));
  std::vector<Bytes> memory(3);
  memory[0].resize(x.size() * 4);
  std::memcpy(memory[0].data(), x.data(), memory[0].size());
  memory[1].resize(rows * 4);
  memory[2].resize(chunks * columns * 4);
  run(kernel, memory);
  for (int64_t row = 0; row < rows; ++row) {
    float lanes[32] = {};
    for (int64_t i = 0; i < columns; ++i) lanes[i % 32] += x[size_t(row * columns + i)];
    for (int half = 16; half > 0; half /= 2)
      for (int lane = 0; lane < half; ++lane) lanes[lane] += lanes[lane + half];
    ASSERT_EQ(element(memory[1], f32, size_t(row)), Scalar(lanes[0]).bits_as(f32)) << row;
  }
  for (int64_t part = 0; part < chunks; ++part)
    for (int64_t i = 0; i < columns; ++i) {
      float total = 0;
      for (int64_t row = part * chunk; row < std::min(rows, (part + 1) * chunk); ++row)
        total += x[size_t(row * columns + i)];
      ASSERT_EQ(element(memory[2], f32, size_t(part * columns + i)), Scalar(total).bits_as(f32));
    }
}

TEST_P(Llvm, OneLaunchRunsManySegmentsOfDifferentSizes) {
  KernelMaker make;
  SizeId n = make.free(2), one = make.fixed(1);
  make.axis(Role::inner, n);
  uint32_t in = make.access(make.argument(f32, Use::read), {one});
  uint32_t out = make.access(make.argument(f32, Use::write), {one});
  make.store(make.emit(Opcode::neg, f32, {make.load(f32, in)}), out);
  make.stage(StageKind::sweep);
  auto executable = build(make.kernel);
  std::vector<std::vector<float>> inputs, outputs;
  std::vector<std::vector<void*>> arguments;
  std::vector<std::vector<int64_t>> sizes;
  for (int64_t length : {5, 70000, 2, 129, 300000, 4096}) {
    inputs.emplace_back(length, float(length));
    outputs.emplace_back(length);
  }
  std::vector<Segment> segments;
  arguments.reserve(inputs.size()), sizes.reserve(inputs.size());
  for (size_t i = 0; i < inputs.size(); ++i) {
    arguments.push_back({inputs[i].data(), outputs[i].data()});
    sizes.push_back({int64_t(inputs[i].size()), 1});
    segments.push_back({arguments[i].data(), sizes[i].data(), nullptr});
  }
  executable->launch(segments);
  for (const std::vector<float>& output : outputs)
    EXPECT_EQ(output, std::vector<float>(output.size(), -float(output.size())));
}

TEST_P(Llvm, AnExecutableMayBeLaunchedFromManyThreads) {
  constexpr size_t elements = 100000;
  Kernel kernel = multiply_add(elements);
  auto executable = build(kernel);
  std::vector<std::thread> threads;
  std::vector<int> wrong(4);
  for (int number = 0; number < 4; ++number)
    threads.emplace_back([&, number] {
      std::vector<float> x(elements, float(number)), y(elements, 2), z(elements);
      void* arguments[] = {x.data(), y.data(), z.data()};
      int64_t sizes[] = {elements, 1};
      Segment segment{arguments, sizes, nullptr};
      for (int round = 0; round < 20; ++round) {
        std::fill(z.begin(), z.end(), -1.0f);
        executable->launch({&segment, 1});
        wrong[size_t(number)] += z != std::vector<float>(elements, 3.0f * float(number));
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(4, 0));
}

TEST_P(Llvm, CompilesSeveralKernelsAtOnceAndTheSameBytesEachTime) {
  std::vector<Kernel> kernels;
  for (int64_t elements : {10, 100, 1000, 10000}) kernels.push_back(multiply_add(elements));
  std::vector<const Kernel*> pointers;
  for (const Kernel& kernel : kernels) pointers.push_back(&kernel);
  std::vector<Binary> together = backend->compile(pointers);
  ASSERT_EQ(together.size(), kernels.size());
  for (size_t i = 0; i < kernels.size(); ++i)
    EXPECT_EQ(together[i].bytes, backend->compile({&pointers[i], 1})[0].bytes);
}

TEST_P(Llvm, RefusesDamagedBinaries) {
  Kernel kernel = multiply_add(100);
  const Kernel* pointer = &kernel;
  Binary binary = backend->compile({&pointer, 1})[0];
  Binary truncated{{binary.bytes.begin(), binary.bytes.begin() + 100}};
  EXPECT_THROW(backend->load(kernel, truncated), Error);
  EXPECT_THROW(backend->load(kernel, Binary{{std::byte(0)}}), Error);
  EXPECT_THROW(backend->load(kernel, Binary{}), Error);
  for (std::byte& byte : binary.bytes) {
    byte ^= std::byte(1);
    EXPECT_THROW(backend->load(kernel, binary), Error) << &byte - binary.bytes.data();
    byte ^= std::byte(1);
  }
  auto executable = backend->load(kernel, binary);
  // Whole pages, and what the linker keeps beside them.
  size_t object = unseal(kernel, backend->fingerprint(), binary).size();
  EXPECT_EQ(executable->bytes(), (object + 4095) / 4096 * 4096 + (12 << 10));
}

TEST_P(Llvm, RefusesBinariesOfOtherKernelsAndOtherCompilers) {
  Kernel kernel = multiply_add(100), other = multiply_add(101);
  const Kernel* pointer = &kernel;
  Binary binary = backend->compile({&pointer, 1})[0];
  EXPECT_THROW(backend->load(other, binary), Error);
  std::span<const std::byte> code = unseal(kernel, backend->fingerprint(), binary);
  EXPECT_THROW(backend->load(kernel, seal(kernel, "another", code)), Error);
  EXPECT_NO_THROW(backend->load(kernel, seal(kernel, backend->fingerprint(), code)));
  // What was sealed by mistake is no object either.
  EXPECT_THROW(backend->load(kernel, seal(kernel, backend->fingerprint(), code.first(100))), Error);
}

TEST_P(Llvm, CodeIsFreedWithItsExecutable) {
  Kernel kernel = multiply_add(100);
  const Kernel* pointer = &kernel;
  Binary binary = backend->compile({&pointer, 1})[0];
  auto mappings = [] {
    int lines = 0;
    std::FILE* file = std::fopen("/proc/self/maps", "r");
    for (int c = 0; (c = std::fgetc(file)) != EOF;) lines += c == '\n';
    std::fclose(file);
    return lines;
  };
  for (int i = 0; i < 200; ++i) backend->load(kernel, binary);
  int before = mappings();
  for (int i = 0; i < 2000; ++i) backend->load(kernel, binary);
  EXPECT_LT(mappings(), before + 50);
}

INSTANTIATE_TEST_SUITE_P(Isa, Llvm, testing::Values(Isa::avx2, Isa::avx512), [](const auto& info) {
  return info.param == Isa::avx2 ? "avx2" : "avx512";
});

TEST(LlvmFingerprint, TellsIsasApart) {
  std::string narrow = make_cpu_backend(Isa::avx2)->fingerprint();
  EXPECT_NE(narrow, make_cpu_backend(Isa::avx512)->fingerprint());
  EXPECT_EQ(narrow, make_cpu_backend(Isa::avx2)->fingerprint());
  EXPECT_NE(narrow.find("llvm 19.1"), std::string::npos);
}

}  // namespace
}  // namespace encore::jit
