// Is input that makes no sense refused at its line, and never turned into wrong numbers?
#include <encore/encore.h>
#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "error_of.h"

namespace encore {
namespace {

using testing::error_of;
using ::testing::HasSubstr;

constexpr int64_t huge = std::numeric_limits<int64_t>::max();
constexpr int64_t large = int64_t(1) << 40;  // its square is no extent

// The expression throws at this very line, with `text` in the message.
#define EXPECT_REFUSED(expression, text)                               \
  do {                                                                 \
    Error error = error_of([&] { (void)(expression); });               \
    EXPECT_THAT(error.message(), HasSubstr(text));                     \
    EXPECT_THAT(error.where().file, HasSubstr("bad_input_test.cpp"));  \
    EXPECT_EQ(error.where().line, uint32_t(__LINE__)) << error.what(); \
    EXPECT_NE(error.advice(), "") << error.what();                     \
  } while (false)

TEST(BadInput, TensorsWithMoreElementsThanCanBeCounted) {
  Tensor row = ones({1, large}), column = ones({large, 1}), four = arange(0, 4);
  EXPECT_REFUSED(zeros({large, large}), "too many");
  EXPECT_REFUSED(zeros({large, 0, large}), "too many");
  EXPECT_REFUSED(rand({large, large}), "too many");
  EXPECT_REFUSED(iota({large, large}, 0), "too many");
  EXPECT_REFUSED(row + column, "[1099511627776, 1099511627776]");
  EXPECT_REFUSED(matmul(column, row), "too many");
  EXPECT_REFUSED(expand(row, {large, large}), "too many");
  EXPECT_REFUSED(pad(four, {huge}, {huge}), "too many");
  EXPECT_REFUSED(repeat(four, {huge}), "too many");
  EXPECT_REFUSED(repeat(zeros({3, 0}), {huge, 1}), "too many");
  EXPECT_REFUSED(repeat_interleave(four, huge, 0), "too many");
  EXPECT_REFUSED(one_hot(four, huge), "too many");
  EXPECT_REFUSED(reshape(zeros({0}), {large, large, -1}), "too many");
  EXPECT_REFUSED(from_vector(std::vector<float>{}, {large, large >> 16}), "too many");
  EXPECT_REFUSED(from_blob(&row, f32, {large, large}), "too many");
  EXPECT_EQ(expand(ones({1}), {large}).numel(), large);  // nothing of it is stored
}

TEST(BadInput, BoundsThatOverflow) {
  Tensor four = arange(0, 4);
  EXPECT_REFUSED(narrow(four, 0, 3, huge), "narrow");
  EXPECT_REFUSED(split(four, {huge, huge, 6}), "split");
  EXPECT_EQ(chunk(four, huge).size(), 4u);
  EXPECT_EQ(split(four, huge).size(), 1u);
}

TEST(BadInput, RangesWithoutEnd) {
  EXPECT_REFUSED(linspace(0, 1, -1), "linspace: -1");
  EXPECT_REFUSED(eye(-1), "negative extent");
  EXPECT_REFUSED(arange(0.0, INFINITY), "not finite");
  EXPECT_REFUSED(arange(0.0, NAN), "not finite");
  EXPECT_REFUSED(arange(0, 4, 0), "step is zero");
  EXPECT_REFUSED(arange(-huge, huge), "too many");
  EXPECT_REFUSED(arange(0.0, 1.0, 1e-300), "too many");
  constexpr int64_t start = int64_t(1) << 53;  // from here on doubles are even
  EXPECT_EQ(arange(start, start + 3).to_vector<int64_t>(),
            (std::vector<int64_t>{start, start + 1, start + 2}));
  EXPECT_EQ(arange(7, 0, -3).to_vector<int64_t>(), (std::vector<int64_t>{7, 4, 1}));
  EXPECT_EQ(arange(0, 7, 3).to_vector<int64_t>(), (std::vector<int64_t>{0, 3, 6}));
  EXPECT_EQ(arange(0, 6, 3).to_vector<int64_t>(), (std::vector<int64_t>{0, 3}));
  EXPECT_EQ(arange(3, 0).numel(), 0);
}

TEST(BadInput, RandomIntegersThatTheDtypeDoesNotHold) {
  EXPECT_REFUSED(randint(0, 257, {4}, {.dtype = u8}), "do not fit into u8");
  EXPECT_REFUSED(randint(-1, 4, {4}, {.dtype = u64}), "-1 to 3");
  EXPECT_REFUSED(randint(-129, 0, {4}, {.dtype = i8}), "i8");
  EXPECT_REFUSED(randint(0, 3, {4}, {.dtype = boolean}), "bool");
  EXPECT_NO_THROW(randint(0, 256, {4}, {.dtype = u8}));
  EXPECT_NO_THROW(randint(-128, 128, {4}, {.dtype = i8}));
  EXPECT_NO_THROW(randint(0, 2, {4}, {.dtype = boolean}));
  EXPECT_NO_THROW(randint(0, huge, {4}, {.dtype = u64}));
  EXPECT_NO_THROW(randint(-huge, huge, {4}));
  EXPECT_NO_THROW(randint(0, 100, {4}, {.dtype = f16}));
}

TEST(BadInput, EmptyTensorsAndNullPointers) {
  Tensor empty, two = ones({2});
  EXPECT_THAT(error_of([&] { two + empty; }).message(), HasSubstr("an empty Tensor"));
  EXPECT_REFUSED(empty.item<float>(), "an empty Tensor");
  EXPECT_REFUSED(empty.to_vector<float>(), "an empty Tensor");
  EXPECT_REFUSED(empty.to(f16), "an empty Tensor");
  EXPECT_REFUSED(empty.to(cpu), "an empty Tensor");
  EXPECT_REFUSED(from_blob(nullptr, f32, {4}), "[4]");
  EXPECT_EQ(from_blob(nullptr, f32, {0}).to_vector<float>().size(), 0u);
}

TEST(BadInput, CompiledFunctionsThatReturnNothing) {
  auto nothing = compile([](const Tensor&) { return Tensor(); });
  for (int call = 0; call < 2; ++call)
    EXPECT_THAT(error_of([&] { nothing(ones({2})); }).message(), HasSubstr("returned an empty"));
}

TEST(BadInput, OutputGradientsOfAnotherShape) {
  auto square = [](const Tensor& x) { return x * x; };
  auto [value, pull] = vjp(square, ones({3}));
  EXPECT_REFUSED(pull(ones({4})), "[4] for an output of shape [3]");
  EXPECT_REFUSED(pull(ones({1})), "[1] for an output of shape [3]");
  EXPECT_REFUSED(jvp(square, ones({3}), ones({4})), "[4]");
  EXPECT_EQ(pull(ones({3})).to_vector<float>(), (std::vector<float>{2, 2, 2}));
}

TEST(BadInput, ModulesOfIntegers) {
  Linear layer(2, 2);
  EXPECT_REFUSED(layer.to(i32), "i32");
  EXPECT_EQ(layer.weight.dtype(), f32);
}

TEST(BadInput, AxesOfSoftmaxAreNamedAsItsOwn) {
  EXPECT_REFUSED(softmax(ones({2}), 3), "softmax: axis 3");
  EXPECT_REFUSED(log_softmax(ones({2}), -2), "log_softmax: axis -2");
}

TEST(BadInput, SmoothingBeyondOne) {
  Tensor logits = zeros({2, 3}), labels = arange(0, 2);
  EXPECT_REFUSED(cross_entropy(logits, labels, {.label_smoothing = 2}), "label smoothing of 2");
  EXPECT_REFUSED(cross_entropy(logits, labels, {.label_smoothing = NAN}), "nan");
}

TEST(BadInput, OptimizersOptions) {
  Parameter p(ones({3}));
  EXPECT_REFUSED(Sgd({p}, {.lr = -1}), "the learning rate is -1");
  EXPECT_REFUSED(Adam({p}, {.lr = NAN}), "nan");
  EXPECT_REFUSED(Adam({p}, {.lr = INFINITY}), "inf");
  EXPECT_REFUSED(Adam({p}, {.beta1 = 1}), "beta");
  EXPECT_REFUSED(AdamW({p}, {.beta2 = -0.1}), "beta");
  EXPECT_REFUSED(Adam({p}, {.eps = -1}), "eps");
  EXPECT_REFUSED(AdamW({p}, {.weight_decay = -1}), "weight decay");
  EXPECT_REFUSED(Sgd({p}, {.momentum = -0.9}), "momentum");
  EXPECT_REFUSED(Sgd({p}, {.dampening = NAN}), "dampening");
  EXPECT_NO_THROW(Sgd({p}, {.lr = 0}));
}

TEST(BadInput, OptimizersParameters) {
  Parameter p(ones({3})), empty;
  EXPECT_REFUSED(Sgd({p, empty}), "Sgd: a parameter is empty");
  p.set_name("fc.weight");
  EXPECT_REFUSED(Sgd({p, p}), "parameter fc.weight is given twice");
}

TEST(BadInput, BoundsOnGradients) {
  Parameter p(ones({3}));
  (p * p).sum().backward();
  EXPECT_REFUSED(clip_grad_norm_({p}, -1), "bound of -1");
  EXPECT_REFUSED(clip_grad_norm_({p}, NAN), "bound of nan");
  EXPECT_REFUSED(clip_grad_value_({p}, -1), "bound of -1");
  EXPECT_EQ(p.grad().to_vector<float>(), (std::vector<float>{2, 2, 2}));  // untouched
}

TEST(BadInput, SchedulesWithoutSteps) {
  EXPECT_REFUSED(step_decay({.every = 0}), "step_decay: 0 steps");
  EXPECT_REFUSED(cosine_annealing({.steps = 0}), "cosine_annealing: 0 steps");
  EXPECT_REFUSED(linear_warmup({.steps = -1}), "linear_warmup: -1 steps");
  EXPECT_REFUSED(one_cycle({.steps = 0}), "one_cycle: 0 steps");
  EXPECT_REFUSED(one_cycle_momentum({.steps = 0}), "one_cycle: 0 steps");
}

struct OfSize : Dataset {
  explicit OfSize(int64_t size) : size_(size) {}
  int64_t size() const override { return size_; }
  Batch batch(std::span<const int64_t> positions) const override {
    return {ones({int64_t(positions.size())})};
  }
  int64_t size_;
};

TEST(BadInput, DataSetsAndTheirPositions) {
  OfSize negative(-5), five(5);
  DataLoader broken(negative), all(five, {.batch_size = huge});
  EXPECT_THAT(error_of([&] { broken.begin(); }).message(), HasSubstr("size -5"));
  EXPECT_EQ(all.size(), 1);
  for (const Batch& batch : all) EXPECT_EQ(batch[0].numel(), 5);
  ArrayDataset rows({{f32, {3}, std::vector<std::byte>(12)}});
  for (int64_t position : {int64_t(-1), int64_t(3), huge}) {
    std::vector<int64_t> positions{0, position};
    EXPECT_THAT(error_of([&] { rows.batch(positions); }).message(), HasSubstr("of 3"));
  }
}

}  // namespace
}  // namespace encore
