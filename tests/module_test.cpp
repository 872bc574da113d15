// Does one line make a module: names, modes, casts, copies, moves and scopes?
#include <encore/autograd/backward.h>
#include <encore/lazy/composite.h>
#include <encore/nn/activation.h>
#include <encore/nn/dropout.h>
#include <encore/nn/embedding.h>
#include <encore/nn/layer_norm.h>
#include <encore/nn/linear.h>
#include <encore/nn/loss.h>
#include <encore/nn/rms_norm.h>
#include <encore/nn/sequential.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>

namespace encore {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

struct Block : Module {
  explicit Block(int64_t size) : norm(size), fc(size, size) {}
  LayerNorm norm;
  Linear fc;
  static constexpr int line = __LINE__ + 1;  // of what it records
  Tensor forward(const Tensor& x) { return x + relu(fc(norm(x))); }
  ENCORE_MEMBERS(norm, fc)
};

struct Net : Module {
  Linear head{4, 2, {.bias = false}};
  std::vector<Block> blocks{Block(4), Block(4)};
  std::optional<Dropout> dropout;
  std::unique_ptr<Embedding> positions;
  Tensor scale = ones({1});
  Parameter gain{ones({4})};
  Tensor forward(const Tensor& x) {
    Tensor y = x * gain;
    for (Block& block : blocks) y = block(y);
    return head(y) * scale;  // at `line`
  }
  static constexpr int line = __LINE__ - 2;
  ENCORE_MEMBERS(head, blocks, dropout, positions, scale, gain)
};

/// A forward function of two tensors and a number.
struct Attention : Module {
  Parameter weight{ones({2})};
  Tensor forward(const Tensor& q, const Tensor& k, double factor) {
    return q * k * weight * factor;
  }
  ENCORE_MEMBERS(weight)
};

std::vector<std::string> names_of(Module& module) {
  std::vector<std::string> names;
  for (const NamedParameter& named : module.named_parameters()) names.push_back(named.name);
  return names;
}

TEST(Module, NamesParametersAsPyTorchDoes) {
  Net net;
  EXPECT_THAT(names_of(net),
              ElementsAre("head.weight", "blocks.0.norm.weight", "blocks.0.norm.bias",
                          "blocks.0.fc.weight", "blocks.0.fc.bias", "blocks.1.norm.weight",
                          "blocks.1.norm.bias", "blocks.1.fc.weight", "blocks.1.fc.bias", "gain"));
  EXPECT_EQ(net.blocks[1].fc.weight.name(), "blocks.1.fc.weight");
  EXPECT_EQ(net.parameter_count(), 8 + 2 * (4 + 4 + 16 + 4) + 4);
  ASSERT_EQ(net.named_buffers().size(), 1u);
  EXPECT_EQ(net.named_buffers()[0].name, "scale");
}

TEST(Module, FindsOptionalAndOwnedMembersWhenTheyExist) {
  Net net;
  net.positions = std::make_unique<Embedding>(10, 4);
  EXPECT_THAT(names_of(net), testing::Contains("positions.weight"));
}

TEST(Module, ModeReachesAllModulesBelow) {
  Net net;
  net.dropout.emplace(0.5);
  EXPECT_TRUE(net.training());
  net.eval();
  EXPECT_FALSE(net.training() || net.blocks[0].fc.training() || net.dropout->training());
  net.train();
  EXPECT_TRUE(net.training() && net.blocks[0].fc.training() && net.dropout->training());
}

TEST(Module, CastsParametersGradientsAndBuffers) {
  Net net;
  backward(net(ones({3, 4})).sum());
  net.to(bf16);
  EXPECT_EQ(net.head.weight.dtype(), bf16);
  EXPECT_EQ(net.head.weight.grad().dtype(), bf16);
  EXPECT_EQ(net.scale.dtype(), bf16);
  EXPECT_EQ(net(ones({3, 4}, {.dtype = bf16})).dtype(), bf16);
}

TEST(Module, GradientsReachEveryParameterAndAreZeroed) {
  Net net;
  backward(net(ones({3, 4})).sum());
  for (const NamedParameter& named : net.named_parameters()) {
    ASSERT_TRUE(named.parameter.grad().defined()) << named.name;
    EXPECT_EQ(named.parameter.grad().shape(), named.parameter.shape()) << named.name;
  }
  net.zero_grad();
  for (const ParameterRef& parameter : net.parameters()) EXPECT_FALSE(parameter.grad().defined());
}

TEST(Module, CopyHasNewCellsMoveKeepsThem) {
  Sequential model(Linear(2, 3), ReLU(), Block(3));
  Sequential copy = model;
  std::vector<ParameterRef> ours = model.parameters(), theirs = copy.parameters();
  ASSERT_EQ(ours.size(), theirs.size());
  for (size_t i = 0; i < ours.size(); ++i) {
    EXPECT_FALSE(ours[i] == theirs[i]);
    EXPECT_EQ(ours[i].value().node(), theirs[i].value().node());
  }
  Sequential moved = std::move(model);
  std::vector<ParameterRef> kept = moved.parameters();
  for (size_t i = 0; i < ours.size(); ++i) EXPECT_TRUE(ours[i] == kept[i]);
}

TEST(Module, ANumberThatNamesNoMemberIsToldAtItsLine) {
  Sequential model(Linear(2, 3), ReLU());
  EXPECT_EQ(&model[1], &model[1]);
  uint32_t line = 0;
  try {
    line = __LINE__ + 1;
    model[2];
    FAIL() << "module 2 of 2 was found";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("no module 2 of 2"));
    EXPECT_EQ(error.where().line, line);
  }
}

