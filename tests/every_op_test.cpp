// Every elementwise row through the whole pipeline, on every backend: all dtypes, edge values,
// lengths, layouts, fused and not. What a row's instructions mean is taken from the evaluating
// builder; op_table_test ties that to the row's reference.
#include <encore/lazy/elementwise.h>
#include <encore/lazy/movement.h>
#include <fmt/format.h>

#include "each_backend.h"
#include "evaluating_builder.h"
#include "graph_oracle.h"

namespace encore {
namespace {

using namespace testing;

using Bits = std::vector<uint64_t>;

constexpr double inf = std::numeric_limits<double>::infinity();
const double floating_edges[] = {0.0,   -0.0, 1.0,  -1.0, 0.5,      -0.5,          2.0,
                                 -2.5,  3.0,  0.1,  -0.1, 1e-3,     10.0,          0.99,
                                 -0.99, 88.0, -100, 1e4,  0x1p-126, 0x1p-149,      -1e30,
                                 1e-30, inf,  -inf, NAN,  40.0,     0x1.fffffep127};
const int64_t integer_edges[] = {0,      1,     -1,   2,          -3,        5,         7,
                                 8,      31,    64,   100,        127,       255,       32767,
                                 -32768, 65535, -128, 0x7fffffff, INT64_MAX, INT64_MIN, 4294967295};

constexpr DType all_dtypes[] = {
#define DTYPE(name, bytes, kind, type) DType::name,
    ENCORE_DTYPES(DTYPE)
#undef DTYPE
};

OpId id_of(const OpInfo& row) {
  return OpId(int(first_elementwise()) + int(&row - elementwise_ops().data()));
}

bool accepts(const OpInfo& row, DType dtype) {
  switch (row.types) {
    case Types::floating:
      return is_floating(dtype);
    case Types::number:
      return dtype != DType::boolean;
    case Types::bits:
      return !is_floating(dtype);
    case Types::logical:
      return dtype == DType::boolean;
    default:
      return true;
  }
}

Bits edges(DType dtype) {
  Bits result;
  if (is_floating(dtype))
    for (double value : floating_edges) result.push_back(Scalar(value).bits_as(dtype));
  else
    for (int64_t value : integer_edges) result.push_back(Scalar(value).bits_as(dtype));
  return result;
}

/// The operands of a row, every edge with every edge.
struct Operands {
  Operands(const OpInfo& row, DType dtype) : dtype(dtype) {
    Bits values = edges(dtype);
    size_t others = row.arity == 1 ? 1 : values.size();
    for (uint64_t a : values)
      for (size_t i = 0; i < others; ++i) {
        first.push_back(a);
        second.push_back(values[i]);
      }
  }
  int64_t count() const { return int64_t(first.size()); }
  DType dtype;
  Bits first, second;
};

Tensor stored(DType dtype, const Bits& bits, Shape shape, int64_t from = 0) {
  size_t size = size_of(dtype);
  std::vector<std::byte> bytes(size_t(shape.numel()) * size + 1);
  for (int64_t i = 0; i < shape.numel(); ++i)
    std::memcpy(bytes.data() + size_t(i) * size, &bits[size_t(from + i)], size);
  return from_bytes(bytes.data(), dtype, shape);
}

/// Every NaN is the same NaN.
uint64_t plain(DType dtype, uint64_t bits) {
  bool nan = is_floating(dtype) && std::isnan(from_bits(dtype, &bits));
  return nan ? Scalar(double(NAN)).bits_as(dtype) : bits;
}

/// The elements as stored.
Bits computed(const Tensor& x) {
  Bits result;
  size_t size = size_of(x.dtype());
  Node* node = x.node();
  evaluator().evaluate({&node, 1}, SyncKind::read, {});
  std::vector<std::byte> bytes(size_t(x.numel()) * size + 1);
  if (x.numel() > 0)
    evaluator().copy_to_host(bytes.data(), *node->buffer, 0, size_t(x.numel()) * size, {});
  for (int64_t i = 0; i < x.numel(); ++i) {
    uint64_t bits = 0;
    std::memcpy(&bits, bytes.data() + size_t(i) * size, size);
    result.push_back(plain(x.dtype(), bits));
  }
  return result;
}

Tensor apply_row(const OpInfo& row, const Tensor& x, const Tensor& y) {
  Tensor chosen = x.to(DType::boolean);
  Arg a(x), b(y), condition(chosen);
  switch (row.types) {
    case Types::where:
      return record_elementwise(id_of(row), {&condition, &b, &a});
    default:
      if (row.arity == 1) return record_elementwise(id_of(row), {&a});
      return record_elementwise(id_of(row), {&a, &b});
  }
}

/// What the row's instructions give, element by element.
Bits expected(const OpInfo& row, const Operands& operands) {
  DType dtype = operands.dtype, work = compute_dtype(dtype);
  Bits result;
  for (int64_t i = 0; i < operands.count(); ++i) {
    EvaluatingBuilder to;
    auto widened = [&](uint64_t bits) {
      return to.input(work, work == dtype ? bits : Scalar(from_bits(dtype, &bits)).bits_as(work));
    };
    Value a = widened(operands.first[i]), b = widened(operands.second[i]);
    std::vector<Value> values{a, b};
    if (row.types == Types::where) values = {to.cast(a, DType::boolean), b, a};
    values.resize(size_t(row.arity));
    Value value = row.lower(to, values);
    uint64_t bits = to.bits_of(value);
    double number = from_bits(value.dtype, &bits);
    DType wanted = value.dtype == work ? dtype : value.dtype;
    if (is_floating(wanted)) bits = Scalar(number).bits_as(wanted);
    result.push_back(plain(wanted, bits));
  }
  return result;
}

std::string first_difference(const Bits& found, const Bits& wanted, const Operands& operands) {
  for (size_t i = 0; i < wanted.size(); ++i)
    if (found[i] != wanted[i]) {
      auto text = [&](uint64_t bits) { return from_bits(operands.dtype, &bits); };
      return fmt::format("element {}, operands {} and {}: bits {:x}, not {:x}", i,
                         text(operands.first[i]), text(operands.second[i]), found[i], wanted[i]);
    }
  return "";
}

/// Calls `check(row, operands)` for every row and dtype that it takes.
template <class Check>
void for_every_row(std::span<const DType> dtypes, Check check) {
  int rows = 0;
  for (const OpInfo& row : elementwise_ops())
    for (DType dtype : dtypes) {
      if (!accepts(row, dtype) || row.name == "cast") continue;
      SCOPED_TRACE(fmt::format("{} of {}", row.name, name_of(dtype)));
      check(row, Operands(row, dtype));
      ++rows;
    }
  EXPECT_GT(rows, int(dtypes.size()) * 20);
}

TEST(EveryOp, EdgeValuesOfEveryDType) {
  on_each_backend([] {
    for_every_row(all_dtypes, [](const OpInfo& row, const Operands& operands) {
      Shape shape{operands.count()};
      Tensor y = apply_row(row, stored(operands.dtype, operands.first, shape),
                           stored(operands.dtype, operands.second, shape));
      EXPECT_EQ(first_difference(computed(y), expected(row, operands), operands), "");
    });
  });
}

TEST(EveryOp, EveryLengthGivesTheSameElements) {
  const DType dtypes[] = {f32, i32, boolean, bf16};
  on_each_backend([&] {
    for_every_row(dtypes, [](const OpInfo& row, const Operands& operands) {
      Bits wanted = expected(row, operands);
      int64_t start = 0;
      for (int64_t length = 0; length <= 129; ++length) {
        if (length > operands.count()) break;
        if (start + length > operands.count()) start = 0;
        Tensor y = apply_row(row, stored(operands.dtype, operands.first, {length}, start),
                             stored(operands.dtype, operands.second, {length}, start));
        Bits found = computed(y), part(wanted.begin() + start, wanted.begin() + start + length);
        ASSERT_EQ(found, part) << "length " << length << " from " << start;
        start += length;
      }
    });
  });
}

TEST(EveryOp, ZeroSizesPass) {
  on_each_backend([] {
    for_every_row(all_dtypes, [](const OpInfo& row, const Operands& operands) {
      for (Shape shape : {Shape{0}, Shape{3, 0}, Shape{0, 5}}) {
        Tensor x = stored(operands.dtype, {}, shape);
        Tensor y = apply_row(row, x, x);
        EXPECT_EQ(y.shape(), shape);
        EXPECT_TRUE(computed(y).empty());
      }
    });
  });
}

/// Each view holds the operands' first `rows` × `columns` elements, row-major.
TEST(EveryOp, LayoutsGiveTheSameElements) {
  const DType dtypes[] = {f32, f64, i16, bf16};
  constexpr int64_t rows = 3, columns = 7;
  on_each_backend([&] {
    for_every_row(dtypes, [](const OpInfo& row, const Operands& operands) {
      DType dtype = operands.dtype;
      Tensor a = stored(dtype, operands.first, {rows, columns}),
             b = stored(dtype, operands.second, {rows, columns});
      Bits wanted = computed(apply_row(row, a, b));
      using View = Tensor (*)(const Tensor&);
      auto through = [&](const char* name, View store, View view) {
        auto kept = [&](const Tensor& x) {
          Tensor other = store(x);
          eval(other);
          return view(other);
        };
        EXPECT_EQ(computed(apply_row(row, kept(a), kept(b))), wanted) << name << ", both";
        EXPECT_EQ(computed(apply_row(row, a, kept(b))), wanted) << name << ", second";
      };
      View turn = [](const Tensor& x) { return transpose(x, 0, 1); };
      View reverse = [](const Tensor& x) { return flip(x); };
      View spread = [](const Tensor& x) { return repeat_interleave(x, 2, 1); };
      View every_other = [](const Tensor& x) { return slice(x, {{}, {.step = 2}}); };
      through("transposed", turn, turn);
      through("flipped", reverse, reverse);
      through("strided", spread, every_other);
    });
  });
}

TEST(EveryOp, BroadcastOperandsEqualRepeatedOnes) {
  const DType dtypes[] = {f32, f64, i16, bf16};
  on_each_backend([&] {
    for_every_row(dtypes, [](const OpInfo& row, const Operands& operands) {
      Bits values = edges(operands.dtype);
      int64_t count = int64_t(values.size());
      if (row.arity == 1) return;
      Tensor line = stored(operands.dtype, values, {count}), column = reshape(line, {count, 1});
      EXPECT_EQ(first_difference(computed(apply_row(row, column, line)), expected(row, operands),
                                 operands),
                "");
      Tensor one = stored(operands.dtype, values, {});
      EXPECT_EQ(
          computed(apply_row(row, line, one)),
          computed(apply_row(row, line, stored(operands.dtype, Bits(count, values[0]), {count}))));
    });
  });
}

TEST(EveryOp, FusedEqualsUnfused) {
  const DType dtypes[] = {f32, f64, i32, bf16};
  on_each_backend([&] {
    for_every_row(dtypes, [](const OpInfo& row, const Operands& operands) {
      Shape shape{operands.count()};
      auto run = [&](bool fuse) {
        settings().fuse = fuse;
        Tensor a = stored(operands.dtype, operands.first, shape),
               b = stored(operands.dtype, operands.second, shape);
        Tensor y = apply_row(row, abs(a), where(b == a, a, -b));
        return computed(where(isnan(a), 0, y));
      };
      Bits apart = run(false), together = run(true);
      EXPECT_EQ(first_difference(together, apart, operands), "");
    });
  });
}

TEST(EveryOp, CastsBetweenAllDTypes) {
  on_each_backend([] {
    for (DType from : all_dtypes)
      for (DType to : all_dtypes) {
        SCOPED_TRACE(fmt::format("{} to {}", name_of(from), name_of(to)));
        Bits values = edges(from), wanted;
        for (uint64_t bits : values) {
          DType work = compute_dtype(from), result = compute_dtype(to);
          EvaluatingBuilder builder;
          Value x = builder.input(
              work, work == from ? bits : Scalar(from_bits(from, &bits)).bits_as(work));
          uint64_t cast = builder.bits_of(builder.cast(x, result));
          if (is_floating(to)) cast = Scalar(from_bits(result, &cast)).bits_as(to);
          wanted.push_back(plain(to, cast));
        }
        Tensor x = stored(from, values, {int64_t(values.size())});
        EXPECT_EQ(computed(x.to(to)), wanted);
      }
  });
}

/// The rows on smooth points, as in op_gradient_test, computed by the runtime.
TEST(EveryOp, GradientsEqualThePlainLoops) {
  on_each_backend([] {
    for (const OpInfo& row : elementwise_ops()) {
      if (!row.gradient || row.name == "cast") continue;
      SCOPED_TRACE(row.name);
      auto inside = [](const Tensor& x) { return leaf(values(x * 0.2 + 0.5), x.shape()); };
      Tensor a = variable(inside(leaf_like({3, 5}, 1))), b = variable(inside(leaf_like({5}, 2)));
      Tensor y = apply_row(row, a, b);
      std::vector<Tensor> first =
          grad(sum(y * y), {a, b}, {.create_graph = true, .allow_unused = true});
      std::vector<Tensor> second =
          grad(sum(first[0] * first[0]), {a}, {.retain_graph = true, .allow_unused = true});
      std::vector<Tensor> all{first[0], first[1], second[0]};
      std::vector<Doubles> wanted;
      for (const Tensor& x : all) wanted.push_back(values(x));
      eval(all[0], all[1], all[2]);
      for (size_t i = 0; i < all.size(); ++i) {
        std::vector<double> found = all[i].to_vector<double>();
        for (size_t element = 0; element < found.size(); ++element)
          EXPECT_NEAR(found[element], wanted[i][element],
                      1e-12 * (1 + std::abs(wanted[i][element])))
              << "derivative " << i << ", element " << element;
      }
    }
  });
}

}  // namespace
}  // namespace encore
