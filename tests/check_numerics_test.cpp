// Does ENCORE_CHECK_NUMERICS name the op that made the first NaN or infinity, at the user's line?
#include <encore/encore.h>
#include <gmock/gmock.h>

#include <cmath>

#include "error_of.h"

namespace encore {
namespace {

using testing::error_of;
using ::testing::HasSubstr;

class CheckNumerics : public ::testing::Test {
 protected:
  CheckNumerics() : before_(settings()) { settings().check_numerics = true; }
  ~CheckNumerics() override { settings() = before_; }
  Settings before_;
};

TEST_F(CheckNumerics, NamesTheFirstCulpritInsideAFusedKernel) {
  Tensor x = from_vector<float>({4, 1, 0, 9});
  Tensor shifted = x - 1.0;
  Tensor root = sqrt(shifted);  // sqrt(-1)
  uint32_t line = __LINE__ - 1;
  Tensor y = exp(root * 2.0).sum();
  Error error = error_of([&] { y.item<float>(); });
  EXPECT_EQ(error.where().line, line);
  EXPECT_THAT(error.where().file, HasSubstr("check_numerics_test.cpp"));
  EXPECT_THAT(error.message(), HasSubstr("sqrt"));
  EXPECT_THAT(error.message(), HasSubstr("[4]"));
}

TEST_F(CheckNumerics, LosesNothing) {
  Tensor x = from_vector<float>({1, 0});
  Tensor y = 1.0 / x, fine = x + 1.0;
  error_of([&] { encore::sync(); });
  EXPECT_EQ(fine.to_vector<float>(), (std::vector<float>{2, 1}));
  EXPECT_TRUE(std::isinf(y.to_vector<float>()[1]));  // kept, and no longer new
  EXPECT_EQ((fine * 3.0).to_vector<float>(), (std::vector<float>{6, 3}));
}

TEST_F(CheckNumerics, NamesTheLineOfACompositesUserAndOfAGradient) {
  Parameter p(from_vector<float>({0, 1}));
  Tensor y = sqrt(p);  // its gradient at 0 is infinite
  uint32_t line = __LINE__ - 1;
  backward(y.sum());
  Error error = error_of([&] { p.grad().to_vector<float>(); });
  EXPECT_EQ(error.where().line, line);
}

TEST_F(CheckNumerics, AcceptsWhatWasNotFiniteBefore) {
  float infinity = INFINITY;
  Tensor x = from_vector<float>({1, infinity, NAN});
  EXPECT_TRUE(std::isnan((x * 2.0).sum().item<float>()));
}

TEST_F(CheckNumerics, AcceptsMasksOfInfinity) {
  Tensor scores = from_vector<float>({1, 2, 3, 4}), keep = from_vector<float>({1, 0, 1, 0}) > 0.0;
  Tensor masked = where(keep, scores, -INFINITY);
  EXPECT_EQ(masked.to_vector<float>()[1], -INFINITY);
  EXPECT_EQ(softmax(masked).to_vector<float>()[1], 0);
}

TEST_F(CheckNumerics, ChecksEveryFloatingDtype) {
  for (DType dtype : {f16, bf16, f32, f64}) {
    SCOPED_TRACE(std::string(name_of(dtype)));
    Tensor x = from_vector<double>({0, 1}).to(dtype);
    eval(x);
    EXPECT_THAT(error_of([&] { log(x).to_vector<double>(); }).message(), HasSubstr("log"));
  }
}

TEST_F(CheckNumerics, IntegersAreNeverAtFault) {
  EXPECT_EQ(
      floor_divide(from_vector<int32_t>({1, 2}), from_vector<int32_t>({0, 1})).to_vector<int32_t>(),
      (std::vector<int32_t>{0, 2}));
}

TEST_F(CheckNumerics, FusionComesBackAfterwards) {
  Tensor x = from_vector<float>({-1});
  error_of([&] { (sqrt(x) + 1.0).item<float>(); });
  EXPECT_TRUE(settings().fuse);
}

}  // namespace
}  // namespace encore
