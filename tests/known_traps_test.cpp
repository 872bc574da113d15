// Small programs on which other lazy libraries went wrong, on every backend.
#include <encore/autograd/backward.h>
#include <encore/encore.h>
#include <encore/lazy/composite.h>
#include <encore/lazy/contraction.h>
#include <encore/lazy/indexing.h>
#include <encore/lazy/movement.h>
#include <encore/lazy/random.h>
#include <encore/lazy/reduction.h>
#include <encore/trace/statistics.h>
#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "each_backend.h"

namespace encore {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::FloatNear;
using ::testing::NanSensitiveFloatEq;
using testing::on_each_backend;

constexpr float nan = std::numeric_limits<float>::quiet_NaN();
constexpr float inf = std::numeric_limits<float>::infinity();
using Floats = std::vector<float>;

int64_t misses() { return trace::statistics().trace_misses; }

TEST(KnownTraps, ResultsOfReplaysStayDistinct) {
  on_each_backend([] {
    auto f = [](float x) {
      Tensor y = from_vector(Floats{x}) + 1.0;
      eval(y);
      return y;
    };
    Tensor first = f(1), second = f(2), third = f(3);
    EXPECT_EQ(first.item<float>(), 2);
    EXPECT_EQ(second.item<float>(), 3);
    EXPECT_EQ(third.item<float>(), 4);
  });
}

TEST(KnownTraps, RebindingAnInputKeepsWhatWasMadeOfIt) {
  on_each_backend([] {
    Tensor x = from_vector(Floats{3});
    Tensor y = log(x);
    x = log(x);
    x = x * 2.0;
    encore::sync();
    EXPECT_NEAR(y.item<float>(), 1.0986123, 1e-6);
    EXPECT_NEAR(x.item<float>(), 2.1972246, 1e-6);
  });
}

TEST(KnownTraps, AnExpandedGradientEqualsAMaterializedOne) {
  on_each_backend([] {
    Tensor x = from_vector(Floats{1, 2, 3, 4, 5, 6}, {2, 3});
    auto gradient = [&](bool materialize) {
      Tensor v = variable(x), y = exp(v * 0.5) * v;
      Tensor dy = expand(literal_node(1.0, f32, default_device()), y.shape());
      if (materialize) dy = from_vector(Floats(6, 1.0f), {2, 3});
      return grad({y}, {dy}, {v})[0].to_vector<float>();
    };
    EXPECT_EQ(gradient(false), gradient(true));
    Tensor v = variable(x), loss = sum(exp(v * 0.5) * v);
    EXPECT_EQ(grad(loss, {v})[0].to_vector<float>(), gradient(true));
  });
}

TEST(KnownTraps, NaNIsTheExtremeAtEveryLength) {
  on_each_backend([] {
    for (int length : {3, 4, 15, 16, 17, 31, 33, 64, 100, 129, 1000, 4097, 5000}) {
      Floats values(size_t(length), 1);
      values[0] = 3, values[1] = nan, values.back() = 5;
      Tensor x = from_vector(values);
      EXPECT_TRUE(std::isnan(x.max().item<float>())) << length;
      EXPECT_TRUE(std::isnan(x.min().item<float>())) << length;
      EXPECT_EQ(x.argmax().item<int64_t>(), 1) << length;
      EXPECT_EQ(x.argmin().item<int64_t>(), 1) << length;
    }
  });
}

TEST(KnownTraps, SoftmaxOfNothingButMinusInfinityIsNaN) {
  on_each_backend([] {
    for (int length : {1, 3, 16, 100}) {
      Tensor x = from_vector(Floats(size_t(length) * 2, -inf), {2, length});
      EXPECT_THAT(softmax(x).to_vector<float>(), Each(NanSensitiveFloatEq(nan)));
    }
    Tensor one = from_vector(Floats{-inf, 1, -inf});
    EXPECT_THAT(softmax(one).to_vector<float>(), ElementsAre(0, 1, 0));
  });
}

TEST(KnownTraps, ProductsOverNothingAreZeroAndHaveGradients) {
  on_each_backend([] {
    Tensor a = variable(zeros({4, 0})), b = variable(zeros({0, 5}));
    Tensor y = matmul(a, b);
    EXPECT_EQ(y.to_vector<float>(), Floats(20, 0.0f));
    std::vector<Tensor> gradients = grad(sum(matmul(a, b)), {a, b});
    EXPECT_EQ(gradients[0].shape(), (Shape{4, 0}));
    EXPECT_EQ(gradients[1].shape(), (Shape{0, 5}));
    EXPECT_TRUE(gradients[0].to_vector<float>().empty());
    EXPECT_EQ(sum(zeros({0, 3})).item<float>(), 0);
  });
}

TEST(KnownTraps, IntegerDivisionNeverTraps) {
  on_each_backend([] {
    constexpr int32_t least = std::numeric_limits<int32_t>::min();
    Tensor a = from_vector(std::vector<int32_t>{least, 7, -7, least, 0}),
           b = from_vector(std::vector<int32_t>{-1, 0, 0, 0, 0});
    EXPECT_THAT(floor_divide(a, b).to_vector<int32_t>(), ElementsAre(least, 0, 0, 0, 0));
    EXPECT_THAT((a % b).to_vector<int32_t>(), ElementsAre(0, 7, -7, least, 0));
    EXPECT_THAT(fmod(a, b).to_vector<int32_t>(), ElementsAre(0, 7, -7, least, 0));
    EXPECT_THAT(floor_divide(a, 0).to_vector<int32_t>(), Each(0));
  });
}

TEST(KnownTraps, CastsSaturateFoldedFusedAndUnfused) {
  on_each_backend([] {
    for (bool fuse : {true, false}) {
      settings().fuse = fuse;
      Floats values{nan, inf, -inf, 300, -300, 1e20f, -1e20f, 2.9f, -2.9f};
      Tensor x = from_vector(values);
      EXPECT_THAT((x * 1.0).to(i8).to_vector<int>(),
                  ElementsAre(0, 127, -128, 127, -128, 127, -128, 2, -2));
      EXPECT_THAT((x * 1.0).to(u8).to_vector<int>(), ElementsAre(0, 255, 0, 255, 0, 255, 0, 2, 0));
      constexpr int64_t most = std::numeric_limits<int64_t>::max();
      EXPECT_THAT(x.to(i64).to_vector<int64_t>(),
                  ElementsAre(0, most, -most - 1, 300, -300, most, -most - 1, 2, -2));
      for (size_t i = 0; i < values.size(); ++i)
        EXPECT_EQ((full({3}, lit(values[i])).to(i8) + 0).to_vector<int>(),
                  std::vector<int>(3, x.to(i8).to_vector<int>()[i]));
    }
    settings().fuse = true;
  });
}

TEST(KnownTraps, NaNAndInfinityAreConstantsLikeOthers) {
  on_each_backend([] {
    Tensor x = from_vector(Floats{1, -1});
    EXPECT_THAT(where(x > 0, x, nan).to_vector<float>(), ElementsAre(1, NanSensitiveFloatEq(nan)));
    EXPECT_THAT(where(x > 0, x, lit(nan)).to_vector<float>(),
                ElementsAre(1, NanSensitiveFloatEq(nan)));
    EXPECT_THAT((x * lit(inf) + 1).to_vector<float>(), ElementsAre(inf, -inf));
    EXPECT_THAT(maximum(x, lit(-inf)).to_vector<float>(), ElementsAre(1, -1));
  });
}

TEST(KnownTraps, EqualScalarsShareNothing) {
  on_each_backend([] {
    Tensor x = from_vector(Floats{1, 2});
    auto f = [&](double a, double b) { return (x * a + b).to_vector<float>(); };
    EXPECT_THAT(f(2, 3), ElementsAre(5, 7));
    int64_t before = misses();
    EXPECT_THAT(f(3, 3), ElementsAre(6, 9));
    EXPECT_THAT(f(2, 1), ElementsAre(3, 5));
    EXPECT_THAT(f(1, 0), ElementsAre(1, 2));
    EXPECT_THAT(f(0, nan), Each(NanSensitiveFloatEq(nan)));
    EXPECT_EQ(misses(), before);
  });
}

TEST(KnownTraps, ReplayedDropoutDrawsNewMasks) {
  on_each_backend([] {
    Tensor x = from_vector(Floats(4096, 1.0f));
    auto drop = [&](double p) { return dropout(x, p).to_vector<float>(); };
    manual_seed(5);
    Floats first = drop(0.25);
    int64_t before = misses();
    Floats second = drop(0.25), other = drop(0.5);
    EXPECT_EQ(misses(), before) << "the probability is an argument";
    EXPECT_NE(first, second);
    manual_seed(5);
    EXPECT_EQ(drop(0.25), first);
    settings().fuse = false;
    EXPECT_EQ(drop(0.25), second) << "unfused";
    settings().fuse = true;
    auto kept = [](const Floats& values) {
      return double(std::count_if(values.begin(), values.end(), [](float v) { return v != 0; })) /
             4096;
    };
    EXPECT_NEAR(kept(first), 0.75, 0.04);
    EXPECT_NEAR(kept(other), 0.5, 0.04);
    for (float value : first)
      if (value != 0) {
        EXPECT_FLOAT_EQ(value, 1 / 0.75f);
      }
    EXPECT_THAT(drop(0), Each(1));
    EXPECT_THAT(drop(1), Each(0));
    EXPECT_EQ(dropout(x, 0.5, false).node(), x.node());
    EXPECT_THROW(dropout(x, 1.5), Error);
  });
}

TEST(KnownTraps, DropoutsGradientUsesTheSameMask) {
  on_each_backend([] {
    Tensor x = variable(from_vector(Floats(1000, 2.0f)));
    Tensor y = dropout(x, 0.5);
    Tensor gradient = grad(sum(y), {x})[0];
    eval(y, gradient);
    Floats values = y.to_vector<float>(), slopes = gradient.to_vector<float>();
    for (size_t i = 0; i < values.size(); ++i) EXPECT_EQ(slopes[i] * 2, values[i]);
  });
}

TEST(KnownTraps, LongChainsAreRecordedAndDestroyed) {
  Tensor x = from_vector(Floats{1});
  {
    Tensor y = x;
    for (int i = 0; i < 300000; ++i) y = 2 * y;
  }
  EXPECT_EQ((x + 1).item<float>(), 2);
}

TEST(KnownTraps, RepeatedIndicesAddUp) {
  on_each_backend([] {
    Tensor y = from_vector(Floats{1, 2}), index = from_vector(std::vector<int64_t>{0, 0});
    Tensor z = index_add(y, index, take(y, index));
    EXPECT_THAT(z.to_vector<float>(), ElementsAre(3, 2));
  });
}

}  // namespace
}  // namespace encore
