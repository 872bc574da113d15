// Does every mistake throw where the user made it, with both shapes in the message?
#include <encore/encore.h>
#include <gmock/gmock.h>

#include <sstream>

#include "error_of.h"

namespace encore {
namespace {

using ::testing::AllOf;
using testing::error_of;
using ::testing::HasSubstr;

// The error of `expression`, which must carry this very line and file.
#define ERROR_HERE(expression)                                             \
  ([&] {                                                                   \
    Error error = error_of([&] { (void)(expression); });                   \
    EXPECT_EQ(error.where().line, uint32_t(__LINE__)) << error.what();     \
    EXPECT_THAT(error.where().file, HasSubstr("error_location_test.cpp")); \
    EXPECT_THAT(error.what(), HasSubstr("error_location_test.cpp:"));      \
    return error.message();                                                \
  }())

class ErrorLocation : public ::testing::Test {
 protected:
  Tensor a = ones({2, 3}), b = ones({4, 5}), i = from_vector<int32_t>({1, 2, 3});
};

auto both(const char* first, const char* second) {
  return AllOf(HasSubstr(first), HasSubstr(second));
}

TEST_F(ErrorLocation, Broadcasting) {
  EXPECT_THAT(ERROR_HERE(a + b), both("[2, 3]", "[4, 5]"));
  EXPECT_THAT(ERROR_HERE(a < b), both("[2, 3]", "[4, 5]"));
  EXPECT_THAT(ERROR_HERE(maximum(a, b)), both("[2, 3]", "[4, 5]"));
  EXPECT_THAT(ERROR_HERE(where(a > 0.0, a, b)), both("[2, 3]", "[4, 5]"));
  EXPECT_THAT(ERROR_HERE(a.expand({4, 4})), both("[2, 3]", "[4, 4]"));
}

TEST_F(ErrorLocation, EmptyTensors) {
  Tensor none;
  std::ostringstream text;
  EXPECT_THAT(ERROR_HERE(none + 1), HasSubstr("empty Tensor"));
  EXPECT_THAT(ERROR_HERE(a * none), HasSubstr("empty Tensor"));
  EXPECT_THAT(ERROR_HERE(-none), HasSubstr("empty Tensor"));
  EXPECT_THAT(ERROR_HERE(a += none), HasSubstr("empty Tensor"));
  EXPECT_THAT(ERROR_HERE(softmax(none)), HasSubstr("empty Tensor"));
  EXPECT_THAT(ERROR_HERE(none.shape()), HasSubstr("empty Tensor"));
  EXPECT_THAT(ERROR_HERE(none.dtype()), HasSubstr("empty Tensor"));
  EXPECT_THAT(ERROR_HERE(none.sum()), HasSubstr("empty Tensor"));
  EXPECT_THAT(ERROR_HERE(argmax(none)), HasSubstr("empty Tensor"));
  EXPECT_THAT(ERROR_HERE(var(none)), HasSubstr("empty Tensor"));
  EXPECT_THAT(ERROR_HERE(none.reshape({1})), HasSubstr("empty Tensor"));
  EXPECT_THAT(ERROR_HERE(none.transpose()), HasSubstr("empty Tensor"));
  EXPECT_THAT(ERROR_HERE((none[{0}])), HasSubstr("empty Tensor"));
  EXPECT_THAT(ERROR_HERE((none[{0}] = a)), HasSubstr("empty Tensor"));
  EXPECT_THAT(ERROR_HERE(concat({a, none})), HasSubstr("empty Tensor"));
  EXPECT_THAT(ERROR_HERE(split(none, 1)), HasSubstr("empty Tensor"));
  EXPECT_THAT(ERROR_HERE(take(a, none)), HasSubstr("empty Tensor"));
  EXPECT_THAT(ERROR_HERE(matmul(none, a)), HasSubstr("empty Tensor"));
  EXPECT_THAT(ERROR_HERE(einsum("ij", {none})), HasSubstr("empty Tensor"));
  EXPECT_THAT(ERROR_HERE(none.backward()), HasSubstr("empty Tensor"));
  EXPECT_THAT(ERROR_HERE(none.item<float>()), HasSubstr("empty Tensor"));
  EXPECT_THAT(ERROR_HERE(text << none), HasSubstr("empty Tensor"));
  EXPECT_THAT(ERROR_HERE(dump(none)), HasSubstr("empty Tensor"));
}

TEST_F(ErrorLocation, MoreThanEightAxes) {
  Tensor deep = ones({1, 2, 1, 1, 1, 1, 1, 1}), five = ones({1, 1, 1, 1, 1});
  EXPECT_THAT(ERROR_HERE(zeros({1, 1, 1, 1, 1, 1, 1, 1, 1})), HasSubstr("9 axes"));
  EXPECT_THAT(ERROR_HERE(deep.reshape({1, 1, 1, 1, 1, 1, 1, 1, 2})), HasSubstr("9 axes"));
  EXPECT_THAT(ERROR_HERE(deep.unsqueeze(0)), HasSubstr("9 axes"));
  EXPECT_THAT(ERROR_HERE(stack({deep, deep})), HasSubstr("9 axes"));
  EXPECT_THAT(ERROR_HERE(einsum("abcde,fghij->abcdefghij", {five, five})), HasSubstr("9 axes"));
  EXPECT_THAT(ERROR_HERE(group_norm(deep, 2)), HasSubstr("9 axes"));
}

TEST_F(ErrorLocation, CompiledFunctions) {
  auto plus = compile([](const Tensor& x) { return x + 1; });
  auto empty = compile([](const Tensor&, const Tensor&) { return Tensor(); });
  auto nothing = compile([] { return Tensor(); });
  EXPECT_THAT(ERROR_HERE(plus(Tensor())), HasSubstr("empty Tensor"));
  EXPECT_THAT(ERROR_HERE(plus(variable(a))), HasSubstr("gradient"));
  EXPECT_THAT(ERROR_HERE(empty(a, 0.5)), HasSubstr("empty Tensor"));
  EXPECT_THAT(ERROR_HERE(nothing()), HasSubstr("empty Tensor"));
}

TEST_F(ErrorLocation, CompoundAssignment) {
  EXPECT_THAT(ERROR_HERE(a += b), both("[2, 3]", "[4, 5]"));
  EXPECT_EQ(a.shape(), (Shape{2, 3}));
  EXPECT_EQ(a.to_vector<float>(), std::vector<float>(6, 1));  // untouched
}

TEST_F(ErrorLocation, Products) {
  EXPECT_THAT(ERROR_HERE(matmul(a, b)), both("[2, 3]", "[4, 5]"));
  EXPECT_THAT(ERROR_HERE(matmul(a, ones({7}))), both("[2, 3]", "[7]"));
  EXPECT_THAT(ERROR_HERE(linear(a, b)), both("[2, 3]", "[4, 5]"));
  EXPECT_THAT(ERROR_HERE(einsum("ij,jk->ik", {a, b})), HasSubstr("3"));
}

TEST_F(ErrorLocation, Movement) {
  EXPECT_THAT(ERROR_HERE(a.reshape({4, 2})), both("[2, 3]", "[4, 2]"));
  EXPECT_THAT(ERROR_HERE(a.permute({0, 0})), HasSubstr("permute"));
  EXPECT_THAT(ERROR_HERE(a.squeeze({1})), HasSubstr("[2, 3]"));
  EXPECT_THAT(ERROR_HERE(concat({a, b}, 0)), both("[2, 3]", "[4, 5]"));
  EXPECT_THAT(ERROR_HERE(stack({a, b})), both("[2, 3]", "[4, 5]"));
  EXPECT_THAT(ERROR_HERE(split(a, {1, 4}, 1)), HasSubstr("3"));
  EXPECT_THAT(ERROR_HERE(pad(a, {-1, 0}, {0, 0})), HasSubstr("pad"));
}

TEST_F(ErrorLocation, Axes) {
  EXPECT_THAT(ERROR_HERE(a.sum({2})), HasSubstr("2"));
  EXPECT_THAT(ERROR_HERE(a.max({0, 0})), HasSubstr("0"));
  EXPECT_THAT(ERROR_HERE(softmax(a, 5)), HasSubstr("5"));
  EXPECT_THAT(ERROR_HERE(a.transpose(0, 3)), HasSubstr("3"));
  EXPECT_THAT(ERROR_HERE(ones({0, 3}).max({0})), HasSubstr("max"));
}

TEST_F(ErrorLocation, Indexing) {
  EXPECT_THAT(ERROR_HERE((a[{2, 0}])), HasSubstr("2"));
  EXPECT_THAT(ERROR_HERE((a[{0, 0, 0}])), HasSubstr("3"));
  EXPECT_THAT(ERROR_HERE((a[{Slice{0, 1}}] = b)), both("[1, 3]", "[4, 5]"));
  EXPECT_THAT(ERROR_HERE(take(a, a, 0)), HasSubstr("f32"));
  EXPECT_THAT(ERROR_HERE(index_add(a, i, b, 0)), both("[3, 3]", "[4, 5]"));
}

TEST_F(ErrorLocation, DTypes) {
  EXPECT_THAT(ERROR_HERE(a & a), HasSubstr("f32"));
  EXPECT_THAT(ERROR_HERE(-(a > 0.0)), HasSubstr("bool"));
}

TEST_F(ErrorLocation, Devices) {
  EXPECT_FALSE(ERROR_HERE(ones({2}, {.device = cuda(7)})).empty());
  EXPECT_FALSE(ERROR_HERE(a.to(cuda(7))).empty());
}

TEST_F(ErrorLocation, CompositesNameTheirCallersLine) {
  EXPECT_THAT(ERROR_HERE(layer_norm(a, {4})), both("[2, 3]", "[4]"));
  EXPECT_THAT(ERROR_HERE(cross_entropy(a, i)), both("[2, 3]", "[3]"));
  EXPECT_THAT(ERROR_HERE(mse_loss(a, b)), both("[2, 3]", "[4, 5]"));
}

TEST_F(ErrorLocation, ModulesNameTheirCallersLine) {
  Linear fc(4, 2);
  EXPECT_THAT(ERROR_HERE(fc(a)), both("[2, 3]", "4"));
}

TEST_F(ErrorLocation, Values) {
  EXPECT_THAT(ERROR_HERE(a.item<float>()), HasSubstr("[2, 3]"));
  EXPECT_THAT(ERROR_HERE(from_vector<float>({1, 2, 3}, {2, 2})), HasSubstr("[2, 2]"));
  EXPECT_THAT(ERROR_HERE(zeros({-1})), HasSubstr("[-1]"));
}

TEST_F(ErrorLocation, Gradients) {
  EXPECT_THAT(ERROR_HERE(backward(a)), HasSubstr("[2, 3]"));
  EXPECT_THAT(ERROR_HERE(backward(a.sum())), HasSubstr("gradient"));
  Parameter p(ones({2}));
  Tensor loss = (p * p).sum();
  backward(loss);
  EXPECT_THAT(ERROR_HERE(backward(loss)), HasSubstr("consumed"));
}

TEST_F(ErrorLocation, NothingIsLeftPendingByAMistake) {
  size_t pending = pending_list().size();
  for (int k = 0; k < 10; ++k) EXPECT_THROW(a + b, Error);
  EXPECT_EQ(pending_list().size(), pending);
}

}  // namespace
}  // namespace encore
