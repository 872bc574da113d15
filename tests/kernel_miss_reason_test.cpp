// Is it named rightly why a kernel had to be compiled, and why a trace of another device? And does
// every reason of the table have a cause that some test injects?
#include <encore/core/settings.h>
#include <encore/encore.h>
#include <encore/trace/runtime.h>
#include <fmt/format.h>

#include <filesystem>
#include <set>

#include "fake_cuda_driver.h"
#include "told_misses.h"

namespace encore {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class KernelMissReasons : public ::testing::Test {
 protected:
  void SetUp() override { runtime_.clear_caches(); }
  void TearDown() override {
    settings() = before_;
    runtime_.clear_caches();
  }
  static Told only_kernel_of(const std::function<void()>& run) {
    return only_miss_of(run, "kernel");
  }

  trace::Runtime& runtime_ = trace::runtime();
  Settings before_ = settings();
};

TEST_F(KernelMissReasons, StructuresExtentsAndClearedCaches) {
  uint32_t line = 0;
  auto run = [&](int64_t n) {
    Tensor y = exp(data({n})) * tan(data({n})) + 0.25;
    line = __LINE__ - 1;
    eval(y);
  };
  expect_named(only_kernel_of([&] { run(64); }), "first_structure", line);
  EXPECT_EQ(misses_of([&] { run(64); }, "kernel").size(), 0u);
  expect_named(only_kernel_of([&] { run(80); }), "second_extent", line,
               fmt::format("its extents are [80] now, and were [64] at "
                           "kernel_miss_reason_test.cpp:{}",
                           line));
  EXPECT_EQ(misses_of([&] { run(96); }, "kernel").size(), 0u);
  runtime_.clear_caches();
  expect_named(only_kernel_of([&] { run(64); }), "cleared_kernel", line);
}

TEST_F(KernelMissReasons, OneLaunchInSeveralSizes) {
  uint32_t line = 0;
  Tensor a = data({10}), b = data({30});
  auto step = [&] {
    Tensor x = sqrt(a) / 7.0, y = sqrt(b) / 7.0;
    line = __LINE__ - 1;
    eval(x, y);
  };
  expect_named(only_kernel_of(step), "joined_sizes", line);
}

TEST_F(KernelMissReasons, AKernelDroppedForTheBudget) {
  settings().cache_bytes = 2;  // keeps the latest alone
  trace::Runtime small;
  uint32_t line = 0;
  auto evaluate = [&](const Tensor& y) {
    Node* root = y.node();
    small.evaluate({&root, 1}, SyncKind::read, Location(std::source_location::current()));
  };
  auto run = [&] {
    evaluate(sin(data({5})) + 2.0);
    line = __LINE__ - 1;
  };
  expect_named(only_kernel_of(run), "first_structure", line);
  evaluate(sqrt(data({5})));
  expect_named(only_kernel_of(run), "evicted_kernel", line);
}

TEST_F(KernelMissReasons, OtherExtentsThanAnEarlierProcessHad) {
  std::string name = fs::temp_directory_path() / "encore_kernel_miss_XXXXXX";
  const fs::path folder = mkdtemp(name.data());
  settings().cache = "on";
  settings().cache_dir = folder;
  uint32_t line = 0;
  auto run_in_a_process = [&](int64_t n) {  // as far as a kernel's history goes
    trace::Runtime runtime;
    Tensor y = cos(data({n})) - 0.75;
    line = __LINE__ - 1;
    Node* root = y.node();
    runtime.evaluate({&root, 1}, SyncKind::read, Location(std::source_location::current()));
  };
  expect_named(only_kernel_of([&] { run_in_a_process(33); }), "first_structure", line);
  expect_named(only_kernel_of([&] { run_in_a_process(44); }), "second_extent", line);
  EXPECT_EQ(misses_of([&] { run_in_a_process(55); }, "kernel").size(), 0u);
  fs::remove_all(folder);
}

TEST_F(KernelMissReasons, ForbiddenCompilationsNameTraceReasonAndLine) {
  uint32_t line = 0, sync_line = 0;
  Tensor weight = data({6, 2});
  auto predict = [&](int64_t rows) {
    Tensor batch = data({rows, 6});
    line = __LINE__ - 1;
    sync_line = __LINE__ + 1;
    (matmul(batch, weight) + 1.0).to_vector<float>();
  };
  const std::string known = only_miss_of([&] { predict(8); }).key;
  settings().compile = "forbid";
  for (int again = 0; again < 2; ++again) {  // the reason stays
    try {
      predict(5);
      ADD_FAILURE() << "it was compiled";
    } catch (const CompileForbidden& error) {
      EXPECT_EQ(error.where().line, line);
      EXPECT_THAT(error.message(), HasSubstr("kernel 'matmul_add'"));
      EXPECT_THAT(error.message(), HasSubstr("second_extent"));
      EXPECT_THAT(error.message(), HasSubstr("short_batch"));
      EXPECT_THAT(error.message(), HasSubstr("is f32[5, 6] now, and was f32[8, 6]"));
      EXPECT_THAT(error.message(), HasSubstr("nearest known trace " + known.substr(0, 8)));
      EXPECT_THAT(error.message(), HasSubstr(fmt::format(
                                       "sync at {}:{}", "kernel_miss_reason_test.cpp", sync_line)));
      if (!again) std::printf("%s\n", error.what());
    }
  }
  predict(8);
  settings().compile = "allow";
  predict(5);
}

using DeviceMissReasons = KernelMissReasons;

TEST_F(DeviceMissReasons, AnotherDevice) {
  uint32_t line = 0;
  auto run = [&](Device device) {
    Tensor x = data({8}, device);
    (x * 2.0 + 1.0).sum().item<float>();
    line = __LINE__ - 1;
  };
  const std::string known = only_miss_of([&] { run(cpu); }).key;
  Told told = only_miss_of([&] { run(cuda(0)); });
  expect_named(told, "device", line, "device is cuda:0 now, and was cpu");
  EXPECT_EQ(told.nearest, known);
}

TEST_F(DeviceMissReasons, WhatMadeRoom) {
  uint32_t line = 0;
  Tensor x = data({8}, cuda(0));
  auto run = [&] {
    (x * 2.0 + 1.0).sum().item<float>();
    line = __LINE__ - 1;
  };
  const std::string known = only_miss_of(run).key;
  EXPECT_EQ(misses_of(run).size(), 0u);
  Tensor huge = zeros({int64_t(1) << 45}, {.device = cuda(0)}) + 1.0;
  EXPECT_THROW(eval(huge), OutOfMemory);
  huge = Tensor();
  Told told = only_miss_of(run);
  expect_named(told, "made_room", line);
  EXPECT_EQ(told.nearest, known);
}

TEST_F(DeviceMissReasons, AnotherPlanOfAProduct) {
  uint32_t line = 0;
  auto product = [&](int64_t depth) {
    Tensor a = data({8, depth}, cuda(0)), b = data({depth, 8}, cuda(0));
    EXPECT_EQ(matmul(a, b).to_vector<float>()[9], 0.25f * float(depth));
    line = __LINE__ - 1;
  };
  expect_named(only_kernel_of([&] { product(6); }), "first_structure", line);
  expect_named(only_kernel_of([&] { product(256); }), "variant", line,
               "its extents are [8, 8, 256] now, and were [8, 8, 6]");
  EXPECT_EQ(misses_of([&] { product(6); }, "kernel").size(), 0u);
}

/// What the tests of a program print that it named rightly.
std::vector<std::string> named_by(const fs::path& program, const std::string& filter) {
  FILE* pipe =
      popen(("'" + program.string() + "' --gtest_filter='" + filter + "' 2>&1").c_str(), "r");
  std::vector<std::string> named;
  const std::string_view mark = "named rightly: ";
  for (char line[4096]; fgets(line, sizeof line, pipe);)
    if (std::string_view text = line; text.starts_with(mark))
      named.emplace_back(text.substr(mark.size(), text.size() - mark.size() - 1));
  EXPECT_EQ(pclose(pipe), 0) << program;
  return named;
}

TEST(EveryReason, HasACauseThatIsInjectedAndNamedRightly) {
  const fs::path self = fs::read_symlink("/proc/self/exe");
  std::vector<std::string> named =
      named_by(self.parent_path() / "miss_reason_test", "MissReasons.*");
  for (std::string& reason : named_by(self, "*MissReasons.*")) named.push_back(std::move(reason));
  std::set<std::string> distinct(named.begin(), named.end());
  for (int reason = 0; reason < trace::miss_reason_count; ++reason)
    EXPECT_TRUE(distinct.count(std::string(name_of(trace::MissReason(reason)))))
        << name_of(trace::MissReason(reason));
  std::printf("%zu of %zu injected causes, of all %d reasons, named rightly\n", named.size(),
              named.size(), trace::miss_reason_count);
}

}  // namespace
}  // namespace encore

int main(int count, char** arguments) {
  ::testing::InitGoogleTest(&count, arguments);
  encore::fake_cuda::use_gpu_or_fake();
  return RUN_ALL_TESTS();
}
