// Composites: what they record, and what they refuse.
#include <encore/lazy/composite.h>
#include <encore/lazy/create.h>
#include <encore/lazy/movement.h>
#include <gtest/gtest.h>

#include <set>

namespace encore {
namespace {

Tensor tensor(Shape shape, DType dtype = f32) {
  return shape.rank() == 0 ? literal_node(1, dtype, default_device()) : iota(shape, 0).to(dtype);
}

/// Every node that `root` was made of and that is not in `inputs`.
std::set<Node*> nodes_behind(const Tensor& root, const std::vector<Tensor>& inputs) {
  std::set<Node*> seen, known;
  for (const Tensor& input : inputs) known.insert(input.node());
  std::vector<Node*> open{root.node()};
  while (!open.empty()) {
    Node* node = open.back();
    open.pop_back();
    if (known.count(node) || !seen.insert(node).second) continue;
    for (Node* input : node->input_span()) open.push_back(input);
  }
  return seen;
}

int count_ops(const std::set<Node*>& nodes, OpId op) {
  return int(std::count_if(nodes.begin(), nodes.end(), [&](Node* node) { return node->op == op; }));
}

/// Numbers that reach the program as arguments: those kept by their consumers and nodes of their
/// own.
int count_scalars(const std::set<Node*>& nodes) {
  return count_ops(nodes, OpId::scalar) +
         int(std::count_if(nodes.begin(), nodes.end(),
                           [](Node* node) { return node->number() == Number::scalar; }));
}

TEST(Composite, NodesCarryTheScopeAndTheCallersLine) {
  Tensor x = tensor({4, 8});
  int line = __LINE__ + 1;
  Tensor y = gelu(x);
  for (Node* node : nodes_behind(y, {x})) {
    if (node->is_source()) continue;
    EXPECT_EQ(node->location.line, uint32_t(line)) << name_of(node->op);
    EXPECT_NE(std::string(node->location.file).find("composite_test"), std::string::npos);
    EXPECT_STREQ(node->scope, "gelu");
  }
  Tensor loss = binary_cross_entropy_with_logits(x, x);
  EXPECT_STREQ(loss.node()->scope, "binary_cross_entropy_with_logits/mean");
}

TEST(Composite, LibraryConstantsAreLiteralsAndUserNumbersAreSlots) {
  Tensor x = tensor({4, 8});
  for (const Tensor& y :
       {gelu(x), gelu(x, GeluForm::tanh), silu(x), softplus(x), mish(x), selu(x), elu(x),
        softmax(x), log_softmax(x), hardswish(x), leaky_relu(x), square(x)})
    EXPECT_EQ(count_scalars(nodes_behind(y, {x})), 0) << y.node()->scope;
  EXPECT_EQ(count_scalars(nodes_behind(leaky_relu(x, 0.2), {x})), 1);
  EXPECT_EQ(count_scalars(nodes_behind(elu(x, 2.0), {x})), 1);
  EXPECT_GE(count_scalars(nodes_behind(clamp(x, 0, 1), {x})), 2);
}

TEST(Composite, SixteenBitInputsSumInF32) {
  Tensor x = tensor({4, 8}, bf16), target = tensor({4}, i64);
  for (const Tensor& y : {softmax(x), log_softmax(x), logsumexp(x, {1}), cross_entropy(x, target),
                          norm(x), layer_norm(x, {8}), rms_norm(x, {8}), mse_loss(x, x)}) {
    EXPECT_EQ(y.dtype(), bf16);
    for (Node* node : nodes_behind(y, {x}))
      if (node->op == OpId::reduce_sum) {
        EXPECT_EQ(node->dtype, f32) << node->scope;
      }
  }
}

TEST(Composite, ShapesAndDtypes) {
  Tensor x = tensor({4, 8, 3}), target = tensor({4, 3}, i64);
  EXPECT_EQ(softmax(x, 1).shape(), (Shape{4, 8, 3}));
  EXPECT_EQ(logsumexp(x).shape(), Shape{});
  EXPECT_EQ(logsumexp(x, {1}).shape(), (Shape{4, 3}));
  EXPECT_EQ(logsumexp(x, {1, -1}, true).shape(), (Shape{4, 1, 1}));
  EXPECT_EQ(cross_entropy(x, target).shape(), Shape{});
  EXPECT_EQ(cross_entropy(x, target, {.reduction = Reduction::none}).shape(), (Shape{4, 3}));
  EXPECT_EQ(cross_entropy(x, x, {.reduction = Reduction::none}).shape(), (Shape{4, 3}));
  EXPECT_EQ(cross_entropy(tensor({8}), tensor({}, i64)).shape(), Shape{});
  EXPECT_EQ(nll_loss(x, target, Reduction::none).shape(), (Shape{4, 3}));
  EXPECT_EQ(group_norm(x, 4).shape(), (Shape{4, 8, 3}));
  EXPECT_EQ(normalize(x).shape(), (Shape{4, 8, 3}));
  EXPECT_EQ(cosine_similarity(x, x).shape(), (Shape{4, 3}));
  EXPECT_EQ(clamp(x, tensor({3}), 2.0).shape(), (Shape{4, 8, 3}));
  EXPECT_EQ(gelu(tensor({2}, i32)).dtype(), f32);
  EXPECT_EQ(softmax(tensor({2}, i32)).dtype(), f32);
  EXPECT_EQ(clamp(tensor({2}, i32), 0, 1).dtype(), i32);
  EXPECT_EQ(mse_loss(tensor({2}, bf16), tensor({2})).dtype(), f32);
}

TEST(Composite, EmptyTensorsPass) {
  Tensor none = tensor({0, 8}), hollow = tensor({4, 0});
  EXPECT_EQ(softmax(none).shape(), (Shape{0, 8}));
  EXPECT_EQ(softmax(hollow).shape(), (Shape{4, 0}));
  EXPECT_EQ(log_softmax(hollow).shape(), (Shape{4, 0}));
  EXPECT_EQ(logsumexp(hollow, {1}).shape(), (Shape{4}));
  EXPECT_EQ(layer_norm(none, {8}).shape(), (Shape{0, 8}));
  EXPECT_EQ(cross_entropy(none, tensor({0}, i64)).shape(), Shape{});
}

TEST(Composite, CrossEntropyReadsTheLogitOfTheLabel) {
  Tensor x = tensor({64, 1000}), target = tensor({64}, i64);
  Tensor loss = cross_entropy(x, target, {.reduction = Reduction::none});
  std::set<Node*> nodes = nodes_behind(loss, {x, target});
  EXPECT_EQ(count_ops(nodes, OpId::take_along), 1);
  for (Node* node : nodes)
    if (node->op == OpId::take_along) {
      EXPECT_EQ(node->inputs[0], x.node());
    }
  // Of the shape of the logits there are only x - max and its exponential.
  int wide = int(std::count_if(nodes.begin(), nodes.end(),
                               [&](Node* node) { return node->shape == x.shape(); }));
  EXPECT_EQ(wide, 2);
}

TEST(Composite, TheShiftOfSoftmaxPassesNoGradient) {
  Tensor x = tensor({4, 8});
  x.node()->needs_gradient = true;  // as a parameter's node
  for (const Tensor& y : {softmax(x), log_softmax(x), logsumexp(x)}) {
    EXPECT_TRUE(y.requires_grad());
    for (Node* node : nodes_behind(y, {x}))
      if (node->op == OpId::reduce_max) {
        EXPECT_FALSE(node->needs_gradient);
      }
  }
}

template <class Function>
Error error_of(Function function) {
  try {
    function();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "nothing was thrown";
  return Error("", {});
}

#define EXPECT_REFUSED(statement, ...)                                          \
  do {                                                                          \
    Error error = error_of([&] { statement; });                                 \
    EXPECT_EQ(error.where().line, uint32_t(__LINE__)) << error.what();          \
    for (const char* part : {__VA_ARGS__})                                      \
      EXPECT_NE(error.message().find(part), std::string::npos) << error.what(); \
  } while (false)

TEST(Composite, WhatDoesNotFitIsRefusedAtTheCallersLine) {
  Tensor x = tensor({4, 8}), target = tensor({5}, i64);
  EXPECT_REFUSED(cross_entropy(x, target), "[4, 8]", "[4]", "[5]");
  EXPECT_REFUSED(cross_entropy(x, tensor({5, 8})), "[4, 8]", "[5, 8]");
  Error labels = error_of([&] { cross_entropy(x, tensor({4})); });  // f32 class indices
  EXPECT_NE(labels.advice().find("target.to(i64)"), std::string::npos) << labels.what();
  EXPECT_REFUSED(cross_entropy(tensor({}), target), "scalar");
  EXPECT_REFUSED(nll_loss(x, tensor({4}, boolean)), "bool");
  EXPECT_REFUSED(mse_loss(tensor({4, 1}), tensor({4})), "[4, 1]", "[4]");
  EXPECT_REFUSED(layer_norm(x, {4}), "[4, 8]", "[4]");
  EXPECT_REFUSED(layer_norm(x, {8}, tensor({4})), "weight", "[4]", "[8]");
  EXPECT_REFUSED(group_norm(x, 3), "3", "[4, 8]");
  EXPECT_REFUSED(softmax(x, 2), "axis 2");
  EXPECT_REFUSED(clamp(x, tensor({3}), 1), "[4, 8]", "[3]");
}

}  // namespace
}  // namespace encore
