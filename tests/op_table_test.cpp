// Every row of elementwise.def is complete and says the same thing in its columns.
#include <encore/lazy/create.h>
#include <encore/lazy/elementwise.h>
#include <encore/lazy/lowering.h>
#include <encore/tests/accuracy_table.h>
#include <encore/tests/evaluating_builder.h>
#include <gtest/gtest.h>

#include <cstring>
#include <set>

namespace encore {
namespace {

constexpr double inf = std::numeric_limits<double>::infinity();
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

const double floating_edges[] = {0.0,
                                 -0.0,
                                 1.0,
                                 -1.0,
                                 0.5,
                                 -0.5,
                                 2.0,
                                 -2.0,
                                 2.5,
                                 -2.5,
                                 3.0,
                                 -3.0,
                                 0.1,
                                 -0.1,
                                 1e-3,
                                 10.0,
                                 0.99,
                                 -0.99,
                                 20.0,
                                 -20.,
                                 88.0,
                                 -88.0,
                                 100.0,
                                 -100.,
                                 1e4,
                                 -1e4,
                                 0x1p-126,
                                 0x1p-149,
                                 1e30,
                                 -1e30,
                                 1e-30,
                                 -1e-30,
                                 0x1.fffffep127,
                                 -0x1.fffffep127,
                                 inf,
                                 -inf,
                                 nan,
                                 3.1415927410125732};
const int64_t integer_edges[] = {0,
                                 1,
                                 -1,
                                 2,
                                 -2,
                                 3,
                                 -3,
                                 5,
                                 7,
                                 -7,
                                 8,
                                 31,
                                 32,
                                 40,
                                 63,
                                 64,
                                 100,
                                 -100,
                                 127,
                                 -128,
                                 255,
                                 256,
                                 32767,
                                 -32768,
                                 65535,
                                 0x7fffffff,
                                 -0x7fffffff - 1ll,
                                 0xffffffffll,
                                 INT64_MAX,
                                 INT64_MIN};

bool accepts(const OpInfo& row, DType dtype) {
  if (compute_dtype(dtype) != dtype) return false;  // computed as f32
  switch (row.types) {
    case Types::floating:
      return is_floating(dtype);
    case Types::number:
      return dtype != DType::boolean;
    case Types::bits:
      return !is_floating(dtype);
    case Types::logical:
      return dtype == DType::boolean;
    case Types::same:
    case Types::where:
    case Types::compare:
    case Types::test:
      return true;
  }
  return false;
}

bool gives_bool(const OpInfo& row) {
  return row.types == Types::compare || row.types == Types::test || row.types == Types::logical;
}

/// The row's lowering on operands of `dtype` given as bits.
uint64_t lowered(const OpInfo& row, DType dtype, std::initializer_list<uint64_t> operands) {
  EvaluatingBuilder to;
  std::vector<Value> values;
  for (uint64_t bits : operands) {
    bool condition = row.types == Types::where && values.empty();
    values.push_back(to.input(condition ? DType::boolean : dtype, bits));
  }
  values.resize(row.arity);
  Value result = row.lower(to, values);
  EXPECT_EQ(result.dtype, gives_bool(row) ? DType::boolean : dtype) << row.name;
  return to.bits_of(result);
}

template <class T>
T decode(uint64_t bits) {
  T value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

template <class T>
void check_floating(const OpInfo& row, double a, double b) {
  DType dtype = dtype_of<T>;
  T x = T(a), y = T(b);
  bool conditional = row.types == Types::where;
  uint64_t first = conditional ? uint64_t(x != 0) : Scalar(x).bits_as(dtype);
  uint64_t bits =
      lowered(row, dtype, {first, Scalar(y).bits_as(dtype), Scalar(T(7)).bits_as(dtype)});
  double wanted = row.reference(x, y, 7);
  if (gives_bool(row)) {
    EXPECT_EQ(bits, uint64_t(wanted)) << row.name << ' ' << x << ' ' << y;
    return;
  }
  T got = decode<T>(bits);
  double bound = ulp_bound(row.name, dtype, a);
  EXPECT_LE(ulps_between(got, wanted), bound)
      << row.name << '(' << x << ", " << y << ") as " << name_of(dtype) << ": " << got << ", not "
      << wanted;
  if (wanted == 0 && got == 0) {
    EXPECT_EQ(std::signbit(got), std::signbit(wanted)) << row.name << '(' << x << ", " << y << ')';
  }
}

TEST(OpTable, RowsAreComplete) {
  for (const OpInfo& row : elementwise_ops()) {
    EXPECT_FALSE(row.name.empty());
    EXPECT_EQ(row.family, OpFamily::elementwise) << row.name;
    EXPECT_TRUE(row.lower) << row.name;
    EXPECT_TRUE(row.reference || row.integer_reference) << row.name;
    EXPECT_TRUE(row.gradient || row.saves == saves_nothing) << row.name << " saves for no gradient";
    EXPECT_TRUE(!row.commutes || row.arity == 2) << row.name;
    if (gives_bool(row) || row.types == Types::bits) {
      EXPECT_FALSE(row.gradient) << row.name << " has no floating result";
    }
  }
}

TEST(OpTable, OnlyFlatOpsHaveNoGradient) {
  std::set<std::string_view> flat;
  for (const OpInfo& row : elementwise_ops())
    if (!row.gradient && !gives_bool(row) && row.types != Types::bits) flat.insert(row.name);
  EXPECT_EQ(flat, (std::set<std::string_view>{"floor_divide", "sign", "floor", "ceil", "trunc",
                                              "round"}));
}

TEST(OpTable, IdsFindTheirRows) {
  EXPECT_EQ(name_of(OpId::add), "add");
  EXPECT_EQ(name_of(OpId::where), "where");
  EXPECT_EQ(name_of(OpId::erf), "erf");
  EXPECT_EQ(name_of(OpId::reduce_sum), "sum");
  EXPECT_EQ(&info(first_elementwise()), elementwise_ops().data());
  EXPECT_EQ(&info(first_reduction()), reduction_ops().data());
}

TEST(OpTable, AccuracyTableNamesRows) {
  std::set<std::string_view> names;
  for (const OpInfo& row : elementwise_ops()) names.insert(row.name);
  EXPECT_GE(accuracy_table().size(), 10u);
  for (const auto& [name, bound] : accuracy_table()) EXPECT_TRUE(names.count(name)) << name;
}

TEST(OpTable, FloatingLoweringsEqualTheirReferences) {
  for (const OpInfo& row : elementwise_ops()) {
    if (!accepts(row, DType::f32)) continue;
    for (double a : floating_edges)
      for (double b : floating_edges) {
        check_floating<float>(row, a, b);
        check_floating<double>(row, a, b);
        if (row.arity == 1) break;
      }
  }
}

template <class T>
void check_integers(const OpInfo& row) {
  constexpr DType dtype = dtype_of<T>;
  for (int64_t a : integer_edges)
    for (int64_t b : integer_edges) {
      T x = T(a), y = T(b);
      // The references know no unsigned 64-bit numbers.
      if (dtype == DType::u64 && (int64_t(x) < 0 || int64_t(y) < 0)) continue;
      bool conditional = row.types == Types::where;
      uint64_t first = conditional ? uint64_t(x != 0) : Scalar(x).bits_as(dtype);
      uint64_t bits = lowered(row, dtype, {first, Scalar(y).bits_as(dtype), 7});
      int64_t wanted = row.integer_reference ? row.integer_reference(int64_t(x), int64_t(y), 7)
                                             : int64_t(row.reference(double(x), double(y), 7));
      uint64_t wanted_bits =
          gives_bool(row) ? uint64_t(wanted != 0) : Scalar(T(wanted)).bits_as(dtype);
      ASSERT_EQ(bits, wanted_bits)
          << row.name << '(' << int64_t(x) << ", " << int64_t(y) << ") as " << name_of(dtype);
      if (row.arity == 1) break;
    }
}

TEST(OpTable, IntegerLoweringsEqualTheirReferences) {
  for (const OpInfo& row : elementwise_ops()) {
    if (row.types == Types::floating || row.types == Types::logical) continue;
    check_integers<int8_t>(row);
    check_integers<int16_t>(row);
    check_integers<int32_t>(row);
    check_integers<int64_t>(row);
    check_integers<uint8_t>(row);
    check_integers<uint16_t>(row);
    check_integers<uint32_t>(row);
    check_integers<uint64_t>(row);
  }
}

TEST(OpTable, BoolLoweringsEqualTheirReferences) {
  for (const OpInfo& row : elementwise_ops()) {
    if (!accepts(row, DType::boolean)) continue;
    bool bits_row = row.types == Types::bits;
    for (uint64_t a : {0, 1})
      for (uint64_t b : {0, 1}) {
        uint64_t got = lowered(row, DType::boolean, {a, b, 1});
        int64_t wanted = bits_row ? row.integer_reference(int64_t(a), int64_t(b), 1)
                                  : int64_t(row.reference(double(a), double(b), 1) != 0);
        EXPECT_EQ(got, uint64_t(wanted & 1)) << row.name << '(' << a << ", " << b << ')';
      }
  }
}

TEST(OpTable, CommutingRowsAreSymmetric) {
  for (const OpInfo& row : elementwise_ops()) {
    if (!row.commutes) continue;
    for (DType dtype :
         {DType::boolean, DType::u8, DType::i32, DType::i64, DType::f32, DType::f64}) {
      if (!accepts(row, dtype)) continue;
      for (double a : floating_edges)
        for (double b : floating_edges) {
          if (std::isnan(a) || std::isnan(b)) continue;  // payloads may differ
          uint64_t x = Scalar(a).bits_as(dtype), y = Scalar(b).bits_as(dtype);
          EXPECT_EQ(lowered(row, dtype, {x, y}), lowered(row, dtype, {y, x}))
              << row.name << a << ' ' << b;
        }
    }
  }
}

TEST(OpTable, IntegerDivisionIsAlwaysDefined) {
  using enum OpId;
  EXPECT_EQ(lowered(info(floor_divide), i32, {0x80000000u, 0xffffffffu}), 0x80000000u);
  EXPECT_EQ(lowered(info(remainder), i32, {0x80000000u, 0xffffffffu}), 0u);
  EXPECT_EQ(lowered(info(floor_divide), i32, {5, 0}), 0u);
  EXPECT_EQ(lowered(info(remainder), i32, {uint32_t(-5), 0}), uint32_t(-5));
  EXPECT_EQ(lowered(info(fmod), i32, {5, 0}), 5u);
  EXPECT_EQ(lowered(info(pow), i32, {3, 40}), uint32_t(integer_power(3, 40)));
}

// Recording

Tensor tensor(Shape shape, DType dtype) { return iota(shape, 0).to(dtype); }

TEST(Promotion, NumbersNeverWidenWithinTheirKind) {
  EXPECT_EQ((tensor({2}, bf16) * 0.5).dtype(), bf16);
  EXPECT_EQ((tensor({2}, f16) + 1).dtype(), f16);
  EXPECT_EQ((tensor({2}, i8) + 1000).dtype(), i8);
  EXPECT_EQ((tensor({2}, i32) * 0.5).dtype(), f32);
  EXPECT_EQ((tensor({2}, i64) * 2.0).dtype(), f32);
  EXPECT_EQ((tensor({2}, boolean) + 1).dtype(), i64);
  EXPECT_EQ((tensor({2}, f64) * 0.5f).dtype(), f64);
  EXPECT_EQ((tensor({2}, u8) + true).dtype(), u8);
}

TEST(Promotion, TensorsMeetInTheSmallestCommonDtype) {
  EXPECT_EQ((tensor({2}, u8) + tensor({2}, i8)).dtype(), i16);
  EXPECT_EQ((tensor({2}, f16) + tensor({2}, bf16)).dtype(), f32);
  EXPECT_EQ((tensor({2}, i64) + tensor({2}, f16)).dtype(), f16);
  EXPECT_EQ((tensor({2}, boolean) + tensor({2}, u8)).dtype(), u8);
}

TEST(Promotion, DivisionAndPowers) {
  EXPECT_EQ((tensor({2}, i32) / 2).dtype(), f32);
  EXPECT_EQ((tensor({2}, i64) / tensor({2}, i64)).dtype(), f32);
  EXPECT_EQ((tensor({2}, i32) % 3).dtype(), i32);
  EXPECT_EQ(floor_divide(tensor({2}, i32), 3).dtype(), i32);
  EXPECT_EQ(pow(2.5, tensor({2}, i32)).dtype(), f32);
  EXPECT_EQ(pow(tensor({2}, i32), 2).dtype(), i32);
  EXPECT_EQ(pow(tensor({2}, bf16), 0.5).dtype(), bf16);
  EXPECT_EQ(sqrt(tensor({2}, i32)).dtype(), f32);
  EXPECT_EQ(floor(tensor({2}, i32)).dtype(), i32);
}

TEST(Promotion, ComparisonsGiveBool) {
  Tensor x = tensor({2}, f32);
  for (const Tensor& y :
       {x == 1, x != x, x < 2, x <= 2, x > 2, x >= 2, x && true, x || false, !x, isnan(x)})
    EXPECT_EQ(y.dtype(), boolean);
  EXPECT_EQ(where(x > 0, x, 0).dtype(), f32);
  EXPECT_EQ(where(x, 1, 0.5).dtype(), f32);
}

TEST(Recording, IntegerExponentsTakeNoSlot) {
  Tensor x = tensor({2}, f32);
  Tensor cube = pow(x, 3);
  EXPECT_EQ(cube.node()->op, OpId::mul);
  EXPECT_EQ(cube.node()->inputs[0]->op, OpId::mul);
  EXPECT_EQ(pow(x, 100).node()->number(), Number::literal);
  EXPECT_EQ(pow(x, 100.0).node()->number(), Number::scalar);
  EXPECT_EQ(pow(x, -2).node()->op, OpId::reciprocal);
  EXPECT_EQ(pow(x, 1).node(), x.node());
}

template <class Function>
Error error_of(Function function) {
  try {
    function();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "nothing was thrown";
  return Error("", {});
}

// Notes in `line` where the statement stands.
#define ERROR_OF(statement) error_of([&] { line = __LINE__, statement; })

TEST(Recording, ShapesThatDoNotBroadcastAreNamedAtTheUsersLine) {
  Tensor a = tensor({2, 3}, f32), b = tensor({4}, f32);
  int line = 0;
  Error error = ERROR_OF(a + b);
  EXPECT_NE(error.message().find("[2, 3]"), std::string::npos) << error.what();
  EXPECT_NE(error.message().find("[4]"), std::string::npos) << error.what();
  EXPECT_EQ(error.where().line, line);
  EXPECT_NE(std::string(error.where().file).find("op_table_test"), std::string::npos);
  Tensor c = a;
  error = ERROR_OF(c *= b);
  EXPECT_EQ(error.where().line, line) << error.what();
  EXPECT_EQ(c.node(), a.node());
}

TEST(Recording, DtypesThatAnOpRefusesAreNamed) {
  Tensor flag = tensor({2}, boolean), x = tensor({2}, f32);
  int line = 0;
  Error error = ERROR_OF(flag - flag);
  EXPECT_NE(error.message().find("bool"), std::string::npos) << error.what();
  EXPECT_EQ(error.where().line, line);
  error = ERROR_OF(~x);
  EXPECT_NE(error.message().find("f32"), std::string::npos) << error.what();
  EXPECT_EQ(error.where().line, line);
  ERROR_OF(x << 2);
  ERROR_OF(-flag);
}

TEST(Recording, CompoundAssignmentRebindsOneHandle) {
  Tensor x = tensor({2}, i32), y = x;
  Node* before = x.node();
#define CHECK(symbol, name) \
  x = y;                    \
  x symbol 3;               \
  EXPECT_EQ(x.node()->op, OpId::name);
  CHECK(+=, add)
  CHECK(-=, sub)
  CHECK(*=, mul)
  CHECK(/=, div)
  CHECK(%=, remainder)
  CHECK(&=, bitwise_and)
  CHECK(|=, bitwise_or)
  CHECK(^=, bitwise_xor)
  CHECK(<<=, shift_left)
  CHECK(>>=, shift_right)
#undef CHECK
  EXPECT_EQ(y.node(), before);
}

TEST(Recording, EmptyTensorsAreRefused) {
  Tensor none, x = tensor({2}, f32);
  [[maybe_unused]] int line = 0;
  ERROR_OF(x + none);
  ERROR_OF(exp(none));
}

}  // namespace
}  // namespace encore
