// Does a failure, wherever it strikes, leave a runtime that works and leaks nothing? Every
// allocation, every compile and every stage of the compiler fails in turn.
#include <encore/core/events.h>
#include <encore/encore.h>
#include <encore/jit/cpu/memory.h>
#include <encore/trace/runtime.h>
#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>

namespace encore {
namespace {

using ::testing::HasSubstr;

/// A small program with several kernels, an arena, several outputs and a gradient.
std::vector<float> run_program() {
  Parameter p(from_vector<float>({1, 2, 3, 4, 5, 6}, {2, 3}));
  Tensor x = from_vector<float>({1, -1, 2, 0, 1, 3}, {3, 2});
  Tensor hidden = matmul(p, x), activated = maximum(hidden, 0.0);
  Tensor normal = activated / (activated.sum({1}, true) + 1.0);
  backward((normal * normal).sum());
  Tensor gradient = p.grad();
  eval(normal, gradient);
  std::vector<float> all = normal.to_vector<float>(), more = gradient.to_vector<float>();
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

int64_t live_bytes() { return stats().live_bytes; }

/// A right run in between, the scratch arena warm, nothing of the program alive.
class Failure : public ::testing::Test {
 protected:
  Failure() : expected_(run_program()), baseline_(live_bytes()) {}
  ~Failure() override {
    jit::host_cache().fail_allocation(0);
    trace::runtime().fail_compile(0);
  }

  /// Lets `arm(n)` make the n-th chance fail, for n = 1, 2 … until nothing fails any more.
  template <class Arm>
  int fail_each(Arm arm, bool forget) {
    for (int n = 1; n < 500; ++n) {
      if (forget) trace::runtime().clear_caches();
      bool failed = false;
      arm(n);
      try {
        EXPECT_EQ(run_program(), expected_) << n;
      } catch (const Error& error) {
        failed = true;
        EXPECT_FALSE(error.message().empty());
      }
      arm(0);
      EXPECT_LE(live_bytes(), baseline_) << "after failure " << n;  // less without an arena
      EXPECT_EQ(run_program(), expected_) << "after failure " << n;
      EXPECT_EQ(live_bytes(), baseline_) << "after failure " << n;
      if (!failed) return n - 1;
    }
    ADD_FAILURE() << "it never stopped failing";
    return 0;
  }

  std::vector<float> expected_;
  int64_t baseline_;
};

TEST_F(Failure, OfEveryAllocationIsSurvived) {
  if (default_device() != cpu) GTEST_SKIP() << "it is the host's memory that fails";
  int failures = fail_each([](int n) { jit::host_cache().fail_allocation(n); }, false);
  EXPECT_GE(failures, 4);  // two leaves, two outputs
  std::printf("%d allocations failed in turn\n", failures);
}

TEST_F(Failure, OfEveryAllocationOfAFirstRunIsSurvived) {
  if (default_device() != cpu) GTEST_SKIP() << "it is the host's memory that fails";
  EXPECT_GE(fail_each([](int n) { jit::host_cache().fail_allocation(n); }, true), 4);
}

TEST_F(Failure, OfEveryCompileIsSurvived) {
  int failures = fail_each([](int n) { trace::runtime().fail_compile(n); }, true);
  EXPECT_GE(failures, 2);
  std::printf("%d compiles failed in turn\n", failures);
}

/// Throws at the n-th event of a kind, out of the runtime's own code.
class ThrowingListener {
 public:
  explicit ThrowingListener(EventKind kind)
      : id_(events::listen(
            [this](const Event& event) {
              if (remaining_ && --remaining_ == 0)
                throw Error("a listener failed at " + std::string(event.name), event.where);
            },
            events::bit(kind))) {}
  ~ThrowingListener() { events::ignore(id_); }
  void arm(int n) { remaining_ = n; }

 private:
  int remaining_ = 0;
  uint32_t id_;
};

TEST_F(Failure, OfEveryStageOfTheCompilerIsSurvived) {
  ThrowingListener listener(EventKind::pass);
  int failures = fail_each([&](int n) { listener.arm(n); }, true);
  EXPECT_GE(failures, 10);
  std::printf("%d stages failed in turn\n", failures);
}

TEST_F(Failure, AfterEveryCompileIsSurvived) {
  ThrowingListener listener(EventKind::compile);
  EXPECT_GE(fail_each([&](int n) { listener.arm(n); }, true), 2);
}

TEST_F(Failure, OfEverySyncsReportIsSurvived) {
  ThrowingListener listener(EventKind::sync);
  EXPECT_GE(fail_each([&](int n) { listener.arm(n); }, false), 1);
}

TEST_F(Failure, AfterEveryLaunchIsSurvivedWhereNothingWasDonated) {
  ThrowingListener listener(EventKind::launch);
  int failures = fail_each([&](int n) { listener.arm(n); }, false);
  EXPECT_GE(failures, 2);
  std::printf("%d launches failed in turn\n", failures);
}

TEST_F(Failure, WhatADonatingProgramOverwroteSaysSo) {
  ThrowingListener listener(EventKind::launch);
  Tensor x = from_vector<float>({1, 2, 3});
  x = x * 2.0;
  encore::sync();
  x = x + 1.0;  // a step may write it where x was
  listener.arm(1);
  EXPECT_THROW(encore::sync(), Error);
  listener.arm(0);
  EXPECT_THROW(x.to_vector<float>(), BufferLost);
  x = Tensor();
  EXPECT_EQ(live_bytes(), baseline_);
  EXPECT_EQ(run_program(), expected_);
}

TEST_F(Failure, ACompileThenMemoryInTheMiddleThenAllIsWell) {
  if (default_device() != cpu) GTEST_SKIP() << "it is the host's memory that fails";
  trace::runtime().clear_caches();
  Tensor x = from_vector<float>({1, 2, 3, 4});
  Tensor y = tanh(x * 0.25) + x;
  trace::runtime().fail_compile(1);
  EXPECT_THROW(y.to_vector<float>(), Error);
  jit::host_cache().fail_allocation(1);
  try {
    y.to_vector<float>();
    ADD_FAILURE() << "there was memory";
  } catch (const OutOfMemory& error) {
    EXPECT_GT(error.requested(), 0u);
  }
  EXPECT_FLOAT_EQ(y.to_vector<float>()[3], std::tanh(1.f) + 4);  // the same tensor, later
  x = y = Tensor();
  EXPECT_EQ(live_bytes(), baseline_);
  EXPECT_EQ(run_program(), expected_);
}

TEST_F(Failure, ARequestBeyondAllMemoryIsATypedErrorAtTheUsersLine) {
  Tensor huge = zeros({int64_t(1) << 45}) + from_vector<float>({1});
  const int line = __LINE__ + 2;
  try {
    eval(huge);
    ADD_FAILURE() << "there was memory";
  } catch (const OutOfMemory& error) {
    EXPECT_EQ(error.where().line, line);
    EXPECT_THAT(error.where().file, HasSubstr("failure_test.cpp"));
  }
  huge = Tensor();
  EXPECT_EQ(run_program(), expected_);
  EXPECT_EQ(live_bytes(), baseline_);
}

TEST_F(Failure, OfEveryByteOfADataFileIsATypedError) {
  auto path =
      std::filesystem::temp_directory_path() / ("encore_failure_" + std::to_string(::getpid()));
  std::string whole(
      "\0\0\x08\x02\0\0\0\x02\0\0\0\x03"
      "abcdef",
      18);
  for (size_t length = 0; length <= whole.size(); ++length) {
    std::ofstream(path, std::ios::binary) << whole.substr(0, length);
    if (length == whole.size()) {
      EXPECT_EQ(read_idx(path).tensor().to_vector<int32_t>(),
                (std::vector<int32_t>{'a', 'b', 'c', 'd', 'e', 'f'}));
    } else {
      EXPECT_THROW(read_idx(path), Error) << length;
    }
  }
  std::filesystem::remove(path);
  EXPECT_THROW(read_idx(path), Error);
  EXPECT_EQ(live_bytes(), baseline_);
  EXPECT_EQ(run_program(), expected_);
}

}  // namespace
}  // namespace encore
