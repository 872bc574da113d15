// Do very long chains work on a very small stack: recorded, evaluated, differentiated,
// dumped, destroyed?
#include <encore/core/events.h>
#include <encore/core/settings.h>
#include <encore/encore.h>
#include <encore/trace/statistics.h>
#include <encore/utils/bundle.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>

namespace encore {
namespace {

/// The automatic cut is off while it lives.
class WithoutCut {
 public:
  WithoutCut() : before_(settings()) { settings().cut_nodes = settings().cut_bytes = 0; }
  ~WithoutCut() { settings() = before_; }

 private:
  Settings before_;
};

/// Runs `act` on a thread with a stack of 256 KiB; a deeper one would end the process.
void on_a_small_stack(std::function<void()> act) {
  pthread_attr_t attributes;
  ASSERT_EQ(pthread_attr_init(&attributes), 0);
  ASSERT_EQ(pthread_attr_setstacksize(&attributes, 256 << 10), 0);
  pthread_t thread;
  auto run = [](void* context) -> void* {
    (*static_cast<std::function<void()>*>(context))();
    return nullptr;
  };
  ASSERT_EQ(pthread_create(&thread, &attributes, run, &act), 0);
  pthread_join(thread, nullptr);
  pthread_attr_destroy(&attributes);
}

int length() {
  const char* text = std::getenv("ENCORE_CHAIN");
  return text ? std::atoi(text) : 1'000'000;
}

TEST(DeepGraph, AMillionNodesAreRecordedEvaluatedAndDestroyed) {
  WithoutCut guard;
  on_a_small_stack([] {
    trace::Statistics before = trace::statistics();
    Tensor x = from_vector<float>({1, -1, 0.5});
    for (int i = 0; i < length(); ++i) x = -x;
    std::vector<float> sign = {1, -1, 0.5};
    EXPECT_EQ(x.to_vector<float>(), sign);
    trace::Statistics after = trace::statistics();
    EXPECT_EQ(after.nodes_captured - before.nodes_captured, length());
    EXPECT_LE(after.kernels_compiled - before.kernels_compiled, 4);  // equal chunks share a key
    EXPECT_EQ(after.cuts, before.cuts);
  });
}

TEST(DeepGraph, ScalarsOfALongChainAreArguments) {
  WithoutCut guard;
  on_a_small_stack([] {
    trace::Statistics before = trace::statistics();
    Tensor x = from_vector<double>({1, 2});
    double expected = 1;
    for (int i = 0; i < length() / 2; ++i) {
      x = x * (i % 2 ? 2.0 : 0.5) + 0.0;
      expected *= i % 2 ? 2.0 : 0.5;
    }
    EXPECT_EQ(x.to_vector<double>(), (std::vector<double>{expected, 2 * expected}));
    EXPECT_LE(trace::statistics().kernels_compiled - before.kernels_compiled, 4);
  });
}

TEST(DeepGraph, AMillionNodesAreDifferentiated) {
  WithoutCut guard;
  on_a_small_stack([] {
    Parameter p(from_vector<float>({1, 2, 3}));
    Tensor x = p;
    for (int i = 0; i < length() / 2; ++i) x = -x;  // as many nodes again go back
    backward(x.sum());
    EXPECT_EQ(p.grad().to_vector<float>(), (std::vector<float>{1, 1, 1}));
  });
}

TEST(DeepGraph, AMillionNodesAreDestroyedUnevaluated) {
  WithoutCut guard;
  on_a_small_stack([] {
    trace::Statistics before = trace::statistics();
    {
      Tensor x = ones({3});
      for (int i = 0; i < 1'000'000; ++i) x = -x;
    }
    EXPECT_EQ(trace::statistics().syncs, before.syncs);
    EXPECT_EQ((ones({2}) + 1.0).to_vector<float>(), (std::vector<float>{2, 2}));
  });
}

TEST(DeepGraph, ThreeHundredThousandDoublingsAreDestroyedUnevaluated) {
  WithoutCut guard;
  on_a_small_stack([] {
    Tensor x = from_vector<float>({1});
    for (int i = 0; i < 300'000; ++i) x = 2 * x;
    x = Tensor();
    EXPECT_EQ((from_vector<float>({3}) * 2).item<float>(), 6);
  });
}

TEST(DeepGraph, AHundredThousandSplitsAndConcatenationsAreDestroyedUnevaluated) {
  WithoutCut guard;
  on_a_small_stack([] {
    Tensor x = from_vector<float>({1, 2, 3, 4});
    for (int i = 0; i < 100'000; ++i) x = concat(split(x, 2));
    x = Tensor();
    EXPECT_EQ(concat(split(from_vector<float>({1, 2}), 1)).to_vector<float>(),
              (std::vector<float>{1, 2}));
  });
}

size_t lines_in(const std::filesystem::path& file) {
  std::ifstream stream(file);
  return size_t(std::count(std::istreambuf_iterator<char>(stream), {}, '\n'));
}

TEST(DeepGraph, AMillionNodesAreDumped) {
  WithoutCut guard;
  on_a_small_stack([&] {
    Tensor x = from_vector<float>({1, 5});
    for (int i = 0; i < length(); ++i) x = -x;
    const std::string text = dump(x);
    EXPECT_GT(std::count(text.begin(), text.end(), '\n'), length());
  });
}

// Its trace.json is told and written in parts.
TEST(DeepGraph, AHundredThousandNodesAreWrittenAsABundle) {
  WithoutCut guard;
  const int nodes = length() / 10;
  const std::filesystem::path folder =
      testing::TempDir() + "encore_deep_" + std::to_string(getpid());
  on_a_small_stack([&] {
    const uint32_t listener = write_bundles(folder);
    size_t largest = 0, all = 0;
    auto measure = [&](const Event& event) {
      if (!event.name.starts_with("trace")) return;
      largest = std::max(largest, event.text.size());
      all += event.text.size();
    };
    const uint32_t second = events::listen(measure, events::bit(EventKind::pass));
    Tensor x = from_vector<float>({1, 5});
    for (int i = 0; i < nodes; ++i) x = -x;
    eval(x);
    events::ignore(listener);
    events::ignore(second);
    EXPECT_GT(all, size_t(nodes) * 100);
    EXPECT_LT(largest, size_t(2) << 20);
  });
  const std::vector<Bundle> bundles = read_bundles(folder);
  ASSERT_EQ(bundles.size(), 1u);
  EXPECT_TRUE(bundles[0].finished());
  EXPECT_GT(lines_in(bundles[0].folder / bundles[0].files("passes").front()), size_t(nodes));
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace encore