TEST(Module, AssigningAModuleFillsItsCells) {
  Linear a(2, 2), b(2, 2);
  ParameterRef held = a.weight;
  a = b;
  EXPECT_TRUE(held == a.weight);
  EXPECT_EQ(held.value().node(), b.weight.value().node());
}

TEST(Module, CallsCarryNamesAndTheUsersInnermostLine) {
  Net net;
  Tensor y = net(ones({3, 4}));
  EXPECT_EQ(int(y.node()->location.line), Net::line);
  EXPECT_THAT(y.node()->location.file, HasSubstr("module_test"));
  EXPECT_STREQ(y.node()->scope, "Net");
  // The residual sum inside the second block.
  const Node* node = y.node();
  while (node && (node->op != OpId::add || std::string(node->scope) != "Net/blocks.1")) {
    const Node* next = nullptr;
    for (const Node* input : node->input_span())
      if (!input->is_source() && input->op != OpId::variable && !next) next = input;
    node = next;
  }
  ASSERT_NE(node, nullptr) << "no node of scope Net/blocks.1 on the way down";
  EXPECT_EQ(int(node->location.line), Block::line);
}

TEST(Module, LayersOfTheLibraryCarryTheCallersLine) {
  Sequential inner(Linear(4, 3), ReLU()), outer(inner, Block(3));
  const Tensor x = ones({2, 4}), y = inner(x), z = outer(x);
  EXPECT_EQ(int(y.node()->location.line), __LINE__ - 1);
  EXPECT_EQ(int(z.node()->location.line), Block::line);
  Tensor after = ones({2}) + 1;  // no scope is left open
  EXPECT_EQ(int(after.node()->location.line), __LINE__ - 1);
}

TEST(Module, ForwardTakesAnyArguments) {
  Attention attention;
  Tensor y = attention(ones({2}), full({2}, 3.0), 2.0);
  EXPECT_THAT(y.to_vector<float>(), ElementsAre(6, 6));
  try {
    (void)attention.call(ones({2}));
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("Attention"));
  }
}

TEST(Module, TakesAParameterAsItsInput) {
  Parameter p(ones({1, 4}));
  Block block(4);
  block(p).sum().backward();
  EXPECT_TRUE(p.grad().defined());
}

