// Does compiled code give the interpreter's bits for every elementary function, under every ISA?
#include <encore/jit/cpu/cpu_backend.h>
#include <encore/jit/reference/interpreter.h>
#include <encore/lazy/math_expansion.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <functional>
#include <random>

#include "kernel_maker.h"

namespace encore::jit {
namespace {

class KernelBuilder : public Builder {
 public:
  explicit KernelBuilder(KernelMaker& maker) : maker_(maker) {}
  Value emit(Opcode op, DType dtype, std::initializer_list<Value> operands, uint32_t aux,
             uint64_t bits) override {
    ValueId id = maker_.emit(op, dtype, {}, aux, bits);
    int count = 0;
    for (Value value : operands) maker_.kernel.instructions[id].operands[count++] = value.id;
    return {id, dtype};
  }

 private:
  KernelMaker& maker_;
};

using Function = std::function<Value(Builder&, Value, Value)>;

struct Row {
  const char* name;
  Function function;
};

#define UNARY(name) {#name, [](Builder& to, Value a, Value) { return math::name(to, a); }}
#define BINARY(name) {#name, [](Builder& to, Value a, Value b) { return math::name(to, a, b); }}
const Row rows[] = {UNARY(exp),  UNARY(expm1), UNARY(sinh),   UNARY(cosh), UNARY(tanh),
                    UNARY(log),  UNARY(log1p), UNARY(log2),   UNARY(cbrt), UNARY(rsqrt),
                    UNARY(sin),  UNARY(cos),   UNARY(tan),    UNARY(asin), UNARY(acos),
                    UNARY(atan), UNARY(erf),   BINARY(atan2), BINARY(pow)};
#undef UNARY
#undef BINARY

Kernel kernel_of(const Row& row, DType dtype, int64_t count) {
  KernelMaker make;
  SizeId one = make.fixed(1);
  make.axis(Role::inner, make.free(count));
  uint32_t a = make.access(make.argument(dtype, Use::read), {one});
  uint32_t b = make.access(make.argument(dtype, Use::read), {one});
  uint32_t to = make.access(make.argument(dtype, Use::write), {one});
  KernelBuilder builder(make);
  Value first = {make.load(dtype, a), dtype}, second = {make.load(dtype, b), dtype};
  make.store(row.function(builder, first, second).id, to);
  make.stage(StageKind::sweep);
  make.kernel.name = row.name;
  return make.kernel;
}

template <class T>
std::vector<T> run(Backend& backend, const Kernel& kernel, std::vector<T>& a, std::vector<T>& b) {
  const Kernel* pointer = &kernel;
  std::vector<Binary> binaries = backend.compile({&pointer, 1});
  std::vector<T> result(a.size());
  void* arguments[] = {a.data(), b.data(), result.data()};
  std::vector<int64_t> sizes;
  for (const Size& size : kernel.sizes) sizes.push_back(size.value);
  Segment segment{arguments, sizes.data(), nullptr};
  backend.load(kernel, binaries[0])->launch({&segment, 1});
  backend.synchronize();
  return result;
}

/// Any bits, and numbers of ordinary size.
template <class T>
std::vector<T> numbers(int64_t count, int seed) {
  using Bits = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<T> ordinary(-20, 20), small(-1, 1);
  std::vector<T> result(count);
  for (int64_t i = 0; i < count; ++i)
    result[i] = i % 3 == 0   ? std::bit_cast<T>(Bits(random()))
                : i % 3 == 1 ? ordinary(random)
                             : small(random);
  return result;
}

class MathBits : public testing::TestWithParam<Isa> {
 protected:
  template <class T>
  void compare() {
    if (GetParam() > host_isa()) GTEST_SKIP() << "not on this machine";
    std::unique_ptr<Backend> compiled = make_cpu_backend(GetParam());
    std::vector<T> a = numbers<T>(5003, 1), b = numbers<T>(5003, 2);
    for (const Row& row : rows) {
      Kernel kernel = kernel_of(row, dtype_of<T>, int64_t(a.size()));
      verify_kernel(kernel);
      std::vector<T> wanted = run(interpreter(), kernel, a, b);
      std::vector<T> got = run(*compiled, kernel, a, b);
      for (size_t i = 0; i < a.size(); ++i) {
        bool same = got[i] == wanted[i] && std::signbit(got[i]) == std::signbit(wanted[i]);
        ASSERT_TRUE(same || (std::isnan(got[i]) && std::isnan(wanted[i])))
            << row.name << '(' << a[i] << ", " << b[i] << ") = " << got[i] << ", not " << wanted[i];
      }
    }
  }
};

TEST_P(MathBits, OfF32AreTheInterpreters) { compare<float>(); }
TEST_P(MathBits, OfF64AreTheInterpreters) { compare<double>(); }

INSTANTIATE_TEST_SUITE_P(Isa, MathBits, testing::Values(Isa::avx2, Isa::avx512),
                         [](const auto& info) {
                           return info.param == Isa::avx2 ? "avx2" : "avx512";
                         });

}  // namespace
}  // namespace encore::jit
