// Does a replayed sequence of launches run on what it was given this time, never on what a graph
// remembers?
#include <encore/core/error.h>
#include <encore/jit/cuda/enqueue.h>
#include <encore/jit/cuda/sequence.h>
#include <gmock/gmock.h>

#include <cstring>

#include "fake_cuda_driver.h"

namespace encore::jit::cuda {
namespace {

/// Two words: where to add what.
struct Parameters {
  int64_t* target;
  int64_t amount;
};

/// A kernel that adds its one scalar to its one argument; as many steps and as much scratch memory
/// a launch as wanted.
class Adder final : public Launchable {
 public:
  Adder(CUfunction function, unsigned grid) : function_(function), grid_(grid) {}
  void pack(std::span<const Segment> segments, LaunchList& to) const override {
    for (const Segment& segment : segments) {
      size_t block = to.add_block(sizeof(Parameters));
      Parameters parameters{static_cast<int64_t*>(segment.arguments[0]),
                            int64_t(segment.scalars[0])};
      std::memcpy(to.block(block), &parameters, sizeof parameters);
      if (scratch_bytes) to.add_scratch({this, block, scratch_bytes});
      for (unsigned step = 0; step < steps; ++step)
        to.launches.push_back({function_, {0, grid_, 32, 0}, block, sizeof parameters});
    }
  }
  void set_scratch(std::byte*, void* scratch) const override { scratch_seen.push_back(scratch); }
  void launch(std::span<const Segment>) const override { FAIL() << "launched by itself"; }
  size_t bytes() const override { return 0; }

  unsigned& grid() { return grid_; }

  unsigned steps = 1;
  size_t scratch_bytes = 0;
  mutable std::vector<void*> scratch_seen;

 private:
  CUfunction function_;
  unsigned grid_;
};

/// The same by a library that works on the stream in its own way, in so many operations.
class Caller final : public Launchable, public LibraryCall {
 public:
  explicit Caller(int operations) : operations_(operations) {}
  void pack(std::span<const Segment> segments, LaunchList& to) const override {
    size_t block = to.add_block(sizeof(Parameters));
    Parameters parameters{static_cast<int64_t*>(segments[0].arguments[0]),
                          int64_t(segments[0].scalars[0])};
    std::memcpy(to.block(block), &parameters, sizeof parameters);
    to.launches.push_back({nullptr, {}, block, sizeof parameters, this});
  }
  void enqueue(const std::byte* block, CUstream stream) const override {
    if (fails) throw DeviceError("the library fails", {});
    Parameters parameters;
    std::memcpy(&parameters, block, sizeof parameters);
    for (int i = 1; i < operations_; ++i) fake_cuda::enqueue(stream, [] {});
    fake_cuda::enqueue(stream, [=] { *parameters.target += parameters.amount; });
  }
  void set_scratch(std::byte*, void*) const override { FAIL() << "it asked for none"; }
  void launch(std::span<const Segment>) const override { FAIL() << "launched by itself"; }
  size_t bytes() const override { return 0; }

  int& operations() { return operations_; }
  bool fails = false;

 private:
  int operations_;
};

class CudaSequenceTest : public ::testing::Test {
 protected:
  CudaSequenceTest() : fake_(fake_cuda::driver()), gpu_(0), memory_(gpu_) {
    fake_.kernels["add"] = {sizeof(Parameters), [](const std::byte* block) {
                              Parameters parameters;
                              std::memcpy(&parameters, block, sizeof parameters);
                              *parameters.target += parameters.amount;
                            }};
    fake_.launches.clear();
    fake_.calls.clear();
    gpu_.enter();
    driver().cuModuleLoadData(&module_, "");
    driver().cuModuleGetFunction(&function_, module_, "add");
  }
  ~CudaSequenceTest() override {
    fail_call(0, 0);
    driver().cuStreamSynchronize.status(gpu_.stream());
    driver().cuModuleUnload.status(module_);
  }

  /// Each launch waits for the one before.
  GraphSequence make(size_t launches) {
    Dependencies chain(launches);
    for (uint32_t i = 1; i < launches; ++i) chain[i] = {i - 1};
    return make(launches, chain);
  }

  GraphSequence make(size_t launches, Dependencies waits_for) {
    adders_.clear();
    std::vector<std::shared_ptr<const Executable>> code;
    for (size_t i = 0; i < launches; ++i) {
      adders_.push_back(std::make_shared<Adder>(function_, 1));
      code.push_back(adders_.back());
    }
    return GraphSequence(gpu_, memory_, code, std::move(waits_for));
  }

  /// Three launches, the second of them a library's.
  GraphSequence make_with_call() {
    caller_ = std::make_shared<Caller>(2);
    return GraphSequence(
        gpu_, memory_,
        {std::make_shared<Adder>(function_, 1), caller_, std::make_shared<Adder>(function_, 1)},
        {{}, {0}, {1}});
  }

