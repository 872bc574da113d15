// Does a profile hold all that ran, under the right names, in a file that trace viewers take?
#include <encore/encore.h>
#include <encore/trace/runtime.h>
#include <encore/utils/profile.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <thread>

#include "trace_file.h"

namespace encore {
namespace {

using testing::Contains;
using testing::EndsWith;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

std::string temporary(const std::string& name) {
  return fmt::format("{}encore_profiler_{}_{}", testing::TempDir(), getpid(), name);
}

struct Mlp : Module {
  Linear fc1{16, 8}, fc2{8, 4};
  Tensor forward(const Tensor& x) { return fc2(relu(fc1(x))); }
  ENCORE_MEMBERS(fc1, fc2)
};

int train_line = 0;

void train(Mlp& model, Optimizer& optimizer, int steps) {
  for (int i = 0; i < steps; ++i) {
    Tensor x = randn({32, 16});
    train_line = __LINE__ + 1;
    Tensor loss = square(model(x)).mean();
    optimizer.minimize(loss);
  }
}

/// Runs one test of this program in a process of its own, where ENCORE_TEST_CHILD is set.
struct Child {
  std::string said;
  int status;
};
Child run_child(const std::string& test, const std::string& environment) {
  const std::string self = std::filesystem::read_symlink("/proc/self/exe");
  FILE* pipe = popen(
      fmt::format("{} ENCORE_TEST_CHILD=1 '{}' --gtest_filter={} 2>&1", environment, self, test)
          .c_str(),
      "r");
  Child child;
  for (char part[4096]; size_t size = fread(part, 1, sizeof part, pipe);)
    child.said.append(part, size);
  child.status = pclose(pipe);
  return child;
}
bool is_child() { return std::getenv("ENCORE_TEST_CHILD") != nullptr; }

/// What launches were told of by the older event, which knows no times.
class Launches {
 public:
  Launches()
      : id_(events::listen([this](const Event& event) { ++by_name[std::string(event.name)]; },
                           events::bit(EventKind::launch))) {}
  ~Launches() { events::ignore(id_); }
  std::map<std::string, int64_t> by_name;

