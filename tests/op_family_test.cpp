// Movement, reductions, indexing and products on every dtype and on lengths around a vector's
// width, as the runtime computes them, against the plain loops of graph_oracle.h. Whole numbers: no
// rounding.
#include <encore/core/settings.h>
#include <encore/encore.h>
#include <encore/trace/statistics.h>
#include <fmt/format.h>

#include "graph_oracle.h"

namespace encore {
namespace {

using namespace testing;

/// Whole numbers that every dtype holds, and whose sums stay exact in bf16's f32 accumulators.
Tensor whole_numbers(Shape shape, DType dtype, int salt) {
  Doubles values(shape.numel());
  uint32_t state = 17 + salt;
  for (double& value : values) {
    state = state * 1664525 + 1013904223;
    value = double(state >> 28) - (is_signed(dtype) ? 8 : 0);
  }
  return leaf(values, shape).to(dtype);
}

struct Case {
  const char* name;
  std::function<Tensor(const Tensor& x, const Tensor& index)> function;
};

const Case cases[] = {
    {"flip", [](auto& x, auto&) { return x.flip({1}); }},
    {"stepped slice", [](auto& x, auto&) { return slice(x, {{}, {-1, {}, -2}}); }},
    {"pad", [](auto& x, auto&) { return pad(x, {0, 3}, {1, 2}, 5); }},
    {"concat", [](auto& x, auto&) { return concat({x, x.flip({1}), slice(x, {{}, {0, 1}})}, 1); }},
    {"roll", [](auto& x, auto&) { return roll(x, {3}, {1}); }},
    {"transpose", [](auto& x, auto&) { return concat({x.transpose(), x.transpose()}, 0); }},
    {"repeat", [](auto& x, auto&) { return repeat(x, {2, 2}); }},
    {"transposed reshape", [](auto& x, auto&) { return x.transpose().reshape({-1}); }},
    {"assignment",
     [](auto& x, auto&) {
       Tensor y = x;
       y[{Slice{}, Slice{0, {}, 3}}] = x[{2, Slice{0, 1}}];
       y[{1}] = y[{0}];
       return y;
     }},
    {"sum of rows", [](auto& x, auto&) { return x.sum({1}); }},
    {"sum of columns", [](auto& x, auto&) { return x.sum({0}); }},
    {"sum", [](auto& x, auto&) { return x.sum(); }},
    {"mean", [](auto& x, auto&) { return x.mean({1}); }},
    {"any", [](auto& x, auto&) { return x.any({0}); }},
    {"all", [](auto& x, auto&) { return x.all({1}); }},
    {"argmax", [](auto& x, auto&) { return x.argmax(1); }},
    {"argmin of all", [](auto& x, auto&) { return x.argmin(); }},
    {"argmin of columns", [](auto& x, auto&) { return x.argmin(0); }},
    {"max", [](auto& x, auto&) { return x.to(x.dtype() == boolean ? u8 : x.dtype()).max({1}); }},
    {"min of columns",
     [](auto& x, auto&) { return x.to(x.dtype() == boolean ? u8 : x.dtype()).min({0}); }},
    {"take", [](auto& x, auto& index) { return take(x, index, 1); }},
    {"take rows", [](auto& x, auto& index) { return take(x, index.reshape({-1, 1})); }},
    {"take_along", [](auto& x, auto& index) { return take_along(x, index.reshape({1, -1}), 1); }},
    {"index_add",
     [](auto& x, auto& index) { return index_add(x, index, x[{Slice{}, Slice{0, 1}}], 1); }},
    {"scatter_add",
     [](auto& x, auto& index) {
       return scatter_add(x, index.reshape({1, -1}), x[{Slice{}, Slice{0, 1}}], 1);
     }},
    {"index_put",
     [](auto& x, auto& index) { return index_put(x, index, x[{Slice{}, Slice{0, 1}}], 1); }},
    {"product",
     [](auto& x, auto&) {
       return matmul(x.to(x.dtype() == boolean ? u8 : x.dtype()),
                     x.transpose().to(x.dtype() == boolean ? u8 : x.dtype()));
     }},
};

class EveryDType : public ::testing::TestWithParam<DType> {};

TEST_P(EveryDType, AgreesWithTheOracle) {
  for (int64_t length : {1, 2, 15, 16, 17, 31, 33, 65, 129}) {
    Tensor x = whole_numbers({5, length}, GetParam(), int(length));
    Tensor index = leaf<int32_t>({0, int32_t(length) - 1, -1, 2, int32_t(length), 3, 0}, {7});
    for (const Case& one : cases) {
      SCOPED_TRACE(fmt::format("{} of {} [5, {}]", one.name, name_of(GetParam()), length));
      Tensor y = one.function(x, index);
      Doubles expected = values(y);
      ASSERT_EQ(y.to_vector<double>(), expected);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(DTypes, EveryDType,
                         ::testing::Values(boolean, u8, u16, u32, u64, i8, i16, i32, i64, f16, bf16,
                                           f32, f64),
                         [](const auto& info) { return std::string(name_of(info.param)); });

TEST(VaryingExtents, AnotherExtentMakesAKernelGeneric) {
  for (const Case& one : cases) {
    SCOPED_TRACE(one.name);
    int64_t at_first = 0, before = trace::statistics().kernels_compiled;
    for (int64_t length = 20; length < 40; ++length) {
      Tensor x = whole_numbers({5, length}, f32, 0) * 1.5;
      one.function(x, leaf<int32_t>({0, -1, 3}, {3})).to_vector<float>();
      int64_t compiled = trace::statistics().kernels_compiled - before;
      if (length == 20)
        at_first = compiled;
      else
        EXPECT_LE(compiled, 3 * at_first) << "length " << length;
    }
  }
}

}  // namespace
}  // namespace encore
