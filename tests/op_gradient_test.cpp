// The gradient of every elementwise row, and the gradient of that, against central differences.
#include <encore/lazy/elementwise.h>

#include <map>

#include "graph_oracle.h"

namespace encore {
namespace {

using namespace testing;

constexpr double inf = std::numeric_limits<double>::infinity();

OpId id_of(const OpInfo& row) {
  return OpId(int(first_elementwise()) + int(&row - elementwise_ops().data()));
}

/// `x` moved into where the row is smooth; the identity for most.
double into_domain(std::string_view row, int operand, double x) {
  static const std::map<std::string_view, double (*)(double)> domains = {
      {"log", [](double v) { return v + 2.5; }},   {"log2", [](double v) { return v + 2.5; }},
      {"log1p", [](double v) { return v + 1.5; }}, {"sqrt", [](double v) { return v + 2.5; }},
      {"rsqrt", [](double v) { return v + 2.5; }}, {"asin", [](double v) { return v * 0.4; }},
      {"acos", [](double v) { return v * 0.4; }},  {"tan", [](double v) { return v * 0.5; }}};
  if (row == "pow" && operand == 0) return x + 2.5;
  // The quotient keeps away from the integers, where these jump.
  if (row == "fmod" || row == "remainder") return operand == 0 ? 0.1 * x + 3.5 : 0.1 * x + 1.3;
  auto found = domains.find(row);
  return found == domains.end() ? x : found->second(x);
}

std::vector<Tensor> inputs_of(const OpInfo& row, const Shape& shape) {
  std::vector<Tensor> inputs;
  for (int operand = 0; operand < row.arity; ++operand) {
    if (row.types == Types::where && operand == 0) continue;
    Doubles points = values(leaf_like(shape, operand));
    for (double& point : points) point = into_domain(row.name, operand, point);
    inputs.push_back(leaf(points, shape));
  }
  return inputs;
}

Tensor apply_row(const OpInfo& row, const std::vector<Tensor>& x) {
  OpId op = id_of(row);
  if (op == OpId::where) return where(leaf_like(x[0].shape(), 5) > 0.0, x[0], x[1]);
  Arg a(x[0]);
  if (row.arity == 1) return record_elementwise(op, {&a});
  Arg b(x[1]);
  return record_elementwise(op, {&a, &b});
}

TEST(OpGradient, EveryRowAgreesWithDifferences) {
  int checked = 0;
  for (const OpInfo& row : elementwise_ops()) {
    if (!row.gradient || row.name == "cast") continue;
    SCOPED_TRACE(row.name);
    ++checked;
    expect_gradients([&](const std::vector<Tensor>& x) { return apply_row(row, x); },
                     inputs_of(row, {7}));
  }
  EXPECT_GT(checked, 30);
}

TEST(OpGradient, EveryRowsGradientHasAGradient) {
  for (const OpInfo& row : elementwise_ops()) {
    if (!row.gradient || row.name == "cast") continue;
    SCOPED_TRACE(row.name);
    Function gradient = [&](const std::vector<Tensor>& x) {
      std::vector<Tensor> variables;
      std::vector<Target> targets;
      for (const Tensor& input : x) variables.push_back(variable(input));
      for (const Tensor& input : variables) targets.emplace_back(input);
      Tensor y = apply_row(row, variables);
      std::vector<Tensor> gradients =
          grad(sum(y * y), targets, {.create_graph = true, .allow_unused = true});
      Tensor total = gradients[0];
      for (size_t i = 1; i < gradients.size(); ++i)
        total = total + gradients[i] * leaf_like(total.shape(), int(i));
      return total;
    };
    expect_gradients(gradient, inputs_of(row, {5}));
  }
}

TEST(OpGradient, BroadcastOperandsReceiveSums) {
  for (const OpInfo& row : elementwise_ops()) {
    if (!row.gradient || row.arity != 2) continue;
    SCOPED_TRACE(row.name);
    Tensor a = inputs_of(row, {3, 1})[0], b = inputs_of(row, {4})[1];
    expect_gradients([&](const std::vector<Tensor>& x) { return apply_row(row, x); }, {a, b});
  }
}

/// d(sum(f))/dx at the given points.
Doubles gradient_at(const std::function<Tensor(const Tensor&)>& f, const Doubles& points) {
  Tensor x = variable(leaf(points, {int64_t(points.size())}));
  return values(grad(sum(f(x)), {x}, {.retain_graph = true, .allow_unused = true})[0]);
}

TEST(OpGradient, CornersArePyTorchs) {
  using ::testing::ElementsAre;
  Tensor zero = leaf<double>({0, 0, 0}, {3});
  EXPECT_THAT(gradient_at([](auto& x) { return abs(x); }, {-2, 0, 3}), ElementsAre(-1, 0, 1));
  EXPECT_THAT(gradient_at([](auto& x) { return relu(x); }, {-2, 0, 3}), ElementsAre(0, 0, 1));
  EXPECT_THAT(gradient_at([&](auto& x) { return maximum(x, zero); }, {-2, 0, 3}),
              ElementsAre(0, 0.5, 1));
  EXPECT_THAT(gradient_at([&](auto& x) { return minimum(zero, x); }, {-2, 0, 3}),
              ElementsAre(1, 0.5, 0));
  EXPECT_THAT(gradient_at([](auto& x) { return sqrt(x); }, {0, 4}), ElementsAre(inf, 0.25));
  EXPECT_THAT(gradient_at([](auto& x) { return where(x > 0.0, x, 0.0); }, {-1, 0, 1}),
              ElementsAre(0, 0, 1));
  EXPECT_THAT(gradient_at([](auto& x) { return pow(x, 0.0); }, {-2, 0, 3}), ElementsAre(0, 0, 0));
  EXPECT_THAT(gradient_at([](auto& x) { return pow(x, 2.0); }, {-2, 0, 3}), ElementsAre(-4, 0, 6));
  EXPECT_THAT(gradient_at([](auto& x) { return pow(0.0, x); }, {0, 2}), ElementsAre(0, 0));
  EXPECT_THAT(gradient_at([](auto& x) { return sigmoid(x); }, {-1000, 0, 1000}),
              ElementsAre(0, 0.25, 0));
  EXPECT_THAT(gradient_at([](auto& x) { return floor(x) + round(x) + sign(x); }, {-2.5, 0, 3}),
              ElementsAre(0, 0, 0));
}

TEST(OpGradient, IntegerPowersAgreeWithDifferences) {
  for (int exponent : {-9, -3, -1, 0, 1, 2, 3, 5, 8, 12}) {
    SCOPED_TRACE(exponent);
    Tensor x = leaf<double>({-1.5, -0.7, 0.8, 1.3}, {4});
    Doubles wanted;
    for (double value : values(x)) wanted.push_back(std::pow(value, exponent));
    expect_values(pow(x, exponent), wanted, 1e-12 * 50);
    expect_gradients([&](const std::vector<Tensor>& v) { return pow(v[0], exponent); }, {x});
  }
}

}  // namespace
}  // namespace encore