  /// Each launch i adds amounts[i] to *targets[i].
  Progress run(GraphSequence& sequence, std::vector<int64_t*> targets,
               std::vector<uint64_t> amounts) {
    std::vector<void*> pointers(targets.begin(), targets.end());
    std::vector<Segment> segments;
    for (size_t i = 0; i < targets.size(); ++i)
      segments.push_back({&pointers[i], nullptr, &amounts[i]});
    std::vector<std::span<const Segment>> launches;
    for (const Segment& segment : segments) launches.push_back({&segment, 1});
    Progress progress;
    sequence.run(launches, progress);
    return progress;
  }

  fake_cuda::Driver& fake_;
  Gpu gpu_;
  DeviceMemory memory_;
  CUmodule module_ = nullptr;
  CUfunction function_ = nullptr;
  std::vector<std::shared_ptr<Adder>> adders_;
  std::shared_ptr<Caller> caller_;
};

TEST_F(CudaSequenceTest, TheFirstRunLaunchesAndLaterOnesReplayOneGraph) {
  GraphSequence sequence = make(4);
  int64_t sums[4] = {};
  for (int run_number = 0; run_number < 5; ++run_number) {
    Progress progress = run(sequence, {sums, sums + 1, sums + 2, sums + 3}, {1, 2, 3, 4});
    EXPECT_TRUE(progress.launched);
    EXPECT_EQ(progress.graphs, run_number > 0);
  }
  EXPECT_EQ(fake_.launches.size(), 0u);  // only enqueued so far
  gpu_.synchronize();
  EXPECT_THAT(sums, ::testing::ElementsAre(5, 10, 15, 20));
  EXPECT_EQ(fake_.calls["cuLaunchKernel"], 4);
  EXPECT_EQ(fake_.calls["cuGraphInstantiateWithFlags"], 1);
  EXPECT_EQ(fake_.calls["cuGraphLaunch"], 4);
  EXPECT_EQ(fake_.calls["cuGraphExecKernelNodeSetParams_v2"], 0);  // nothing has moved
}

TEST_F(CudaSequenceTest, FewLaunchesNeedNoGraph) {
  GraphSequence sequence = make(2);
  int64_t sums[2] = {};
  for (int i = 0; i < 3; ++i) EXPECT_EQ(run(sequence, {sums, sums + 1}, {1, 1}).graphs, 0u);
  gpu_.synchronize();
  EXPECT_THAT(sums, ::testing::ElementsAre(3, 3));
  EXPECT_EQ(fake_.calls.count("cuGraphCreate"), 0u);
}

TEST_F(CudaSequenceTest, OnlyWhatMovedIsSetAnew) {
  GraphSequence sequence = make(3);
  int64_t a = 0, b = 0, c = 0, d = 0;
  run(sequence, {&a, &b, &c}, {1, 1, 1});
  run(sequence, {&a, &b, &c}, {1, 1, 1});
  run(sequence, {&a, &d, &c}, {1, 1, 1});  // an address
  EXPECT_EQ(fake_.calls["cuGraphExecKernelNodeSetParams_v2"], 1);
  run(sequence, {&a, &d, &c}, {1, 1, 50});  // a scalar
  EXPECT_EQ(fake_.calls["cuGraphExecKernelNodeSetParams_v2"], 2);
  adders_[0]->grid() = 7;  // a shape
  run(sequence, {&a, &d, &c}, {1, 1, 50});
  EXPECT_EQ(fake_.calls["cuGraphExecKernelNodeSetParams_v2"], 3);
  gpu_.synchronize();
  EXPECT_EQ(a, 5);
  EXPECT_EQ(b, 2);
  EXPECT_EQ(d, 3);
  EXPECT_EQ(c, 103);
  EXPECT_EQ(fake_.launches.back().in_graph, true);
  EXPECT_EQ(fake_.launches[12].grid, 7u);
}

TEST_F(CudaSequenceTest, AThousandReplaysWithMovedInputsAreRight) {
  GraphSequence sequence = make(5);
  std::vector<int64_t> sums(97), expected(97);
  for (uint64_t i = 0; i < 1000; ++i) {
    std::vector<int64_t*> targets;
    std::vector<uint64_t> amounts;
    for (uint64_t k = 0; k < 5; ++k) {
      uint64_t place = (i * 7 + k * 13 + (i / 3) * k) % 97;
      targets.push_back(&sums[place]);
      amounts.push_back(i + k);
      expected[place] += int64_t(i + k);
    }
    run(sequence, targets, amounts);
  }
  gpu_.synchronize();
  EXPECT_EQ(sums, expected);
  EXPECT_EQ(fake_.calls["cuGraphLaunch"], 999);
}

TEST_F(CudaSequenceTest, AnotherNumberOfLaunchesMakesAnotherGraph) {
  GraphSequence sequence = make(3);
  int64_t a = 0, b = 0, c = 0;
  run(sequence, {&a, &b, &c}, {1, 1, 1});
  run(sequence, {&a, &b, &c}, {1, 1, 1});
  std::vector<void*> pointers = {&a, &b, &c, &c};
  uint64_t amount = 10;
  std::vector<Segment> segments;
  for (void*& pointer : pointers) segments.push_back({&pointer, nullptr, &amount});
  std::span<const Segment> all(segments);
  std::vector<std::span<const Segment>> launches = {all.first(1), all.subspan(1, 1), all.last(2)};
  Progress progress;
  sequence.run(launches, progress);
  gpu_.synchronize();
  EXPECT_EQ(progress.graphs, 1u);
  EXPECT_EQ(a, 12);
  EXPECT_EQ(c, 22);
  EXPECT_EQ(fake_.executable_graphs, 1);
}

/// What ran, by the amounts that it added.
std::vector<int64_t> amounts_of(const std::vector<fake_cuda::Launch>& launches) {
  std::vector<int64_t> amounts;
  for (const fake_cuda::Launch& launch : launches) {
    Parameters parameters;
    std::memcpy(&parameters, launch.parameters.data(), sizeof parameters);
    amounts.push_back(parameters.amount);
  }
  return amounts;
}

TEST_F(CudaSequenceTest, InAGraphALaunchWaitsOnlyForWhatItDependsOn) {
  GraphSequence sequence = make(5, {{}, {}, {0}, {}, {1, 2}});
  adders_[3]->steps = 2;
  int64_t sum = 0;
  std::vector<int64_t*> targets(5, &sum);
  run(sequence, targets, {1, 2, 3, 4, 5});
  gpu_.synchronize();
  EXPECT_THAT(amounts_of(fake_.launches), ::testing::ElementsAre(1, 2, 3, 4, 4, 5));
  fake_.launches.clear();
  run(sequence, targets, {1, 2, 3, 4, 5});
  gpu_.synchronize();
  // The fake runs the latest of those that may run.
  EXPECT_THAT(amounts_of(fake_.launches), ::testing::ElementsAre(4, 4, 2, 1, 3, 5));
}

TEST_F(CudaSequenceTest, ALaunchOfNothingPassesOnWhatItWaitsFor) {
  GraphSequence sequence = make(5, {{}, {0}, {1}, {2}, {}});
  adders_[1]->steps = adders_[2]->steps = 0;
  int64_t sum = 0;
  std::vector<int64_t*> targets(5, &sum);
  for (int runs = 0; runs < 2; ++runs) run(sequence, targets, {1, 2, 3, 4, 5});
  gpu_.synchronize();
  EXPECT_THAT(amounts_of(fake_.launches), ::testing::ElementsAre(1, 4, 5, 5, 1, 4));
}

TEST_F(CudaSequenceTest, LaunchesSideBySideShareNoScratchMemory) {
  GraphSequence sequence = make(3, {{}, {}, {}});
  adders_[0]->scratch_bytes = adders_[2]->scratch_bytes = 4096;
  int64_t sum = 0;
  run(sequence, {&sum, &sum, &sum}, {1, 2, 3});
  auto* first = static_cast<std::byte*>(adders_[0]->scratch_seen.at(0));
  auto* last = static_cast<std::byte*>(adders_[2]->scratch_seen.at(0));
  EXPECT_GE(std::abs(last - first), 4096);
}

TEST_F(CudaSequenceTest, LaunchesThatMustShareScratchMemoryTakeTurns) {
  GraphSequence sequence = make(3, {{}, {}, {}});
  adders_[0]->scratch_bytes = GraphSequence::most_separate_scratch / 2;
  adders_[2]->scratch_bytes = GraphSequence::most_separate_scratch / 2 + 256;
  int64_t sum = 0;
  for (int runs = 0; runs < 2; ++runs) run(sequence, {&sum, &sum, &sum}, {1, 2, 3});
  EXPECT_EQ(adders_[0]->scratch_seen.at(1), adders_[2]->scratch_seen.at(1));
  gpu_.synchronize();
  EXPECT_THAT(amounts_of(fake_.launches), ::testing::ElementsAre(1, 2, 3, 1, 2, 3));
}

TEST_F(CudaSequenceTest, CallsOfALibraryAreNodesThatAreCapturedAnewWhenTheyMove) {
  GraphSequence sequence = make_with_call();
  int64_t a = 0, b = 0, c = 0, d = 0;
  run(sequence, {&a, &b, &c}, {1, 2, 3});
  EXPECT_EQ(fake_.calls["cuStreamBeginCapture_v2"], 0);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(run(sequence, {&a, &b, &c}, {1, 2, 3}).graphs, 1u);
  EXPECT_EQ(fake_.calls["cuStreamBeginCapture_v2"], 1);
  run(sequence, {&a, &d, &c}, {1, 2, 3});
  EXPECT_EQ(fake_.calls["cuStreamBeginCapture_v2"], 2);
  EXPECT_EQ(fake_.calls["cuGraphExecChildGraphNodeSetParams"], 1);
  EXPECT_EQ(fake_.calls["cuGraphInstantiateWithFlags"], 1);
  caller_->operations() = 3;  // the library now needs more launches
  EXPECT_EQ(run(sequence, {&a, &b, &c}, {1, 2, 3}).graphs, 1u);
  EXPECT_EQ(fake_.calls["cuGraphInstantiateWithFlags"], 2);
  gpu_.synchronize();
  EXPECT_THAT(std::vector({a, b, c, d}), ::testing::ElementsAre(6, 10, 18, 2));
}

TEST_F(CudaSequenceTest, AFailingLibraryLeavesNoCaptureBehind) {
  {
    GraphSequence sequence = make_with_call();
    int64_t a = 0, b = 0, c = 0;
    run(sequence, {&a, &b, &c}, {1, 1, 1});
    caller_->fails = true;
    EXPECT_THROW(run(sequence, {&a, &b, &c}, {1, 1, 1}), DeviceError);
    caller_->fails = false;
    EXPECT_EQ(run(sequence, {&a, &b, &c}, {1, 1, 1}).graphs, 1u);
    gpu_.synchronize();
    EXPECT_THAT(std::vector({a, b, c}), ::testing::ElementsAre(2, 2, 2));
  }
  EXPECT_EQ(fake_.graphs, 0);
}

TEST_F(CudaSequenceTest, AFailureAroundALibraryLeavesNothingStaleAndNothingBehind) {
  for (const char* function :
       {"cuCtxSetCurrent", "cuGraphCreate", "cuGraphAddKernelNode", "cuGraphAddChildGraphNode",
        "cuStreamBeginCapture", "cuStreamEndCapture", "cuGraphInstantiate",
        "cuGraphExecKernelNodeSetParams", "cuGraphExecChildGraphNodeSetParams", "cuGraphLaunch"}) {
    SCOPED_TRACE(function);
    int64_t a = 0, b = 0, c = 0, d = 0;
    {
      GraphSequence sequence = make_with_call();
      run(sequence, {&a, &b, &c}, {1, 1, 1});
      fail_call(1, 1, function);
      int failed = 0;
      for (auto targets : {std::vector{&a, &b, &c}, {&a, &d, &c}, {&d, &b, &d}}) {
        try {
          run(sequence, targets, {1, 1, 1});
        } catch (const DeviceError&) {
          ++failed;
        }
      }
      fail_call(0, 0);
      EXPECT_EQ(failed, 1);
      run(sequence, {&d, &b, &a}, {5, 6, 7});
      gpu_.synchronize();
      EXPECT_EQ(a + b + c + d, 3 + 6 + 18);
    }
    EXPECT_EQ(fake_.graphs, 0);
    EXPECT_EQ(fake_.executable_graphs, 0);
  }
}

TEST_F(CudaSequenceTest, AFailureAtEveryCallLeavesNothingStaleAndNothingBehind) {
  int n = 1;
  for (bool failed = true; failed; ++n) {
    int64_t a = 0, b = 0, c = 0, d = 0;
    {
      GraphSequence sequence = make(3);
      run(sequence, {&a, &b, &c}, {1, 1, 1});
      gpu_.synchronize();
      failed = false;
      fail_call(n, 1);
      int runs = 0;
      auto attempt = [&](std::vector<int64_t*> targets) {
        try {
          run(sequence, targets, {1, 1, 1});
          ++runs;
        } catch (const DeviceError&) {
          failed = true;
        }
      };
      attempt({&a, &b, &c});
      attempt({&a, &d, &c});
      attempt({&d, &b, &d});
      fail_call(0, 0);
      gpu_.synchronize();
      EXPECT_EQ(a + b + c + d, 3 + 3 * runs) << n;  // a failed run ran nothing
      a = b = c = d = 0;
      run(sequence, {&d, &b, &a}, {5, 6, 7});
      gpu_.synchronize();
      EXPECT_EQ(a, 7);
      EXPECT_EQ(b, 6);
      EXPECT_EQ(c, 0);
      EXPECT_EQ(d, 5);
    }
    EXPECT_EQ(fake_.graphs, 0) << n;
    EXPECT_EQ(fake_.executable_graphs, 0) << n;
  }
  EXPECT_GT(n, 10);
}

}  // namespace
}  // namespace encore::jit::cuda
