// Is every cause of a recompile named rightly: the reason, the user's line, the nearest trace?
//
// Each test runs one program twice, with one cause injected in between.
#include <encore/encore.h>
#include <encore/trace/known_trace.h>
#include <encore/trace/runtime.h>
#include <gmock/gmock.h>

#include "told_misses.h"

namespace encore {
namespace {

using ::testing::HasSubstr;

class MissReasons : public ::testing::Test {
 protected:
  void SetUp() override { runtime_.clear_caches(); }
  void TearDown() override {
    settings() = before_;
    runtime_.clear_caches();
  }

  /// One known trace before, one unknown trace after; what is told of the latter.
  template <class Run>
  Told second(Run&& first_run, Run&& second_run) {
    Told first = only_miss_of(first_run);
    known_ = first.key;
    return only_miss_of(second_run);
  }
  void expect(const Told& told, std::string_view reason, uint32_t line) {
    expect_named(told, reason, line);
    EXPECT_EQ(told.nearest, known_) << told.text;
  }
  /// Runs `program(before)`, then `program(after)`; what is told of the latter.
  template <class Program, class Value>
  std::string inject(Program&& program, Value before, Value after, std::string_view reason,
                     const uint32_t& line) {
    std::function<void()> first = [&] { program(before); }, then = [&] { program(after); };
    Told told = second(first, then);
    expect(told, reason, line);
    EXPECT_EQ(misses_of([&] { program(before), program(after); }).size(), 0u);
    return told.text;
  }

