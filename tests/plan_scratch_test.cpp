// Does the memory that launches want beside their arguments lie where a program has room?
#include <encore/trace/find_dependencies.h>
#include <encore/trace/plan_scratch.h>
#include <gmock/gmock.h>

namespace encore::trace {
namespace {

using jit::ScratchWish;
using jit::Use;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr uint32_t nobody = ~0u;
constexpr int64_t block = 1 << 20;

class Wanting final : public jit::Executable {
 public:
  explicit Wanting(ScratchWish wish) : wish_(wish) {}
  void launch(std::span<const jit::Segment>) const override {}
  size_t bytes() const override { return 0; }
  ScratchWish scratch(const jit::Segment& segment) const override {
    shares_ = segment.arguments[0] == segment.arguments[1];
    return wish_;
  }
  bool shares() const { return shares_; }

 private:
  ScratchWish wish_;
  mutable bool shares_ = false;
};

/// A chain of launches: each reads the result of the one before it.
struct Chain {
  LoweredTrace trace;
  LaunchOrder order;
  MemoryPlan plan;
  std::vector<std::shared_ptr<const jit::Executable>> code;

  explicit Chain(const std::vector<int64_t>& results) {
    add({.bytes = 64, .leaf = 0});
    for (int64_t bytes : results) add({.bytes = bytes});
    trace.buffers.back().is_output = true;
    for (uint32_t k = 0; k < results.size(); ++k) {
      PlannedKernel kernel;
      kernel.buffers = {k, k + 1};
      kernel.kernel.arguments = {{DType::f32, Use::read}, {DType::f32, Use::write}};
      trace.kernels.push_back(std::move(kernel));
      order.launch_of.push_back(k);
      code.push_back(std::make_shared<Wanting>(ScratchWish()));
    }
  }
  void add(PlanBuffer buffer) {
    trace.buffers.push_back(buffer);
    order.takes_over.push_back(nobody);
  }
  void want(uint32_t launch, size_t least, size_t best) {
    code[launch] = std::make_shared<Wanting>(ScratchWish{least, best});
  }
  /// Bytes by which scratch memory made the program larger.
  int64_t run() {
    plan = plan_memory(trace, order, {false});
    const int64_t before = plan.total_bytes;
    plan_scratch(code, {false}, trace, order, plan);
    return plan.total_bytes - before;
  }
  int64_t bytes_of(uint32_t launch) const {
    const uint32_t scratch = trace.kernels[launch].scratch;
    return scratch == nobody ? 0 : trace.buffers[scratch].bytes;
  }
  /// Whether two launches have some of their scratch memory in common.
  bool meet(uint32_t a, uint32_t b) const {
    const MemoryPlan::Home& x = plan.homes[trace.kernels[a].scratch];
    const MemoryPlan::Home& y = plan.homes[trace.kernels[b].scratch];
    return x.output == y.output && x.offset < y.offset + bytes_of(b) &&
           y.offset < x.offset + bytes_of(a);
  }
};

TEST(PlanScratch, NothingChangesWhereNobodyWantsAny) {
  Chain chain({block, block, block});
  EXPECT_EQ(chain.run(), 0);
  EXPECT_EQ(chain.trace.buffers.size(), 4u);
}

TEST(PlanScratch, LiesWhereSomethingElseLiesAtOtherTimes) {
  Chain chain({64, 8 * block, 64, 64});
  chain.want(3, 0, 4 * block);  // when the large result is no longer needed
  EXPECT_EQ(chain.run(), 0);
  EXPECT_EQ(chain.bytes_of(3), 4 * block);
}

TEST(PlanScratch, IsTheLeastWhereMoreWouldEnlargeTheProgram) {
  Chain chain({64, 8 * block, 8 * block, 64, 64});
  chain.want(2, 512, 4 * block);  // both large ones are there
  chain.want(4, 0, 4 * block);
  EXPECT_LE(chain.run(), 1024);
  EXPECT_EQ(chain.bytes_of(2), 512);
  EXPECT_EQ(chain.bytes_of(4), 4 * block);
}

TEST(PlanScratch, OfNothingIsNoBuffer) {
  Chain chain({64, 8 * block, 8 * block, 64});
  chain.want(2, 0, 4 * block);
  EXPECT_EQ(chain.run(), 0);
  EXPECT_EQ(chain.trace.kernels[2].scratch, nobody);
}

TEST(PlanScratch, ALittleIsAlwaysGiven) {
  Chain chain({64, 64});
  chain.want(0, 0, 40'000);
  EXPECT_EQ(chain.run(), 40'000);
  EXPECT_EQ(chain.bytes_of(0), 40'000);
}

TEST(PlanScratch, NeighboursHaveTheirOwnWhereThereIsRoom) {
  const std::vector<int64_t> results = {64, 8 * block, 64, 64, 64, 64, 64, 64};
  Chain roomy(results), narrow(results);
  for (uint32_t launch : {5u, 6u, 7u}) {
    roomy.want(launch, 0, 2 * block);
    narrow.want(launch, 0, 7 * block);
  }
  EXPECT_EQ(roomy.run(), 0);
  EXPECT_FALSE(roomy.meet(5, 6) || roomy.meet(6, 7) || roomy.meet(5, 7));
  EXPECT_EQ(narrow.run(), 0);
  EXPECT_TRUE(narrow.meet(5, 6) && narrow.meet(6, 7) && narrow.meet(5, 7));
}

TEST(PlanScratch, InOneMemoryIsUsedInTurns) {
  Chain chain({4 * block, 64, 64});
  chain.trace.kernels[1].buffers[0] = 0;  // needs nothing of the first launch
  chain.trace.kernels[2].buffers[0] = 0;
  chain.want(1, 0, 3 * block);
  chain.want(2, 0, 3 * block);
  EXPECT_EQ(chain.run(), 0);
  EXPECT_THAT(find_dependencies(chain.trace, chain.order.launch_of, chain.plan),
              ElementsAre(IsEmpty(), ElementsAre(0), ElementsAre(1)));
}

TEST(PlanScratch, CodeIsToldWhatContinuesInItsArgumentsMemory) {
  Chain chain({block, block});
  chain.order.takes_over[2] = 1;
  chain.run();
  EXPECT_FALSE(static_cast<const Wanting&>(*chain.code[0]).shares());
  EXPECT_TRUE(static_cast<const Wanting&>(*chain.code[1]).shares());
}

}  // namespace
}  // namespace encore::trace
