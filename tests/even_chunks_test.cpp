// Are unrolled loops that are too long for one kernel cut into equal pieces, and nothing else?
#include <encore/core/settings.h>
#include <encore/encore.h>
#include <encore/trace/capture.h>
#include <encore/trace/even_chunks.h>
#include <encore/trace/runtime.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <set>

namespace encore {
namespace {

constexpr uint32_t budget = 100;

trace::Graph graph_of(const Tensor& root) {
  Node* node = root.node();
  trace::Capture capture;
  trace::capture({&node, 1}, SyncKind::read, cpu, capture);
  return build_graph(capture);
}

/// Ops in each chunk, in order; by 0 those in none.
std::map<uint32_t, int> sizes_of(const Tensor& root, const jit::Limits& limits = {}) {
  trace::Graph graph = graph_of(root);
  std::vector<uint32_t> chunk_of = even_chunks(graph, limits, budget);
  std::map<uint32_t, int> sizes;
  for (size_t id = 0; id < graph.nodes.size(); ++id)
    if (!graph.nodes[id].inputs.empty()) ++sizes[chunk_of[id]];
  return sizes;
}

/// y after so many rounds of an op that lowers to one instruction, counted as two.
Tensor rounds_of(Tensor y, int count) {
  for (int i = 0; i < count; ++i) y = -y + 1.0;
  return y;
}

Tensor vector_of(float first) { return from_vector<float>({first, 2, 3}); }

TEST(EvenChunks, LongLoopsAreCutEvenly) {
  // 25 rounds of four instructions fit; 60 rounds take three chunks of 20.
  EXPECT_EQ(sizes_of(rounds_of(vector_of(1), 60)),
            (std::map<uint32_t, int>{{1, 40}, {2, 40}, {3, 40}}));
  EXPECT_EQ(sizes_of(rounds_of(vector_of(1), 59)),
            (std::map<uint32_t, int>{{1, 40}, {2, 40}, {3, 38}}));
}

TEST(EvenChunks, WhatFitsIsNotCut) {
  EXPECT_EQ(sizes_of(rounds_of(vector_of(1), 25)), (std::map<uint32_t, int>{{0, 50}}));
  EXPECT_EQ(sizes_of(rounds_of(vector_of(1), 26)), (std::map<uint32_t, int>{{1, 26}, {2, 26}}));
}

TEST(EvenChunks, ScalarsAndLoadsCountAsWell) {
  EXPECT_EQ(sizes_of(rounds_of(vector_of(1), 40), {.scalars = 10}),
            (std::map<uint32_t, int>{{1, 20}, {2, 20}, {3, 20}, {4, 20}}));
  Tensor y = vector_of(1);
  for (int i = 0; i < 40; ++i) y = -y + vector_of(float(i));
  // Six values each: five leaves and what four ops bring.
  EXPECT_EQ(sizes_of(y, {.arguments = 24}).rbegin()->first, 8u);
}

TEST(EvenChunks, WhatEveryRoundReadsCountsOnce) {
  Tensor x = vector_of(1), y = x;
  for (int i = 0; i < 100; ++i) y = y + x;
  EXPECT_EQ(sizes_of(y, {.arguments = 40}), (std::map<uint32_t, int>{{1, 50}, {2, 50}}));
}

TEST(EvenChunks, IndependentOnesAreNotCut) {
  std::vector<Tensor> parts;
  for (int i = 0; i < 60; ++i) parts.push_back(-vector_of(float(i)) + 1.0);
  EXPECT_EQ(sizes_of(concat(parts, 0)).count(1), 0u);
}

TEST(EvenChunks, OtherShapesAndOpsEndALoop) {
  Tensor y = vector_of(1);
  for (int i = 0; i < 60; ++i) y = -y + y.sum();
  EXPECT_EQ(sizes_of(y).count(1), 0u);
}

TEST(EvenChunks, ALoopCompilesOneKernelOrTwo) {
  auto kernels = [](int rounds) {
    Tensor x = vector_of(0.5f), y = x;
    eval(x);
    for (int i = 0; i < rounds; ++i) y = tanh(y * 1.01 + 0.1);
    trace::runtime().clear_caches();
    int64_t before = stats().kernels_compiled;
    eval(y);
    return stats().kernels_compiled - before;
  };
  std::set<int64_t> seen;  // where chunks are equal depends on how large a backend's kernels may be
  for (int rounds : {192, 196, 200, 204}) seen.insert(kernels(rounds));
  EXPECT_EQ(seen, (std::set<int64_t>{1, 2}));
}

TEST(EvenChunks, NothingIsComputedOtherwise) {
  auto values = [](bool fuse) {
    settings().strict = true;
    settings().fuse = fuse;
    Tensor x = vector_of(0.5f), y = x, z = x;
    for (int i = 0; i < 300; ++i) {
      Tensor next = tanh(y * 1.01 + z * 0.3);
      z = y - 0.1;
      y = next;
    }
    std::vector<float> result = (y + z).to_vector<float>();
    settings().strict = false;
    settings().fuse = true;
    return result;
  };
  EXPECT_EQ(values(true), values(false));
}

}  // namespace
}  // namespace encore