  trace::Runtime& runtime_ = trace::runtime();
  Settings before_ = settings();
  std::string known_;
};

TEST_F(MissReasons, AnotherLength) {
  uint32_t line = 0;
  Tensor weight = data({16, 4});
  auto encode = [&](int64_t length) {
    Tensor tokens = data({8, length, 16});
    line = __LINE__ - 1;
    tanh(matmul(tokens, weight.expand({8, 16, 4}))).sum().item<float>();
  };
  inject(encode, 12, 20, "shape", line);
}

TEST_F(MissReasons, AFactorysShape) {
  uint32_t line = 0;
  auto noise = [&](int64_t n) {
    Tensor x = ones({n, 3});
    line = __LINE__ - 1;
    (x * 2.0 + 1.0).sum().item<float>();
  };
  inject(noise, 5, 9, "shape", line);
}

TEST_F(MissReasons, AShortLastBatch) {
  uint32_t line = 0;
  Linear layer(6, 3);
  auto evaluate = [&](int64_t rows) {
    NoGrad no_grad;
    Tensor batch = data({rows, 6});
    line = __LINE__ - 1;
    layer(batch).argmax(1).to_vector<int64_t>();
  };
  evaluate(2);  // also makes the weights
  runtime_.clear_caches();
  Told warm = only_miss_of([&] { evaluate(64); });
  known_ = warm.key;
  expect(only_miss_of([&] { evaluate(17); }), "short_batch", line);
}

TEST_F(MissReasons, AnotherDtype) {
  uint32_t line = 0;
  auto count = [&](bool bytes) {
    Tensor x = bytes ? from_vector<uint8_t>({1, 2, 3}) : from_vector<int32_t>({1, 2, 3});
    line = __LINE__ - 1;
    (x + x).sum().item<int64_t>();
  };
  inject(count, false, true, "dtype", line);
}

TEST_F(MissReasons, AnotherCast) {
  uint32_t line = 0;
  Tensor x = data({4, 4});
  auto scale = [&](DType dtype) {
    Tensor y = x.to(dtype);
    line = __LINE__ - 1;
    (y * 0.5).sum().item<float>();
  };
  inject(scale, DType::bf16, DType::f16, "dtype", line);
}

TEST_F(MissReasons, AnotherActivation) {
  uint32_t line = 0;
  Linear first(4, 8), second(8, 1);
  Tensor x = data({3, 4});
  auto predict = [&](bool smooth) {
    Tensor h = first(x);
    h = smooth ? tanh(h) : sqrt(h);
    line = __LINE__ - 1;
    second(h).sum().item<float>();
  };
  NoGrad no_grad;
  predict(true);
  runtime_.clear_caches();
  inject(predict, true, false, "op", line);
}

TEST_F(MissReasons, AFloatingExponent) {
  uint32_t line = 0;
  Tensor x = data({7});
  auto energy = [&](bool floating) {
    Tensor y = floating ? pow(x, 2.0) : pow(x, 2);
    line = __LINE__ - 1;
    y.sum().item<float>();
  };
  inject(energy, false, true, "scalar_kind", line);
}

TEST_F(MissReasons, ANumberOfAnotherKind) {
  uint32_t line = 0;
  Tensor counts = from_vector<int32_t>({1, 2, 3});
  auto scaled = [&](bool floating) {
    Tensor y = floating ? counts * 2.0 : counts * 2;
    line = __LINE__ - 1;
    y.sum().item<float>();
  };
  inject(scaled, false, true, "scalar_kind", line);
}

TEST_F(MissReasons, ChosenNumbersOfAnotherKind) {
  uint32_t line = 0;
  Tensor x = data({5});
  auto mask = [&](bool floating) {
    Tensor y = floating ? where(x > 0, 1.0, 0.0) : where(x > 0, 1, 0);
    line = __LINE__ - 1;
    eval(y);
  };
  inject(mask, false, true, "scalar_kind", line);
}

TEST_F(MissReasons, AnIntegerExponent) {
  uint32_t line = 0;
  Tensor x = data({7});
  auto moment = [&](int order) {
    Tensor y = pow(x, order);
    line = __LINE__ - 1;
    y.sum().item<float>();
  };
  inject(moment, 2, 3, "attribute", line);
}

TEST_F(MissReasons, AnotherAxis) {
  uint32_t line = 0;
  Tensor x = data({6, 6});
  auto norm_along = [&](int64_t axis) {
    Tensor y = (x * x).sum({axis});
    line = __LINE__ - 1;
    sqrt(y).to_vector<float>();
  };
  inject(norm_along, int64_t(0), int64_t(1), "attribute", line);
}

TEST_F(MissReasons, OtherBoundsOfASlice) {
  uint32_t line = 0;
  Tensor series = data({40});
  auto window = [&](int64_t start) {
    Tensor part = series[{Slice{start, start + 8}}];
    line = __LINE__ - 1;
    (part * 2.0).sum().item<float>();
  };
  inject(window, int64_t(0), int64_t(8), "attribute", line);
}

TEST_F(MissReasons, MorePartsToJoin) {
  uint32_t line = 0;
  auto stacked = [&](size_t count) {
    std::vector<Tensor> parts(count, data({2, 3}));
    Tensor all = concat(parts);
    line = __LINE__ - 1;
    exp(all).sum().item<float>();
  };
  inject(stacked, size_t(3), size_t(4), "input_count", line);
}

TEST_F(MissReasons, AConstantOfTheProgram) {
  uint32_t line = 0;
  Tensor x = data({4, 8});
  auto normalized = [&](double eps) {
    Tensor y = x / (norm(x, {1}, true) + lit(eps));
    line = __LINE__ - 1;
    y.sum().item<float>();
  };
  inject(normalized, 1e-12, 1e-6, "constant", line);
}

TEST_F(MissReasons, InputsThatAreOneValue) {
  uint32_t line = 0;
  Tensor a = data({9}), b = data({9});
  auto distance = [&](const Tensor& other) {
    Tensor d = a - other * 2.0;
    line = __LINE__ - 1;
    (d * d).sum().item<float>();
  };
  inject(distance, b, a, "alias", line);
}

TEST_F(MissReasons, AnotherValueOfTheTrace) {
  uint32_t line = 0;
  Tensor x = data({9});
  auto residual = [&](bool from_second) {
    Tensor first = exp(x), second = tanh(first);
    Tensor y = sin(second) * (from_second ? second : first);
    line = __LINE__ - 1;
    y.sum().item<float>();
  };
  inject(residual, false, true, "wiring", line);
}

TEST_F(MissReasons, AnOpMore) {
  uint32_t line = 0;
  Tensor x = data({12});
  auto step = [&](bool clipped) {
    Tensor y = exp(x * 3.0);
    if (clipped) y = minimum(y, 1.0);
    line = __LINE__ - 1;
    (y + 1.0).sum().item<float>();
  };
  inject(step, false, true, "added", line);
}

TEST_F(MissReasons, AnOpLess) {
  uint32_t line = 0;
  Tensor x = data({12});
  auto step = [&](bool clipped) {
    Tensor y = sqrt(x * 3.0);
    if (clipped) y = minimum(y, 1.0);
    line = __LINE__ - 1;
    (y + 1.0).sum().item<float>();
  };
  inject(step, true, false, "removed", line);
}

TEST_F(MissReasons, AnotherOrder) {
  uint32_t line = 0;
  Tensor x = data({12});
  auto heads = [&](bool swapped) {
    Tensor parts[2];
    for (int i = 0; i < 2; ++i) {
      bool sine = (i == 0) != swapped;
      parts[sine] = sine ? sin(x) : cos(x);
      line = __LINE__ - 1;
    }
    (parts[0] * parts[1]).sum().item<float>();
  };
  inject(heads, false, true, "order", line);
}

TEST_F(MissReasons, MoreRounds) {
  uint32_t line = 0;
  Tensor w = data({4, 4}), x = data({2, 4});
  auto recurrent = [&](int steps) {
    Tensor h = x;
    for (int i = 0; i < steps; ++i) h = tanh(matmul(h, w));
    line = __LINE__ - 1;
    h.sum().item<float>();
  };
  inject(recurrent, 3, 5, "loop_count", line);
}

TEST_F(MissReasons, AnExtraHandle) {
  uint32_t line = 0;
  Tensor x = data({5, 4}), w = data({4, 4});
  auto predict = [&](bool look_inside) {
    std::vector<Tensor> seen;
    Tensor h = exp(matmul(x, w));
    line = __LINE__ - 1;
    if (look_inside) seen.push_back(h);
    Tensor y = std::move(h) * 2.0;
    eval(y);
  };
  inject(predict, false, true, "output_set", line);
}

TEST_F(MissReasons, AHeldCopyPreventsDonation) {
  uint32_t line = 0;
  auto train = [&](bool keep) {
    Tensor state = data({64});
    line = __LINE__ - 1;
    Tensor copy = keep ? state : Tensor();
    state = state * 0.5 + 1.0;
    eval(state);
  };
  EXPECT_THAT(inject(train, false, true, "donation", line), HasSubstr("a handle holds it"));
}

TEST_F(MissReasons, MemoryOfTheProgramIsNotDonated) {
  uint32_t line = 0;
  std::vector<float> memory(64, 1);
  auto train = [&](bool foreign) {
    Tensor state;
    if (foreign)
      state = from_blob(memory.data(), f32, {64});
    else
      state = data({64}, cpu);  // where memory of the program is
    line = __LINE__ - (foreign ? 3 : 1);
    state = tanh(state);
    eval(state);
  };
  EXPECT_THAT(inject(train, false, true, "donation", line),
              HasSubstr("its memory is the program's own"));
}

TEST_F(MissReasons, AnotherKindOfSync) {
  uint32_t line = 0;
  auto ask = [&](bool step) {
    Tensor x = data({32});
    line = __LINE__ - 1;
    Tensor y = exp(std::move(x)) * 2.0;
    if (step) eval(y);
    y.to_vector<float>();
  };
  inject(ask, false, true, "sync_kind", line);
}

TEST_F(MissReasons, ValuesSavedForGradients) {
  uint32_t line = 0;
  Parameter w(data({4, 4}));
  Tensor x = data({3, 4});
  auto loss = [&](bool gradient) {
    std::optional<NoGrad> no_grad;
    if (!gradient) no_grad.emplace();
    Tensor y = tanh(matmul(x, w));
    line = __LINE__ - 1;
    Tensor total = y.sum();
    y = Tensor();
    total.item<float>();
  };
  inject(loss, false, true, "saved_set", line);
}

TEST_F(MissReasons, AReadInTheMiddle) {
  uint32_t line = 0;
  Tensor x = data({3, 4});
  auto step = [&](bool log) {
    Tensor h = exp(x * 2.0);
    line = __LINE__ - 1;
    if (log) h.to_vector<float>();
    tanh(h + 1.0).sum().item<float>();
  };
  std::vector<Told> plain = misses_of([&] { step(false); });
  known_ = plain.at(0).key;
  std::vector<Told> logged = misses_of([&] { step(true); });
  ASSERT_EQ(logged.size(), 2u);  // the read, and what is left
  expect_named(logged[0], "part", line + 2);
  expect(logged[1], "stored_input", line);
}

TEST_F(MissReasons, AReadThatIsGone) {
  uint32_t line = 0;
  Tensor x = data({3, 4});
  auto step = [&](bool log) {
    Tensor h = sqrt(x * 2.0);
    line = __LINE__ - 1;
    if (log) h.to_vector<float>();
    tanh(h + 1.0).sum().item<float>();
  };
  std::vector<Told> logged = misses_of([&] { step(true); });
  ASSERT_EQ(logged.size(), 2u);
  known_ = logged[1].key;
  expect(only_miss_of([&] { step(false); }), "computed_input", line);
}

TEST_F(MissReasons, StrictMode) {
  uint32_t line = 0;
  Tensor x = data({8});
  auto run = [&](bool strict) {
    settings().strict = strict;
    (x * 2.0 + 1.0).sum().item<float>();
    line = __LINE__ - 1;
  };
  inject(run, false, true, "strict", line);
}

TEST_F(MissReasons, Fusion) {
  uint32_t line = 0;
  Tensor x = data({8});
  auto run = [&](bool fuse) {
    settings().fuse = fuse;
    (x * 2.0 + 1.0).sum().item<float>();
    line = __LINE__ - 1;
  };
  inject(run, true, false, "fuse", line);
}

TEST_F(MissReasons, Precision) {
  uint32_t line = 0;
  Tensor x = data({8, 8});
  auto run = [&](MatmulPrecision precision) {
    set_matmul_precision(precision);
    matmul(x, x).sum().item<float>();
    line = __LINE__ - 1;
  };
  inject(run, MatmulPrecision::highest, MatmulPrecision::medium, "matmul_precision", line);
}

TEST_F(MissReasons, TheInterpreter) {
  uint32_t line = 0;
  Tensor x = data({8});
  auto run = [&](const char* backend) {
    settings().backend = backend;
    (x * 2.0 + 1.0).sum().item<float>();
    line = __LINE__ - 1;
  };
  bool interpreted = before_.backend == "reference";
  inject(run, interpreted ? "reference" : "", interpreted ? "" : "reference", "backend", line);
}

TEST_F(MissReasons, CheckedNumerics) {
  uint32_t line = 0;
  auto run = [&](bool check) {
    settings().check_numerics = check;
    Tensor x = data({8});
    line = __LINE__ - 1;
    x = x * 2.0 + 1.0;
    eval(x);
  };
  inject(run, false, true, "check_numerics", line);
}

TEST_F(MissReasons, Evicted) {
  uint32_t line = 0;
  Tensor x = data({8});
  auto run = [&] {
    (x * 2.0 + 1.0).sum().item<float>();
    line = __LINE__ - 1;
  };
  known_ = only_miss_of(run).key;
  EXPECT_EQ(misses_of(run).size(), 0u);
  settings().cache_bytes = 1;
  misses_of([&] { exp(x).sum().item<float>(); });  // drops all others
  settings() = before_;
  expect(only_miss_of(run), "evicted", line);
}

TEST_F(MissReasons, Cleared) {
  uint32_t line = 0;
  Tensor x = data({8});
  auto run = [&] {
    (x * 2.0 + 1.0).sum().item<float>();
    line = __LINE__ - 1;
  };
  known_ = only_miss_of(run).key;
  runtime_.clear_caches();
  expect(only_miss_of(run), "cleared", line);
}

TEST_F(MissReasons, Failed) {
  uint32_t line = 0;
  Tensor x = data({8});
  auto run = [&] {
    line = __LINE__ + 1;
    (x * 2.0 + 1.0).sum().item<float>();
  };
  runtime_.fail_compile(1);
  known_ = only_miss_of([&] { EXPECT_THROW(run(), Error); }).key;
  expect(only_miss_of(run), "failed", line);
}

TEST_F(MissReasons, FirstSight) {
  Tensor x = data({8});
  uint32_t line = 0;
  Told told = only_miss_of([&] {
    (sin(x) / 7.0 - cos(x)).max().item<float>();
    line = __LINE__ - 1;
  });
  expect_named(told, "first_sight", line);
}

TEST_F(MissReasons, BeyondWhatIsRemembered) {
  settings().cut_nodes = settings().cut_bytes = 0;
  uint32_t line = 0;
  Tensor x = data({1});
  auto run = [&](bool other) {
    Tensor y = x;
    for (int i = 0; i < int(trace::KnownTrace::most_nodes); ++i) y = y + 1.0;
    if (other) y = y * 2.0;
    y.item<float>();
    line = __LINE__ - 1;
  };
  known_ = only_miss_of([&] { run(false); }).key;
  expect(only_miss_of([&] { run(true); }), "too_deep", line);  // of what differs nothing is kept
}

// A whole training step: the first makes the weights, then only a cause may miss.
TEST_F(MissReasons, TheSecondStepOfTraining) {
  Linear layer(4, 2);
  AdamW optimizer(layer.parameters(), {.lr = 1e-2});
  Tensor x = data({8, 4});
  auto step = [&] {
    Tensor loss = (layer(x) * layer(x)).mean();
    optimizer.zero_grad();
    loss.backward();
    optimizer.step();
  };
  EXPECT_EQ(misses_of(step).size(), 1u);
  std::vector<Told> second = misses_of(step);
  ASSERT_LE(second.size(), 1u);
  if (!second.empty()) {
    EXPECT_EQ(second[0].reason, "stored_input") << second[0].text;
  }
  EXPECT_EQ(misses_of([&] { step(), step(), step(); }).size(), 0u);
}

TEST_F(MissReasons, EqualScalarsMissNothing) {
  Tensor x = data({8});
  auto run = [&](double a, double b) { return (x * a + b).sum().item<float>(); };
  run(2.0, 3.0);
  EXPECT_EQ(misses_of([&] { EXPECT_EQ(run(4.0, 4.0), 8 * 6.0f); }).size(), 0u);
}

}  // namespace
}  // namespace encore