 private:
  uint32_t id_;
};

TEST(Profiler, TellsEveryLaunchOnceUnderItsName) {
  const std::string file = temporary("launches.json");
  Mlp model;
  AdamW optimizer(model.parameters());
  std::map<std::string, int64_t> told;
  int64_t launches = 0;
  {
    Profiler profiler(file);
    Launches heard;
    const Stats before = stats();
    train(model, optimizer, 5);
    launches = stats().launches - before.launches;
    told = heard.by_name;
  }
  TraceFile trace = read_trace(file);
  EXPECT_GT(launches, 10);
  EXPECT_EQ(int64_t(trace.spans("kernel").size()), launches);
  EXPECT_EQ(trace.count_by_name("kernel"), told);
}

TEST(Profiler, NamesTheUsersLinesAndModules) {
  const std::string file = temporary("lines.json");
  Mlp model;
  Sgd optimizer(model.parameters(), {.lr = 0.1});
  {
    Profiler profiler(file);
    train(model, optimizer, 2);
    EXPECT_THAT(profiler.summary(), HasSubstr(fmt::format("profiler_test.cpp:{} ", train_line)));
  }
  std::set<std::string> lines, scopes;
  for (const Json& kernel : read_trace(file).spans("kernel")) {
    ASSERT_TRUE(kernel["args"].contains("lines")) << kernel;
    for (const Json& line : kernel["args"]["lines"]) lines.insert(line);
    if (kernel["args"].contains("scopes"))
      for (const Json& scope : kernel["args"]["scopes"]) scopes.insert(scope);
  }
  EXPECT_THAT(lines, Contains(EndsWith(fmt::format("profiler_test.cpp:{}", train_line))));
  EXPECT_THAT(scopes, Contains("Mlp/fc1/linear"));
  EXPECT_THAT(scopes, Contains("Mlp/fc2/linear"));
}

TEST(Profiler, TellsEachPhaseOfAStep) {
  const std::string file = temporary("phases.json");
  trace::runtime().clear_caches();
  int line = 0;
  {
    Profiler profiler(file);
    Tensor x = from_vector<float>(std::vector<float>(1000, 1.5f), {1000});
    Tensor y = exp(x).sum();
    line = __LINE__ + 1;
    y.item<float>();
  }
  TraceFile trace = read_trace(file);
  const std::string device(default_device().kind == DeviceKind::cuda ? "cuda" : "cpu");
  for (const std::string& name :
       {std::string("record"), std::string("sync read"), std::string("capture"),
        std::string("find"), std::string("compile"), std::string("pass simplify"),
        std::string("pass fuse"), std::string("pass lower"), std::string("build"),
        std::string("replay"), "copy to " + device, "copy from " + device})
    EXPECT_THAT(trace.events, Contains(testing::Truly([&](const Json& event) {
                  return event["name"] == name && event["ph"] == "X";
                })))
        << name;
  EXPECT_EQ(trace.spans("compile kernel").size(), trace.count_by_name("kernel").size());
  ASSERT_EQ(trace.spans("sync").size(), 1u);
  EXPECT_THAT(trace.spans("sync")[0]["args"]["at"].get<std::string>(),
              EndsWith(fmt::format("profiler_test.cpp:{}", line)));
  EXPECT_EQ(trace.spans("copy to")[0]["args"]["bytes"], 4000);
  // Recording ends where the sync begins.
  const Json record = trace.spans("record")[0], sync = trace.spans("sync")[0];
  EXPECT_LE(nanoseconds(record["ts"]) + nanoseconds(record["dur"]), nanoseconds(sync["ts"]));
}

TEST(Profiler, TellsReadsAndWritesOfTheDiskCache) {
  const Settings before = settings();
  std::string name = std::filesystem::temp_directory_path() / "encore_profiled_cache_XXXXXX";
  settings().cache = "on";
  settings().cache_dir = mkdtemp(name.data());
  auto spans_of = [&](const char* span) {
    const std::string file = temporary("disk.json");
    trace::runtime().clear_caches();  // as a process that has just begun
    {
      Profiler profiler(file);
      (cos(from_vector<float>({1, 2, 3})) * 3.25).to_vector<float>();
    }
    return read_trace(file).spans(span).size();
  };
  EXPECT_EQ(spans_of("write disk"), 2u);  // the kernel and its extents
  EXPECT_EQ(spans_of("write disk"), 0u);
  EXPECT_EQ(spans_of("read disk"), 1u);
  EXPECT_EQ(spans_of("compile kernel"), 0u);
  std::filesystem::remove_all(settings().cache_dir);
  settings() = before;
  trace::runtime().clear_caches();
}

TEST(Profiler, CountsTheFewestBytes) {
  const std::string file = temporary("bytes.json");
  Tensor a = randn({300, 200}), b = randn({300, 200}), row = randn({200});
  eval(a, b, row);
  {
    Profiler profiler(file);
    eval(a + b);
    eval(a * row);
  }
  auto kernels = read_trace(file).spans("kernel");
  ASSERT_EQ(kernels.size(), 2u);
  EXPECT_EQ(kernels[0]["args"]["bytes"], 3 * 300 * 200 * 4);
  EXPECT_EQ(kernels[1]["args"]["bytes"], (2 * 300 + 1) * 200 * 4);
}

TEST(Profiler, CountsTheSegmentsOfAJoinedLaunch) {
  const std::string file = temporary("segments.json");
  std::vector<Parameter> parameters(7);
  std::vector<ParameterRef> references;
  for (int i = 0; i < 7; ++i) {
    parameters[i] = Parameter(randn({10 + i}));
    references.push_back(parameters[i]);
  }
  Sgd optimizer(references, {.lr = 0.1});
  {
    Profiler profiler(file);
    Tensor loss = zeros({});
    for (Parameter& parameter : parameters) loss += square(parameter).sum();
    optimizer.minimize(loss);
  }
  int64_t most = 0;
  for (const Json& kernel : read_trace(file).spans("kernel"))
    most = std::max(most, kernel["args"]["segments"].get<int64_t>());
  EXPECT_EQ(most, 7);
}

TEST(Profiler, TellsMemory) {
  const std::string file = temporary("memory.json");
  {
    Profiler profiler(file);
    eval(randn({1000}) + 1.0);
  }
  std::set<std::string> names;
  for (const Json& event : read_trace(file).events)
    if (event["ph"] == "C") names.insert(event["name"]);
  const std::string device = name_of(default_device());
  EXPECT_THAT(names, testing::IsSupersetOf({device + " live bytes", device + " arena bytes",
                                            std::string("program cache bytes"),
                                            std::string("kernel cache bytes")}));
}

class Rows : public Dataset {
 public:
  int64_t size() const override { return 60; }
  Batch batch(std::span<const int64_t> positions) const override {
    return {full({int64_t(positions.size())}, 1.0)};
  }
};

TEST(Profiler, TellsWhatDataLoadersDo) {
  const std::string file = temporary("loader.json");
  Rows rows;
  {
    Profiler profiler(file);
    for (const Batch& batch : DataLoader(rows, {.batch_size = 10, .workers = 2})) eval(batch[0]);
  }
  TraceFile trace = read_trace(file);
  EXPECT_EQ(trace.spans("load batch").size(), 6u);
  for (const Json& span : trace.spans("load batch"))
    EXPECT_THAT(trace.track_of(span), testing::StartsWith("data loader"));
  EXPECT_EQ(trace.spans("wait for batch").size(), 6u);
  for (const Json& span : trace.spans("wait for batch")) EXPECT_EQ(trace.track_of(span), "main");
}

TEST(Profiler, LosesNothingOfTwoThreads) {
  const std::string file = temporary("threads.json");
  constexpr int syncs = 50;
  int64_t launches = 0;
  {
    Profiler profiler(file);
    const Stats before = stats();
    auto work = [] {
      Tensor x = ones({64});
      for (int i = 0; i < syncs; ++i) eval(x = x * 0.5 + 1.0);
    };
    std::thread one(work), other(work);
    one.join();
    other.join();
    launches = stats().launches - before.launches;
  }
  TraceFile trace = read_trace(file);
  std::map<int64_t, int> by_thread;
  for (const Json& sync : trace.spans("sync")) ++by_thread[sync["tid"]];
  ASSERT_EQ(by_thread.size(), 2u);
  for (auto [thread, count] : by_thread) EXPECT_EQ(count, syncs);
  EXPECT_EQ(int64_t(trace.spans("kernel").size()), launches);
}

TEST(Profiler, ProfilersMayOverlapAndLeaveNothingBehind) {
  const std::string outer_file = temporary("outer.json"), inner_file = temporary("inner.json");
  Tensor x = ones({8});
  {
    Profiler outer(outer_file);
    eval(x + 1.0);
    {
      Profiler inner(inner_file);
      eval(x + 2.0);
    }
    eval(x + 3.0);
  }
  EXPECT_EQ(read_trace(outer_file).spans("sync").size(), 3u);
  EXPECT_EQ(read_trace(inner_file).spans("sync").size(), 1u);
  EXPECT_EQ(events::wanted_kinds.load(), 0u);
}

TEST(Profiler, AnExceptionLeavesAFileBehind) {
  const std::string file = temporary("thrown.json");
  Tensor x = ones({8});
  EXPECT_THROW(
      {
        Profiler profiler(file);
        eval(x + 1.0);
        trace::runtime().clear_caches();
        trace::runtime().fail_compile(1);
        eval(sin(exp(x)));
      },
      Error);
  trace::runtime().fail_compile(0);
  TraceFile trace = read_trace(file);
  EXPECT_EQ(trace.spans("kernel").size(), 1u);
  EXPECT_EQ(trace.spans("sync").size(), 2u);  // the one that failed, too
}

TEST(Profiler, AFileThatCannotBeWrittenIsAWarning) {
  testing::internal::CaptureStderr();
  Tensor x = ones({8});
  {
    Profiler profiler("/nonexistent/folder/trace.json");
    EXPECT_EQ((x + 1.0).sum().item<float>(), 16);
  }
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              HasSubstr("cannot be written to /nonexistent/folder/trace.json: No such file"));
}

TEST(Profile, BeyondItsLimitItCounts) {
  Profile profile(2);
  for (int i = 0; i < 5; ++i) profile.take({EventKind::kernel, "k", "", 1000});
  EXPECT_THAT(profile.summary(), HasSubstr("3 later events were left out"));
  EXPECT_THAT(profile.summary(), testing::ContainsRegex("k +2 "));
}

TEST(ProfiledProcess, Works) {
  if (!is_child()) GTEST_SKIP() << "for the tests below";
  Tensor x = ones({100});
  EXPECT_EQ((x + 1.0).sum().item<float>(), 200);
}

TEST(ProfiledProcess, Dies) {
  if (!is_child()) GTEST_SKIP() << "for the tests below";
  eval(ones({100}) * 2.0);
  std::thread([] { throw std::runtime_error("uncaught"); }).join();
}

TEST(ProfiledProcess, WritesFileAndTableAtItsEnd) {
  const std::string file = temporary("process.json");
  Child child = run_child("ProfiledProcess.Works", "ENCORE_PROFILE=" + file);
  EXPECT_EQ(child.status, 0) << child.said;
  EXPECT_THAT(child.said, HasSubstr("profile of "));
  EXPECT_THAT(child.said, HasSubstr("all kernels"));
  EXPECT_THAT(child.said, HasSubstr("profiler_test.cpp:"));
  EXPECT_EQ(read_trace(file).spans("sync").size(), 1u);
}

TEST(ProfiledProcess, DashIsTheTableAlone) {
  Child child = run_child("ProfiledProcess.Works", "ENCORE_PROFILE=-");
  EXPECT_EQ(child.status, 0) << child.said;
  EXPECT_THAT(child.said, HasSubstr("all kernels"));
  EXPECT_FALSE(std::filesystem::exists("-"));
}

TEST(ProfiledProcess, AnUncaughtExceptionLeavesAFileBehind) {
  const std::string file = temporary("died.json");
  Child child = run_child("ProfiledProcess.Dies", "ENCORE_PROFILE=" + file);
  EXPECT_NE(child.status, 0);
  EXPECT_THAT(child.said, HasSubstr("uncaught"));
  EXPECT_EQ(read_trace(file).spans("sync").size(), 1u);
}

TEST(ProfiledProcess, AFileThatCannotBeWrittenDisturbsNothing) {
  Child child = run_child("ProfiledProcess.Works", "ENCORE_PROFILE=/nonexistent/trace.json");
  EXPECT_EQ(child.status, 0) << child.said;
  EXPECT_THAT(child.said, HasSubstr("cannot be written to /nonexistent/trace.json"));
}

TEST(ProfiledProcess, SaysNothingUnasked) {
  Child child = run_child("ProfiledProcess.Works", "ENCORE_PROFILE=");
  EXPECT_EQ(child.status, 0) << child.said;
  EXPECT_THAT(child.said, Not(HasSubstr("profile of")));
}

}  // namespace
}  // namespace encore
