// compile(f): recorded once per argument shapes, right on every later call.
#include <encore/autograd/backward.h>
#include <encore/encore.h>
#include <encore/trace/compiled_function.h>
#include <encore/trace/statistics.h>
#include <gtest/gtest.h>

#include <cmath>

namespace encore {
namespace {

TEST(CompiledFunction, LaterCallsRecordNothingAndAreRight) {
  int recorded = 0;
  auto f = compile([&](const Tensor& x, const Tensor& y) {
    ++recorded;
    return x * y + 1.0;
  });
  for (float i = 0; i < 5; ++i) {
    Tensor z = f(from_vector<float>({i, 2 * i}), from_vector<float>({3, 4}));
    EXPECT_EQ(z.to_vector<float>(), (std::vector<float>{3 * i + 1, 8 * i + 1}));
  }
  EXPECT_EQ(recorded, 1);
  EXPECT_EQ(f.recordings(), 1u);
  f(from_vector<float>({1, 2, 3}), from_vector<float>({3, 4, 5}));
  EXPECT_EQ(recorded, 2);
}

TEST(CompiledFunction, ResultsOfSeveralCallsStayDistinct) {
  auto f = compile([](const Tensor& x) { return x + 1.0; });
  Tensor a = f(from_vector<float>({1})), b = f(from_vector<float>({2})),
         c = f(from_vector<float>({3}));
  EXPECT_EQ(a.item<float>(), 2);
  EXPECT_EQ(b.item<float>(), 3);
  EXPECT_EQ(c.item<float>(), 4);
}

TEST(CompiledFunction, NumbersStayRuntimeArguments) {
  auto f = compile([](const Tensor& x, const Tensor& scale) { return x * scale; });
  Tensor x = from_vector<float>({1, 2});
  EXPECT_EQ(f(x, 3.0).to_vector<float>(), (std::vector<float>{3, 6}));
  int64_t compiled = trace::statistics().kernels_compiled;
  EXPECT_EQ(f(x, 5.0).to_vector<float>(), (std::vector<float>{5, 10}));
  EXPECT_EQ(trace::statistics().kernels_compiled, compiled);
  EXPECT_EQ(f.recordings(), 1u);
}

TEST(CompiledFunction, RandomTensorsAreDrawnAnew) {
  auto f = compile([](const Tensor& x) { return x + rand({8}); });
  Tensor zero = from_vector<float>(std::vector<float>(8));
  EXPECT_NE(f(zero).to_vector<float>(), f(zero).to_vector<float>());
}

TEST(CompiledFunction, GradInsideIsPartOfTheProgram) {
  auto gradient = compile([](const Tensor& value) {
    Tensor x = variable(value);
    return grad((x * x * x).sum(), {x})[0];
  });
  for (float at : {1.0f, 2.0f, -3.0f})
    EXPECT_FLOAT_EQ(gradient(from_vector<float>({at})).item<float>(), 3 * at * at);
}

TEST(CompiledFunction, SeveralResultsAndAnArgumentItself) {
  auto f = compile([](const Tensor& x) { return std::vector<Tensor>{x, x.sum(), x * 2.0}; });
  for (float at : {1.0f, 4.0f}) {
    std::vector<Tensor> results = f(from_vector<float>({at, at}));
    EXPECT_EQ(results[0].to_vector<float>(), (std::vector<float>{at, at}));
    EXPECT_EQ(results[1].item<float>(), 2 * at);
    EXPECT_EQ(results[2].to_vector<float>(), (std::vector<float>{2 * at, 2 * at}));
  }
}

}  // namespace
}  // namespace encore
