// Does every value that passes from one kernel to another have a reason why it does, told once?
#include <encore/core/events.h>
#include <encore/encore.h>
#include <encore/trace/runtime.h>
#include <gmock/gmock.h>

#include <functional>
#include <nlohmann/json.hpp>
#include <set>

namespace encore {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using Json = nlohmann::json;

struct Told {
  Json trace;  // the last one compiled
  std::vector<std::string> reasons;
  std::vector<Json> refusals;
  std::vector<Location> places;
};

Told compile(const std::function<void()>& run) {
  trace::runtime().clear_caches();
  Told told;
  std::string parts;
  auto take = [&](const Event& event) {
    std::string text(event.text);
    if (event.kind == EventKind::pass && event.name.starts_with("trace")) parts += text;
    if (event.kind == EventKind::pass && event.name == "trace")
      told.trace = Json::parse(std::exchange(parts, {}));
    if (event.kind != EventKind::fusion_refusal) return;
    told.reasons.emplace_back(event.name);
    told.refusals.push_back(Json::parse(text.substr(text.rfind('\n') + 1)));
    told.places.push_back(event.where);
  };
  uint32_t listener =
      events::listen(take, events::bit(EventKind::pass) | events::bit(EventKind::fusion_refusal));
  run();
  events::ignore(listener);
  return told;
}

using Edge = std::pair<uint32_t, uint32_t>;

/// Which members of other kernels each member reads, through what is computed on the way.
std::set<Edge> edges_between_kernels(const Json& trace) {
  const Json& nodes = trace["graphs"].back()["nodes"];
  std::vector<int> cluster_of(nodes.size(), -1);
  for (const Json& cluster : trace["clusters"])
    for (uint32_t id : cluster["members"]) cluster_of[id] = cluster["id"];
  std::set<Edge> edges;
  for (uint32_t id = 0; id < nodes.size(); ++id) {
    if (cluster_of[id] < 0) continue;
    std::vector<uint32_t> open = nodes[id]["inputs"];
    while (!open.empty()) {
      uint32_t from = open.back();
      open.pop_back();
      if (cluster_of[from] == cluster_of[id]) continue;
      if (cluster_of[from] >= 0)
        edges.emplace(id, from);
      else
        for (uint32_t input : nodes[from]["inputs"]) open.push_back(input);
    }
  }
  return edges;
}

void expect_every_edge_explained(const Told& told) {
  std::set<Edge> explained;
  std::set<std::string> whole;
  for (const Json& refusal : told.refusals) {
    explained.emplace(refusal["node"].get<uint32_t>(), refusal["other"].get<uint32_t>());
    EXPECT_TRUE(whole.insert(refusal.dump()).second) << "told twice: " << refusal;
  }
  std::set<Edge> edges = edges_between_kernels(told.trace);
  EXPECT_FALSE(edges.empty());
  for (const Edge& edge : edges)
    EXPECT_TRUE(explained.contains(edge)) << "%" << edge.first << " reads %" << edge.second;
}

Tensor random(Shape shape) {
  Tensor x = randn(shape);
  eval(x);
  return x;
}

TEST(FusionRefusal, AContractionStartsAKernel) {
  Tensor x = random({32, 16}), w = random({16, 8});
  uint32_t line = 0;
  Told told = compile([&] {
    Tensor y = matmul(exp(x), w);
    line = __LINE__ - 1;
    eval(y);
  });
  expect_every_edge_explained(told);
  EXPECT_EQ(told.reasons, std::vector<std::string>{"starts_kernel"});
  EXPECT_EQ(told.places.at(0).line, line);
}

TEST(FusionRefusal, AColumnSumIsOverFirst) {
  Tensor x = random({256, 64});
  Told told = compile([&] {
    Tensor centred = x - x.sum({0}, true);
    eval(centred);
  });
  expect_every_edge_explained(told);
  EXPECT_THAT(told.reasons, Contains("column_result"));
}

TEST(FusionRefusal, AReadOfOtherPositions) {
  Tensor x = random({64, 64});
  Told told = compile([&] {
    Tensor y = exp(x);
    eval(y, y + tanh(flip(y, {0})));
  });
  expect_every_edge_explained(told);
  EXPECT_THAT(told.reasons, Contains("other_positions"));
}

TEST(FusionRefusal, FusionIsOff) {
  Tensor x = random({64});
  settings().fuse = false;
  Told told = compile([&] { eval(exp(x) * 2.0 + 1.0); });
  settings().fuse = true;
  expect_every_edge_explained(told);
  for (const std::string& reason : told.reasons) EXPECT_EQ(reason, "fusion_off");
}

TEST(FusionRefusal, TooManyInstructions) {
  Tensor x = random({64});
  Told told = compile([&] {
    Tensor y = x;
    for (int i = 0; i < 400; ++i) y = tanh(y) * 2.0;
    eval(y);
  });
  expect_every_edge_explained(told);
  EXPECT_THAT(told.reasons, Contains("instructions"));
}

struct Net : Module {
  Linear first{16, 32}, second{32, 4};
  LayerNorm norm{Shape{32}};
  Tensor forward(const Tensor& x) { return second(gelu(norm(first(x)))); }
  ENCORE_MEMBERS(first, second, norm)
};

TEST(FusionRefusal, ATrainingStep) {
  Net net;
  AdamW optimizer(net.parameters(), {.lr = 1e-3});
  Tensor x = random({64, 16}), target = random({64, 4});
  auto step = [&] {
    Tensor loss = mse_loss(net(x), target);
    optimizer.zero_grad();
    loss.backward();
    optimizer.step();
  };
  step();
  trace::Statistics before = trace::statistics();
  Told told = compile(step);
  expect_every_edge_explained(told);
  trace::Statistics after = trace::statistics();
  int64_t counted = 0;
  for (int i = 0; i < trace::fusion_refusal_count; ++i)
    counted += after.fusion_refusals[i] - before.fusion_refusals[i];
  EXPECT_EQ(counted, int64_t(told.refusals.size()));
}

TEST(FusionRefusal, Attention) {
  Tensor q = random({2, 4, 16, 8}), k = random({2, 4, 16, 8}), v = random({2, 4, 16, 8});
  Told told = compile([&] {
    Tensor scores = softmax(matmul(q, k.transpose()) * 0.3);
    eval(matmul(scores, v).permute({0, 2, 1, 3}).reshape({2, 16, 32}) + 1.0);
  });
  expect_every_edge_explained(told);
}

}  // namespace
}  // namespace encore
