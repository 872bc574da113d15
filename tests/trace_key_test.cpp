// Captures have the same words exactly when their graphs are the same: all small programs of a few
// ops are compared with one another.
#include <encore/core/settings.h>
#include <encore/encore.h>
#include <encore/trace/capture.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <map>

namespace encore {
namespace {

using trace::Capture;
using trace::Graph;
using trace::GraphNode;
using Words = std::vector<uint64_t>;

/// All of a graph that a key must tell, in words that owe nothing to it.
std::string text_of(const Graph& graph) {
  std::string text;
  for (const GraphNode& node : graph.nodes)
    text += fmt::format("{} {} [{}] ({}) {{{}}} {} {}\n", name_of(node.op), name_of(node.dtype),
                        fmt::join(node.shape, " "), fmt::join(node.inputs, " "),
                        fmt::join(node.attributes, " "), node.slot,
                        node.op == OpId::literal ? node.bits : 0);
  return text + fmt::format("{} / {}", fmt::join(graph.outputs, " "), graph.donated);
}

/// Whether what was seen under the same words had the same graphs, and the other way round.
class OneToOne {
 public:
  void see(std::span<Node* const> roots, SyncKind kind) {
    Capture capture;
    trace::capture(roots, kind, default_device(), capture);
    std::string text = text_of(build_graph(capture));
    EXPECT_EQ(texts_.emplace(capture.words, text).first->second, text);
    EXPECT_EQ(words_.emplace(text, capture.words).first->second, capture.words) << text;
  }
  size_t size() const { return texts_.size(); }

 private:
  std::map<Words, std::string> texts_;
  std::map<std::string, Words> words_;
};

/// What may be recorded next out of `count` tensors.
constexpr size_t ways_of_one = 7;
constexpr size_t choice_count(size_t count) { return count * ways_of_one + count * count; }

Arg literal(double value) { return Arg::literal(value, std::source_location::current()); }

Tensor record_choice(size_t choice, const std::vector<Tensor>& given) {
  size_t binary = given.size() * given.size();
  if (choice < binary) return given[choice / given.size()] - given[choice % given.size()];
  const Tensor& x = given[(choice - binary) / ways_of_one];
  switch ((choice - binary) % ways_of_one) {
    case 0:
      return -x;
    case 1:
      return x - 2.0;
    case 2:
      return 2.0 - x;
    case 3:
      return x - literal(2);
    case 4:
      return x - literal(3);
    case 5:
      return reshape(x, {1, 2});
    default:
      return where(x, 1.0, 2.0);
  }
}

/// Records the ops `choices` over two leaves, lets go of the handles in the mask `dropped`, and
/// captures the rest.
void see_program(std::span<const size_t> choices, size_t dropped, SyncKind kind, OneToOne& seen) {
  std::vector<Tensor> values = {from_vector<float>({1, 2}), from_vector<float>({3, 4})};
  for (size_t choice : choices) values.push_back(record_choice(choice, values));
  Node* root = values.back().node();
  for (size_t i = 0; i + 1 < values.size(); ++i)
    if (dropped >> i & 1) values[i] = Tensor();
  seen.see({&root, 1}, kind);
}

/// Calls `to` with every program of so many ops.
template <class To>
void for_each_program(size_t ops, const To& to) {
  std::vector<size_t> choices(ops, 0);
  for (size_t at = 0; at < ops;) {
    to(std::span<const size_t>(choices));
    for (at = 0; at < ops; ++at) {
      if (++choices[at] < choice_count(at + 2)) break;
      choices[at] = 0;
    }
  }
}

TEST(TraceKey, SmallProgramsShareKeysExactlyWhenTheyShareGraphs) {
  OneToOne seen;
  for (SyncKind kind : {SyncKind::read, SyncKind::step})
    for_each_program(2, [&](std::span<const size_t> choices) {
      for (size_t dropped = 0; dropped < 8; ++dropped) see_program(choices, dropped, kind, seen);
    });
  EXPECT_GT(seen.size(), 900u);
  size_t number = 0;
  for_each_program(3, [&](std::span<const size_t> choices) {
    see_program(choices, number++ * 7 % 16, SyncKind::step, seen);
  });
  EXPECT_GT(seen.size(), 10000u);
}

// A head word has 13 bits a distance, of which the last stands for longer ones.
TEST(TraceKey, FarInputsAreTold) {
  OneToOne seen;
  for (size_t length : {8185, 8190, 8200}) {
    for (size_t reader = 0; reader < 12; ++reader) {
      Tensor x = from_vector<float>({1, 2}), early = -x, y = early, from;
      for (size_t i = 0; i < length; ++i) {
        if (i == reader) from = y;
        y = y + 1.0;
      }
      y = y - from;
      from = early = Tensor();
      Node* root = y.node();
      seen.see({&root, 1}, SyncKind::step);
    }
  }
  EXPECT_EQ(seen.size(), 36u);
}

TEST(TraceKey, FarInputsAreReadAgainInReplays) {
  for (float start : {1.0f, 2.0f}) {
    Tensor x = from_vector<float>({start}), y = x + 1.0, early = y;
    for (int i = 0; i < 9000; ++i) y = y + 1.0;
    EXPECT_EQ((y - early).item<float>(), 9000);
  }
}

}  // namespace
}  // namespace encore
