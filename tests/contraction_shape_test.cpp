// What matmul and its relatives record: shapes, dtypes, gradients and refusals.
#include <encore/lazy/contraction.h>

#include "graph_oracle.h"

namespace encore {
namespace {

using namespace testing;

/// The shape of a @ b, and its values against a loop over broadcast positions.
void expect_product(Shape left, Shape right, Shape expected) {
  SCOPED_TRACE(left.text() + " @ " + right.text());
  Tensor a = leaf_like(left), b = leaf_like(right, 1), y = matmul(a, b);
  ASSERT_EQ(y.shape(), expected);
  Doubles x = values(a), w = values(b);
  Shape wide_left = left.rank() == 1 ? Shape{1, left[0]} : left;
  Shape wide_right = right.rank() == 1 ? Shape{right[0], 1} : right;
  Shape wide = expected;
  if (left.rank() == 1)
    wide = Shape(wide_right.span().first(wide_right.rank() - 2)), wide.push_back(1);
  if (left.rank() == 1 && right.rank() > 1) wide.push_back(right[right.rank() - 1]);
  if (right.rank() == 1) wide.push_back(1);
  int64_t inner = left[left.rank() - 1];
  Doubles sums;
  for_each(wide, [&](const Position& at) {
    Position from(at), to(at);
    double sum = 0;
    for (int64_t k = 0; k < inner; ++k) {
      from.back() = to[to.size() - 2] = k;
      sum += x[broadcast_offset(wide_left, from)] * w[broadcast_offset(wide_right, to)];
    }
    sums.push_back(sum);
  });
  expect_values(y, sums, 1e-12);
}

TEST(Matmul, ShapesAndValues) {
  expect_product({2, 3}, {3, 5}, {2, 5});
  expect_product({3}, {3}, {});
  expect_product({3}, {3, 4}, {4});
  expect_product({2, 3}, {3}, {2});
  expect_product({4, 2, 3}, {3, 5}, {4, 2, 5});
  expect_product({4, 2, 3}, {3}, {4, 2});
  expect_product({3}, {4, 3, 5}, {4, 5});
  expect_product({2, 3}, {4, 3, 5}, {4, 2, 5});
  expect_product({6, 1, 2, 3}, {4, 3, 5}, {6, 4, 2, 5});
  expect_product({1, 1}, {1, 1}, {1, 1});
  expect_product({4, 0}, {0, 4}, {4, 4});
  expect_product({0, 3}, {3, 2}, {0, 2});
  expect_product({2, 0, 3}, {3, 2}, {2, 0, 2});
}

TEST(Matmul, ManyRowsAreOneProduct) {
  Tensor y = matmul(leaf_like({4, 2, 3}), leaf_like({3, 5}));
  ASSERT_EQ(y.node()->op, OpId::reshape);
  EXPECT_EQ(y.node()->inputs[0]->shape, (Shape{8, 5}));
}

TEST(Matmul, DTypesPromote) {
  Tensor bytes = leaf<int8_t>({100, 100}, {1, 2}), whole = leaf<int32_t>({2, 3}, {2, 1});
  EXPECT_EQ(matmul(bytes, whole).dtype(), i32);
  expect_values(matmul(bytes, whole), {500});
  EXPECT_EQ(matmul(bytes, leaf<float>({1, 1}, {2})).dtype(), f32);
  EXPECT_EQ(matmul(leaf<BFloat16>({BFloat16(1)}, {1}), leaf<Half>({Half(1.0f)}, {1})).dtype(), f32);
}

TEST(Matmul, Refuses) {
  Tensor a = leaf_like({2, 3}), flags = a > 0;
  EXPECT_REFUSED(matmul(a, leaf_like({2, 3})), "[2, 3] and [2, 3]", "3 against 2");
  EXPECT_REFUSED(matmul(a, leaf_like({4})), "[2, 3]", "[4]");
  EXPECT_REFUSED(matmul(leaf_like({}), a), "[]", "no axes");
  EXPECT_REFUSED(matmul(leaf_like({3, 2, 3}), leaf_like({2, 3, 1})), "batch", "[3]", "[2]");
  EXPECT_REFUSED(matmul(flags, flags.transpose()), "bool");
}

TEST(Linear, IsTheProductWithTheTranspose) {
  Tensor x = leaf_like({2, 3, 4}), w = leaf_like({5, 4}, 1), bias = leaf_like({5}, 2);
  Tensor y = linear(x, w, bias);
  EXPECT_EQ(y.shape(), (Shape{2, 3, 5}));
  expect_values(y, values(matmul(x, w.transpose()) + bias), 1e-12);
  EXPECT_EQ(linear(leaf_like({4}), w).shape(), Shape{5});
  EXPECT_EQ(linear(leaf_like({0, 4}), w, bias).shape(), (Shape{0, 5}));
  EXPECT_EQ(y.node()->location.line, uint32_t(__LINE__ - 5));
  EXPECT_REFUSED(linear(leaf_like({2, 5}), w), "[2, 5]", "[5, 4]");
  EXPECT_REFUSED(linear(x, w, leaf_like({4})), "[5, 4]", "[4]");
  EXPECT_REFUSED(linear(x, leaf_like({4})), "[2, 3, 4]", "[4]");
}

TEST(Vectors, DotAndOuter) {
  Tensor a = leaf(Doubles{1, 2, 3}, {3}), b = leaf(Doubles{4, 5}, {2});
  expect_values(dot(a, a), {14});
  EXPECT_EQ(dot(a, a).rank(), 0);
  expect_values(outer(a, b), {4, 5, 8, 10, 12, 15});
  EXPECT_REFUSED(dot(a, b), "[3]", "[2]");
  EXPECT_REFUSED(dot(a, outer(a, b)), "dot", "[3]", "[3, 2]");
  EXPECT_REFUSED(outer(outer(a, b), b), "outer", "[3, 2]");
}

/// The sum over all letters, by a loop over their joint extents.
Doubles summed(const std::string& left, const std::string& right, const std::string& result,
               const Tensor& a, const Tensor& b) {
  std::string letters = result;
  for (char c : left + right)
    if (letters.find(c) == std::string::npos) letters.push_back(c);
  Shape all;
  for (char c : letters) {
    size_t at = left.find(c);
    all.push_back(at != std::string::npos ? a.shape()[int(at)] : b.shape()[int(right.find(c))]);
  }
  Shape shape(all.span().first(result.size()));
  Doubles sums(shape.numel()), x = values(a), y = values(b);
  auto at = [&](const std::string& names, const Position& place) {
    Position found;
    for (char c : names) found.push_back(place[letters.find(c)]);
    return found;
  };
  for_each(all, [&](const Position& place) {
    sums[offset(shape, at(result, place))] +=
        x[offset(a.shape(), at(left, place))] * y[offset(b.shape(), at(right, place))];
  });
  return sums;
}

TEST(Einsum, AgreesWithALoop) {
  std::vector<std::array<std::string, 3>> cases = {
      {"ij", "jk", "ik"}, {"ij", "jk", "ki"},   {"bij", "bjk", "bik"}, {"bqhd", "bkhd", "bhqk"},
      {"ij", "ij", ""},   {"ij", "ij", "ij"},   {"i", "j", "ij"},      {"ij", "kl", "lj"},
      {"ij", "j", "i"},   {"ijk", "jil", "kl"},
  };
  std::map<char, int64_t> extent = {{'b', 2}, {'d', 4}, {'h', 3}, {'i', 2},
                                    {'j', 3}, {'k', 4}, {'l', 2}, {'q', 5}};
  for (const auto& [left, right, result] : cases) {
    SCOPED_TRACE(left + "," + right + "->" + result);
    Shape first, second;
    for (char c : left) first.push_back(extent[c]);
    for (char c : right) second.push_back(extent[c]);
    Tensor a = leaf_like(first), b = leaf_like(second, 1);
    Tensor y = einsum(left + "," + right + "->" + result, {a, b});
    expect_values(y, summed(left, right, result, a, b), 1e-12);
  }
}

TEST(Einsum, OneOperandAndMany) {
  Tensor x = leaf(Doubles{1, 2, 3, 4, 5, 6}, {2, 3});
  expect_values(einsum("ij->j", {x}), {5, 7, 9});
  expect_values(einsum("ij -> ji", {x}), {1, 4, 2, 5, 3, 6});
  expect_values(einsum("ba", {x}), {1, 4, 2, 5, 3, 6});
  expect_values(einsum("ij,jk,k", {x, x.transpose(), leaf(Doubles{1, -1}, {2})}),
                {14 - 32, 32 - 77});
  expect_gradients([](auto& v) { return einsum("ij,jk,k->i", {v[0], v[1], v[2]}); },
                   {leaf_like({2, 3}), leaf_like({3, 2}, 1), leaf_like({2}, 2)});
}

TEST(Einsum, Refuses) {
  Tensor x = leaf_like({2, 3});
  EXPECT_REFUSED(einsum("ij,jk", {x}), "2 operands", "1 are given");
  EXPECT_REFUSED(einsum("ijk", {x}), "3 axes", "[2, 3]");
  EXPECT_REFUSED(einsum("ii", {x}), "'i' occurs twice");
  EXPECT_REFUSED(einsum("ij,jk->ik", {x, x}), "'j' is 3 and 2");
  EXPECT_REFUSED(einsum("ij->k", {x}), "'k' in the result");
  EXPECT_REFUSED(einsum("ij->ii", {x}), "'i' in the result");
  EXPECT_REFUSED(einsum("iJ", {x}), "'J'");
}

TEST(MatmulGradient, AgreesWithDifferences) {
  std::vector<std::pair<Shape, Shape>> shapes = {
      {{2, 3}, {3, 2}},       {{3}, {3}},       {{3}, {3, 2}},       {{2, 3}, {3}},
      {{2, 2, 3}, {3, 2}},    {{3}, {2, 3, 2}}, {{2, 3}, {2, 3, 1}}, {{2, 1, 1, 3}, {2, 3, 2}},
      {{2, 1, 3}, {1, 3, 2}},
  };
  for (const auto& [left, right] : shapes) {
    SCOPED_TRACE(left.text() + " @ " + right.text());
    expect_gradients([](auto& v) { return matmul(v[0], v[1]); },
                     {leaf_like(left), leaf_like(right, 1)});
  }
  expect_gradients([](auto& v) { return linear(v[0], v[1], v[2]); },
                   {leaf_like({2, 2, 3}), leaf_like({4, 3}, 1), leaf_like({4}, 2)});
}

TEST(MatmulGradient, OfAnEmptyInnerAxis) {
  Tensor a = variable(leaf_like({4, 0})), b = variable(leaf_like({0, 4}));
  std::vector<Tensor> gradients = grad(matmul(a, b).sum(), {a, b});
  EXPECT_EQ(gradients[0].shape(), (Shape{4, 0}));
  EXPECT_EQ(gradients[1].shape(), (Shape{0, 4}));
}

}  // namespace
}  // namespace encore
