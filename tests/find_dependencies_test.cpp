// Does every launch wait for what it must, and for nothing else?
#include <encore/trace/find_dependencies.h>
#include <gmock/gmock.h>

#include <random>

namespace encore::trace {
namespace {

using jit::Use;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

/// Buffers with their homes, and kernels that only name what they use.
struct Made {
  LoweredTrace trace;
  MemoryPlan plan;
  std::vector<uint32_t> launch_of;

  uint32_t buffer(int64_t bytes, MemoryPlan::Home home) {
    trace.buffers.push_back({.bytes = bytes});
    plan.homes.push_back(home);
    return uint32_t(trace.buffers.size() - 1);
  }
  uint32_t leaf(int64_t bytes, uint32_t slot) { return buffer(bytes, {.leaf = slot}); }
  uint32_t in_arena(int64_t bytes, int64_t offset) { return buffer(bytes, {.offset = offset}); }
  uint32_t output(int64_t bytes) { return buffer(bytes, {.output = uint32_t(plan.homes.size())}); }

  void kernel(uint32_t launch, std::vector<std::pair<uint32_t, Use>> uses) {
    PlannedKernel kernel;
    for (auto [buffer, use] : uses) {
      kernel.buffers.push_back(buffer);
      kernel.kernel.arguments.push_back({DType::f32, use});
    }
    trace.kernels.push_back(std::move(kernel));
    launch_of.push_back(launch);
  }
  jit::Dependencies find() const { return find_dependencies(trace, launch_of, plan); }
};

TEST(FindDependencies, NothingNeedsNothing) { EXPECT_THAT(Made().find(), IsEmpty()); }

TEST(FindDependencies, ReadersOfOneLeafRunSideBySide) {
  Made made;
  uint32_t leaf = made.leaf(64, 0), a = made.output(64), b = made.output(64);
  made.kernel(0, {{leaf, Use::read}, {a, Use::write}});
  made.kernel(1, {{leaf, Use::read}, {b, Use::write}});
  EXPECT_THAT(made.find(), ElementsAre(IsEmpty(), IsEmpty()));
}

TEST(FindDependencies, AReaderWaitsForTheWriterAndTheNextWriterForTheReaders) {
  Made made;
  uint32_t a = made.in_arena(64, 0), b = made.in_arena(64, 64), c = made.in_arena(128, 0);
  uint32_t out = made.output(64);
  made.kernel(0, {{a, Use::write}});
  made.kernel(1, {{b, Use::write}});
  made.kernel(2, {{a, Use::read}, {out, Use::write}});
  made.kernel(3, {{c, Use::write}});  // where a and b were
  EXPECT_THAT(made.find(), ElementsAre(IsEmpty(), IsEmpty(), ElementsAre(0), ElementsAre(1, 2)));
}

TEST(FindDependencies, ALeafThatIsTakenOverIsFirstReadByAll) {
  Made made;
  uint32_t leaf = made.leaf(64, 3), heir = made.buffer(64, {.leaf = 3}), out = made.output(64);
  made.kernel(0, {{leaf, Use::read}, {out, Use::write}});
  made.kernel(1, {{leaf, Use::read}, {heir, Use::write}});
  EXPECT_THAT(made.find(), ElementsAre(IsEmpty(), ElementsAre(0)));
}

TEST(FindDependencies, WhatAnAwaitedLaunchWaitsForIsNotRepeated) {
  Made made;
  uint32_t a = made.in_arena(64, 0), b = made.in_arena(64, 64), out = made.output(64);
  made.kernel(0, {{a, Use::write}});
  made.kernel(1, {{a, Use::read}, {b, Use::write}});
  made.kernel(2, {{a, Use::read}, {b, Use::read}, {out, Use::write}});
  EXPECT_THAT(made.find(), ElementsAre(IsEmpty(), ElementsAre(0), ElementsAre(1)));
}

TEST(FindDependencies, KernelsOfOneLaunchDoNotWaitForEachOther) {
  Made made;
  uint32_t a = made.in_arena(64, 0), b = made.in_arena(64, 64), out = made.output(128);
  made.kernel(0, {{a, Use::write}});
  made.kernel(0, {{b, Use::write}});
  made.kernel(1, {{a, Use::read}, {b, Use::read}, {out, Use::write}});
  EXPECT_THAT(made.find(), ElementsAre(IsEmpty(), ElementsAre(0)));
}

/// Whether two launches use common bytes that one of them writes.
std::vector<std::vector<bool>> conflicts(const Made& made) {
  size_t launches = made.launch_of.back() + 1;
  std::vector<std::vector<bool>> found(launches, std::vector<bool>(launches));
  const LoweredTrace& trace = made.trace;
  auto each = [&](auto&& see) {
    for (size_t k = 0; k < trace.kernels.size(); ++k)
      for (size_t i = 0; i < trace.kernels[k].buffers.size(); ++i)
        see(made.launch_of[k], trace.kernels[k].buffers[i],
            trace.kernels[k].kernel.arguments[i].use != Use::read);
  };
  each([&](uint32_t one, uint32_t a, bool a_writes) {
    each([&](uint32_t other, uint32_t b, bool b_writes) {
      const MemoryPlan::Home &x = made.plan.homes[a], &y = made.plan.homes[b];
      bool overlap = trace.buffers[a].bytes && trace.buffers[b].bytes && x.leaf == y.leaf &&
                     x.output == y.output && x.offset < y.offset + trace.buffers[b].bytes &&
                     y.offset < x.offset + trace.buffers[a].bytes;
      if (overlap && (a_writes || b_writes)) found[one][other] = true;
    });
  });
  return found;
}

TEST(FindDependencies, RandomProgramsWaitForExactlyWhatTheyShare) {
  std::mt19937 random(std::random_device{}());
  auto pick = [&](uint32_t below) { return uint32_t(random() % below); };
  for (int round = 0; round < 300; ++round) {
    Made made;
    for (int i = 0; i < 12; ++i) {
      int64_t bytes = 64 * pick(5), offset = 64 * int64_t(pick(12));
      uint32_t memory = pick(3);
      made.buffer(
          bytes,
          {.leaf = memory == 1 ? 7 : ~0u, .output = memory == 2 ? 5 : ~0u, .offset = offset});
    }
    uint32_t launches = 1 + pick(14);
    for (uint32_t launch = 0; launch < launches; ++launch)
      made.kernel(launch,
                  {{pick(12), Use::read}, {pick(12), Use(pick(3))}, {pick(12), Use::write}});
    jit::Dependencies waits_for = made.find();
    std::vector<std::vector<bool>> reaches(launches, std::vector<bool>(launches));
    std::vector<std::vector<bool>> shares = conflicts(made);
    for (uint32_t launch = 0; launch < launches; ++launch)
      for (uint32_t earlier : waits_for[launch]) {
        ASSERT_LT(earlier, launch);
        EXPECT_TRUE(shares[launch][earlier]);
        reaches[launch][earlier] = true;
        for (uint32_t i = 0; i < earlier; ++i)
          if (reaches[earlier][i]) reaches[launch][i] = true;
      }
    for (uint32_t launch = 0; launch < launches; ++launch)
      for (uint32_t earlier = 0; earlier < launch; ++earlier)
        if (shares[launch][earlier]) {
          ASSERT_TRUE(reaches[launch][earlier]) << earlier << " before " << launch;
        }
  }
}

}  // namespace
}  // namespace encore::trace