TEST(Sequential, NamesAndRunsItsModulesInOrder) {
  Sequential model{Linear(3, 4), GELU(), Sequential{Linear(4, 2)}};
  EXPECT_THAT(names_of(model), ElementsAre("0.weight", "0.bias", "2.0.weight", "2.0.bias"));
  EXPECT_EQ(model.size(), 3u);
  EXPECT_EQ(model(ones({5, 3})).shape(), Shape({5, 2}));
  model.append(Softmax());
  EXPECT_EQ(model.size(), 4u);
}

TEST(Linear, ComputesAndInitializesAsPyTorch) {
  Linear layer(100, 50);
  EXPECT_EQ(layer.weight.shape(), Shape({50, 100}));
  EXPECT_EQ(layer.bias.shape(), Shape({50}));
  layer.weight = full({50, 100}, 0.5);
  layer.bias = full({50}, 2.0);
  EXPECT_THAT(layer(ones({1, 100})).to_vector<float>(), testing::Each(52));
}

TEST(Dropout, ActsInTrainingOnly) {
  Dropout layer(0.75);
  Tensor x = ones({4000});
  std::vector<float> values = layer(x).to_vector<float>();
  EXPECT_THAT(values, testing::Each(testing::AnyOf(0.0f, 4.0f)));
  EXPECT_NEAR(std::count(values.begin(), values.end(), 4.0f), 1000, 200);  // seven deviations
  layer.eval();
  EXPECT_EQ(layer(x).node(), x.node());
}

TEST(Norms, HaveParametersOfTheirShapeAndNormalize) {
  LayerNorm layer({2, 2});
  EXPECT_EQ(layer.weight.shape(), Shape({2, 2}));
  Tensor y = layer(from_vector<double>({1, 2, 3, 4}, {1, 2, 2}));
  // mean 2.5, variance 1.25
  double unit = 1 / std::sqrt(1.25 + 1e-5);
  std::vector<double> values = y.to_vector<double>();
  for (int i = 0; i < 4; ++i) EXPECT_NEAR(values[size_t(i)], (i - 1.5) * unit, 1e-6);
  RMSNorm rms(2);
  EXPECT_FALSE(names_of(rms).empty());
  std::vector<double> scaled = rms(from_vector<double>({3, 4}, {1, 2})).to_vector<double>();
  EXPECT_NEAR(scaled[0], 3 / std::sqrt(12.5), 1e-6);
  EXPECT_TRUE(names_of(*std::make_unique<LayerNorm>(2, LayerNormOptions{.affine = false})).empty());
}

TEST(Embedding, PicksRowsAndAddsTheirGradients) {
  Embedding table(3, 2);
  table.weight = from_vector<float>({1, 2, 3, 4, 5, 6}, {3, 2});
  Tensor rows = table(from_vector<int64_t>({2, 0, 2}));
  EXPECT_THAT(rows.to_vector<float>(), ElementsAre(5, 6, 1, 2, 5, 6));
  backward(table(from_vector<int64_t>({2, 0, 2})).sum());
  EXPECT_THAT(table.weight.grad().to_vector<float>(), ElementsAre(1, 1, 0, 0, 2, 2));
}

TEST(Loss, ModulesCallTheFunctions) {
  Tensor x = from_vector<float>({1, 3}, {2}), target = from_vector<float>({0, 1}, {2});
  EXPECT_FLOAT_EQ(MSELoss()(x, target).item<float>(), 2.5);
  EXPECT_FLOAT_EQ(L1Loss(Reduction::sum)(x, target).item<float>(), 3);
  EXPECT_FLOAT_EQ(HuberLoss()(x, target).item<float>(), 1.0);
  Tensor logits = zeros({2, 4}), classes = from_vector<int64_t>({1, 2});
  EXPECT_NEAR(CrossEntropyLoss()(logits, classes).item<float>(), std::log(4.0), 1e-6);
}

}  // namespace
}  // namespace encore
