// What composites cost: launches of each forward pass, and of forward and backward in one step; and
// that in strict mode fusing changes no bit of them.
#include <encore/lazy/composite.h>
#include <encore/lazy/random.h>
#include <encore/trace/statistics.h>

#include "each_backend.h"
#include "graph_oracle.h"

namespace encore {
namespace {

using namespace testing;

using Inputs = const std::vector<Tensor>&;

struct Case {
  const char* name;
  Function function;
  std::vector<Shape> shapes;
  int forward = 1;  // launches
  int both = 1;     // of forward and backward in one step
};

const Shape rows{64, 200};

const std::vector<Case>& cases() {
  static const std::vector<Case> all = {
      {"gelu", [](Inputs x) { return gelu(x[0]); }, {rows}},
      {"gelu tanh", [](Inputs x) { return gelu(x[0], GeluForm::tanh); }, {rows}},
      {"silu", [](Inputs x) { return silu(x[0]); }, {rows}},
      {"mish", [](Inputs x) { return mish(x[0]); }, {rows}},
      {"elu", [](Inputs x) { return elu(x[0]); }, {rows}},
      {"softplus", [](Inputs x) { return softplus(x[0]); }, {rows}},
      {"log_sigmoid", [](Inputs x) { return log_sigmoid(x[0]); }, {rows}},
      {"clamp", [](Inputs x) { return clamp(x[0], -1, 1); }, {rows}},
      {"lerp", [](Inputs x) { return lerp(x[0], x[1], 0.3); }, {rows, rows}, 1, 2},
      {"dropout", [](Inputs x) { return dropout(x[0], 0.3); }, {rows}},
      {"softmax", [](Inputs x) { return softmax(x[0]); }, {rows}},
      {"softmax of columns", [](Inputs x) { return softmax(x[0], 0); }, {rows}, 4, 7},
      {"log_softmax", [](Inputs x) { return log_softmax(x[0]); }, {rows}},
      {"logsumexp", [](Inputs x) { return logsumexp(x[0], {1}); }, {rows}},
      {"layer_norm", [](Inputs x) { return layer_norm(x[0], {200}); }, {rows}},
      {"layer_norm affine",
       [](Inputs x) { return layer_norm(x[0], {200}, x[1], x[2]); },
       {rows, {200}, {200}}},
      {"rms_norm affine", [](Inputs x) { return rms_norm(x[0], {200}, x[1]); }, {rows, {200}}},
      {"group_norm affine",
       [](Inputs x) { return group_norm(x[0], 4, x[1], x[2]); },
       {{8, 16, 6, 6}, {16}, {16}},
       1,
       2},
      {"norm", [](Inputs x) { return norm(x[0], {1}); }, {rows}},
      {"normalize", [](Inputs x) { return normalize(x[0]); }, {rows}},
      {"cosine_similarity", [](Inputs x) { return cosine_similarity(x[0], x[1]); }, {rows, rows}},
      {"cross_entropy", [](Inputs x) { return cross_entropy(x[0], iota({64}, 0)); }, {rows}, 2, 2},
      {"cross_entropy smooth",
       [](Inputs x) { return cross_entropy(x[0], iota({64}, 0), {.label_smoothing = 0.1}); },
       {rows},
       2,
       2},
      {"cross_entropy ignore",
       [](Inputs x) { return cross_entropy(x[0], iota({64}, 0), {.ignore_index = 3}); },
       {rows},
       2,
       2},
      {"cross_entropy of shares",
       [](Inputs x) { return cross_entropy(x[0], x[1].detach()); },
       {rows, rows},
       2,
       2},
      {"mse_loss", [](Inputs x) { return mse_loss(x[0], x[1]); }, {rows, rows}, 2, 2},
      {"l1_loss", [](Inputs x) { return l1_loss(x[0], x[1]); }, {rows, rows}, 2, 2},
      {"huber_loss", [](Inputs x) { return huber_loss(x[0], x[1]); }, {rows, rows}, 2, 2},
      {"binary_cross_entropy_with_logits",
       [](Inputs x) { return binary_cross_entropy_with_logits(x[0], sigmoid(x[1].detach())); },
       {rows, rows},
       2,
       2},
      {"kl_div",
       [](Inputs x) { return kl_div(log_softmax(x[0]), softmax(x[1].detach())); },
       {rows, rows},
       2,
       2},
  };
  return all;
}

std::vector<Tensor> inputs_of(const Case& one, DType dtype) {
  std::vector<Tensor> inputs;
  for (size_t i = 0; i < one.shapes.size(); ++i) {
    Tensor values = leaf_like(one.shapes[i], int(i)).to(dtype);
    eval(values);
    inputs.push_back(values);
  }
  return inputs;
}

/// A gradient that arrives from elsewhere: a leaf.
Tensor dy_of(const Shape& shape, DType dtype) {
  std::vector<float> values(size_t(shape.numel()));
  for (size_t i = 0; i < values.size(); ++i) values[i] = float(i % 5) - 1.5f;
  if (dtype == f32) return leaf(values, shape);
  return leaf(std::vector<BFloat16>(values.begin(), values.end()), shape);
}

/// The result and the gradients of all inputs, recorded but not computed.
std::vector<Tensor> step(const Case& one, Inputs inputs) {
  std::vector<Tensor> variables;
  std::vector<Target> targets;
  for (const Tensor& input : inputs) variables.push_back(variable(input));
  for (const Tensor& input : variables) targets.emplace_back(input);
  Tensor y = one.function(variables);
  std::vector<Tensor> all =
      grad({y}, {dy_of(y.shape(), y.dtype())}, targets, {.allow_unused = true});
  all.insert(all.begin(), y);
  return all;
}

int64_t launches_of_sync() {
  int64_t before = trace::statistics().launches;
  sync();
  return trace::statistics().launches - before;
}

TEST(CompositeFusion, CountsLaunches) {
  for (const Case& one : cases()) {
    SCOPED_TRACE(one.name);
    std::vector<Tensor> inputs = inputs_of(one, f32);
    sync();
    Tensor y = one.function(inputs);
    EXPECT_EQ(launches_of_sync(), one.forward) << "forward";
    std::vector<Tensor> all = step(one, inputs);
    EXPECT_EQ(launches_of_sync(), one.both) << "forward and backward";
  }
}

TEST(CompositeFusion, ReplaysWithoutCompiling) {
  for (const Case& one : cases()) {
    SCOPED_TRACE(one.name);
    std::vector<Tensor> inputs = inputs_of(one, f32);
    for (int round = 0; round < 3; ++round) {
      int64_t before = trace::statistics().trace_misses;
      std::vector<Tensor> all = step(one, inputs);
      sync();
      if (round > 0) {
        EXPECT_EQ(trace::statistics().trace_misses, before);
      }
    }
  }
}

TEST(CompositeFusion, StrictModeGivesTheSameBitsUnfused) {
  on_each_backend([] {
    settings().strict = true;
    for (const Case& one : cases())
      for (DType dtype : {f32, bf16}) {
        SCOPED_TRACE(one.name);
        std::vector<Tensor> inputs = inputs_of(one, dtype);
        auto run = [&](bool fuse) {
          settings().fuse = fuse;
          manual_seed(7);
          std::vector<Doubles> values;
          std::vector<Tensor> all = step(one, inputs);
          sync();
          for (const Tensor& x : all) values.push_back(x.to_vector<double>());
          return values;
        };
        EXPECT_EQ(run(true), run(false)) << name_of(dtype);
      }
    settings().strict = false;
  });
}

}  // namespace
}  // namespace encore
