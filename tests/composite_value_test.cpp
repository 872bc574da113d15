// The values and gradients of composites, against PyTorch's
// (tests/reference/composite_reference.py).
#include <encore/lazy/composite.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "each_backend.h"
#include "graph_oracle.h"

namespace encore {
namespace {

using namespace testing;
using nlohmann::json;

using Inputs = const std::vector<Tensor>&;

Reduction sum_up = Reduction::sum, none = Reduction::none;

const std::map<std::string, Function> functions = {
    {"relu", [](Inputs x) { return relu(x[0]); }},
    {"sigmoid", [](Inputs x) { return sigmoid(x[0]); }},
    {"leaky_relu", [](Inputs x) { return leaky_relu(x[0]); }},
    {"leaky_relu 0.2", [](Inputs x) { return leaky_relu(x[0], 0.2); }},
    {"elu", [](Inputs x) { return elu(x[0]); }},
    {"elu 0.5", [](Inputs x) { return elu(x[0], 0.5); }},
    {"selu", [](Inputs x) { return selu(x[0]); }},
    {"gelu", [](Inputs x) { return gelu(x[0]); }},
    {"gelu tanh", [](Inputs x) { return gelu(x[0], GeluForm::tanh); }},
    {"silu", [](Inputs x) { return silu(x[0]); }},
    {"mish", [](Inputs x) { return mish(x[0]); }},
    {"hardswish", [](Inputs x) { return hardswish(x[0]); }},
    {"softplus", [](Inputs x) { return softplus(x[0]); }},
    {"softplus 2", [](Inputs x) { return softplus(x[0], 2.0); }},
    {"log_sigmoid", [](Inputs x) { return log_sigmoid(x[0]); }},
    {"clamp", [](Inputs x) { return clamp(x[0], -1, 3); }},
    {"clamp_min", [](Inputs x) { return clamp_min(x[0], -3); }},
    {"clamp_max", [](Inputs x) { return clamp_max(x[0], 3); }},
    {"clamp crossed", [](Inputs x) { return clamp(x[0], 2, 1); }},
    {"lerp 0.3", [](Inputs x) { return lerp(x[0], x[1], 0.3); }},
    {"lerp 1", [](Inputs x) { return lerp(x[0], x[1], 1.0); }},
    {"lerp", [](Inputs x) { return lerp(x[0], x[1], x[2]); }},
    {"logaddexp", [](Inputs x) { return logaddexp(x[0], x[1]); }},
    {"square", [](Inputs x) { return square(x[0]); }},
    {"softmax", [](Inputs x) { return softmax(x[0]); }},
    {"softmax 1", [](Inputs x) { return softmax(x[0], 1); }},
    {"log_softmax", [](Inputs x) { return log_softmax(x[0]); }},
    {"log_softmax 1", [](Inputs x) { return log_softmax(x[0], 1); }},
    {"logsumexp", [](Inputs x) { return logsumexp(x[0], {-1}); }},
    {"logsumexp 0 2", [](Inputs x) { return logsumexp(x[0], {0, 2}); }},
    {"layer_norm", [](Inputs x) { return layer_norm(x[0], {5}); }},
    {"layer_norm affine", [](Inputs x) { return layer_norm(x[0], {5}, x[1], x[2], 1e-3); }},
    {"layer_norm 2", [](Inputs x) { return layer_norm(x[0], {4, 3}); }},
    {"rms_norm", [](Inputs x) { return rms_norm(x[0], {5}); }},
    {"rms_norm affine", [](Inputs x) { return rms_norm(x[0], {5}, x[1], 1e-3); }},
    {"group_norm", [](Inputs x) { return group_norm(x[0], 3); }},
    {"group_norm affine", [](Inputs x) { return group_norm(x[0], 2, x[1], x[2]); }},
    {"norm", [](Inputs x) { return norm(x[0], {1}); }},
    {"normalize", [](Inputs x) { return normalize(x[0]); }},
    {"cosine_similarity", [](Inputs x) { return cosine_similarity(x[0], x[1]); }},
    {"cross_entropy", [](Inputs x) { return cross_entropy(x[0], x[1]); }},
    {"cross_entropy sum",
     [](Inputs x) { return cross_entropy(x[0], x[1], {.reduction = sum_up}); }},
    {"cross_entropy none", [](Inputs x) { return cross_entropy(x[0], x[1], {.reduction = none}); }},
    {"cross_entropy smooth",
     [](Inputs x) { return cross_entropy(x[0], x[1], {.label_smoothing = 0.1}); }},
    {"cross_entropy ignore 2",
     [](Inputs x) { return cross_entropy(x[0], x[1], {.ignore_index = 2}); }},
    {"cross_entropy ignore 2 none",
     [](Inputs x) { return cross_entropy(x[0], x[1], {.reduction = none, .ignore_index = 2}); }},
    {"nll_loss", [](Inputs x) { return nll_loss(x[0], x[1]); }},
    {"nll_loss ignore 0 sum", [](Inputs x) { return nll_loss(x[0], x[1], sum_up, 0); }},
    {"mse_loss", [](Inputs x) { return mse_loss(x[0], x[1]); }},
    {"mse_loss none", [](Inputs x) { return mse_loss(x[0], x[1], none); }},
    {"l1_loss", [](Inputs x) { return l1_loss(x[0], x[1]); }},
    {"huber_loss", [](Inputs x) { return huber_loss(x[0], x[1]); }},
    {"huber_loss 0.3", [](Inputs x) { return huber_loss(x[0], x[1], 0.3); }},
    {"smooth_l1_loss", [](Inputs x) { return smooth_l1_loss(x[0], x[1]); }},
    {"smooth_l1_loss 0.3", [](Inputs x) { return smooth_l1_loss(x[0], x[1], 0.3); }},
    {"binary_cross_entropy", [](Inputs x) { return binary_cross_entropy(x[0], x[1]); }},
    {"binary_cross_entropy_with_logits",
     [](Inputs x) { return binary_cross_entropy_with_logits(x[0], x[1]); }},
    {"binary_cross_entropy_with_logits weighted",
     [](Inputs x) { return binary_cross_entropy_with_logits(x[0], x[1], x[2]); }},
    {"kl_div", [](Inputs x) { return kl_div(x[0], x[1]); }},
    {"var", [](Inputs x) { return var(x[0], {1}); }},
    {"standard_deviation", [](Inputs x) { return standard_deviation(x[0], {1}); }},
};

double number(const json& value) {
  return value.is_string() ? std::stod(value.get<std::string>()) : value.get<double>();
}

Doubles numbers(const json& values) {
  Doubles result;
  for (const json& value : values) result.push_back(number(value));
  return result;
}

Tensor tensor(const json& described) {
  auto extents = described["shape"].get<std::vector<int64_t>>();
  Shape shape{std::span<const int64_t>(extents)};
  Doubles values = numbers(described["values"]);
  if (!described["integers"]) return leaf(values, shape);
  return leaf(std::vector<int64_t>(values.begin(), values.end()), shape);
}

void expect_close(const Doubles& found, const Doubles& expected, double tolerance) {
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i) {
    if (!std::isfinite(expected[i]))
      EXPECT_THAT(found[i], ::testing::NanSensitiveDoubleEq(expected[i])) << "element " << i;
    else
      EXPECT_NEAR(found[i], expected[i], tolerance * (1 + std::abs(expected[i])))
          << "element " << i;
  }
}

json records() {
  return json::parse(std::ifstream(ENCORE_SOURCE_DIR "/tests/reference/composite_reference.json"));
}

/// How a test comes to values: by plain loops over the recorded nodes, or by the runtime.
using Compute = std::function<Doubles(const Tensor&)>;
Doubles by_runtime(const Tensor& x) { return x.to_vector<double>(); }

void check_values(const Compute& compute) {
  json all = records();
  ASSERT_GT(all.size(), 80u);
  for (const json& record : all) {
    SCOPED_TRACE(record["name"].get<std::string>());
    std::vector<Tensor> inputs;
    for (const json& input : record["inputs"]) inputs.push_back(tensor(input));
    Tensor result = functions.at(record["name"])(inputs);
    EXPECT_EQ(result.shape(), tensor(record["result"]).shape());
    expect_close(compute(result), numbers(record["result"]["values"]), 1e-12);
  }
}

void check_gradients(const Compute& compute) {
  int checked = 0;
  for (const json& record : records()) {
    SCOPED_TRACE(record["name"].get<std::string>());
    std::vector<Tensor> inputs;
    std::vector<Target> targets;
    const json& gradients = record["gradients"];
    for (size_t i = 0; i < gradients.size(); ++i) {
      Tensor input = tensor(record["inputs"][i]);
      inputs.push_back(gradients[i].is_null() ? input : variable(input));
      if (!gradients[i].is_null()) targets.emplace_back(inputs.back());
    }
    if (targets.empty()) continue;
    Tensor result = functions.at(record["name"])(inputs);
    Doubles weight(result.numel());
    for (size_t i = 0; i < weight.size(); ++i) weight[i] = (double(i % 7) - 2.5) / 3;
    Tensor loss = sum(result * leaf(weight, result.shape()));
    std::vector<Tensor> found = grad(loss, targets, {.retain_graph = true});
    size_t next = 0;
    for (const json& gradient : gradients)
      if (!gradient.is_null()) {
        expect_close(compute(found[next++]), numbers(gradient), 1e-10);
        ++checked;
      }
  }
  EXPECT_GT(checked, 70);
}

TEST(CompositeValue, EqualsPyTorch) { check_values(values); }
TEST(CompositeValue, GradientsEqualPyTorchs) { check_gradients(values); }
TEST(CompositeValue, ComputedEqualsPyTorch) {
  on_each_backend([] { check_values(by_runtime); });
}
TEST(CompositeValue, ComputedGradientsEqualPyTorchs) {
  on_each_backend([] { check_gradients(by_runtime); });
}

/// In f32, bf16 and f16, against the same function in f64 of the rounded inputs.
TEST(CompositeValue, NarrowDTypesStayCloseToF64) {
  const std::map<DType, double> tolerance = {{f32, 2e-5}, {bf16, 1.0 / 64}, {f16, 1.0 / 512}};
  on_each_backend([&] {
    for (const json& record : records()) {
      SCOPED_TRACE(record["name"].get<std::string>());
      for (auto [dtype, bound] : tolerance) {
        SCOPED_TRACE(name_of(dtype));
        std::vector<Tensor> wide, narrow;
        for (const json& input : record["inputs"]) {
          Tensor x = tensor(input);
          narrow.push_back(is_floating(x.dtype()) ? x.to(dtype) : x);
          wide.push_back(is_floating(x.dtype()) ? narrow.back().to(f64) : x);
        }
        Tensor result = functions.at(record["name"])(narrow);
        EXPECT_EQ(result.dtype(), dtype);
        Doubles wanted;
        for (double value : by_runtime(functions.at(record["name"])(wide)))
          wanted.push_back(round_to(dtype, value));
        expect_close(by_runtime(result), wanted, bound);
      }
    }
  });
}

}  // namespace
}  // namespace encore
