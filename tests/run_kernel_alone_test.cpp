// Does a kernel run alone, on memory as long as it needs, and is its work counted rightly?
#include <encore/core/error.h>
#include <encore/jit/cpu/cpu_backend.h>
#include <encore/jit/parse_kernel.h>
#include <encore/jit/reference/interpreter.h>
#include <encore/utils/run_kernel_alone.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "contraction_kernels.h"
#include "random_kernel.h"
#include "recorded_kernels.h"
#include "schedule_kernels.h"

namespace encore {
namespace {

using jit::Kernel;
using jit::parse_kernel;
using ::testing::HasSubstr;

KernelWork work(const Kernel& kernel) { return work_of(kernel, KernelRanges(kernel)); }

// ---- Which elements are reached
// ------------------------------------------------------------------

struct ReachCase {
  std::string what, place;  // a kernel's stage up to its load of argument 1, and that load's place
  Interval reach;
};

/// Argument 0 holds 40 indices, argument 1 is what they choose from.
Interval reach_of(const ReachCase& one) {
  const Kernel kernel = parse_kernel(
      "axis 0: row 40\naxis 1: inner 8\nargument 0: read i32\n"
      "argument 1: read f32\nargument 2: write f32\nsweep\n" +
      one.what + "  %20 = load f32 argument 1 " + one.place +
      "\n  %21 = store f32 %20 argument 2 [axis 0 * 8 + axis 1]\n");
  jit::verify_kernel(kernel);
  return KernelRanges(kernel).reach(kernel.accesses[kernel.instructions[20].aux]);
}

/// Numbers the lines, and fills up to %20.
std::string stage(std::initializer_list<const char*> lines) {
  std::string text;
  int id = 0;
  for (const char* line : lines) text += "  %" + std::to_string(id++) + " = " + line + "\n";
  while (id < 20) text += "  %" + std::to_string(id++) + " = constant f32 0x0\n";
  return text;
}

TEST(KernelRanges, FollowAxesOffsetsAndPredicates) {
  const std::string index = "load i32 argument 0 [axis 0]";
  const ReachCase cases[] = {
      {stage({}), "[axis 0 * 8 + axis 1]", {0, 319}},
      {stage({}), "[7 + axis 1 * -1]", {0, 7}},
      {stage({}), "[-3 + axis 0 * 8]", {-3, 309}},
      // Padding: the first three of axis 1 are not there.
      {stage({"index i64 axis 1", "constant i64 0x3", "le bool %1 %0"}),
       "[-3 + axis 1] if %2",
       {0, 4}},
      // A computed offset: (row / 5) * 10.
      {stage({"index i64 axis 0", "constant i64 0x5", "div i64 %0 %1", "constant i64 0xa",
              "mul i64 %2 %3"}),
       "[axis 1 + %4]",
       {0, 77}},
      // An index that the predicate bounds, negative ones counted from the end.
      {stage({index.c_str(), "cast i64 %0", "constant i64 0x0", "constant i64 0x6", "lt bool %1 %2",
              "add i64 %1 %3", "select i64 %4 %5 %1", "le bool %2 %6", "lt bool %6 %3",
              "bit_and bool %7 %8", "constant i64 0x8", "mul i64 %6 %10"}),
       "[axis 1 + %11] if %9",
       {0, 47}},
      // A float that is clamped before it becomes an index.
      {stage({"load f32 argument 1 [0]", "cast i64 %0", "constant i64 0x0", "constant i64 0x9",
              "max i64 %1 %2", "min i64 %4 %3"}),
       "[axis 1 + %5]",
       {0, 16}},
      // One that only the predicate bounds.
      {stage({"load f32 argument 1 [0]", "cast i64 %0", "constant i64 0x0", "constant i64 0x9",
              "le bool %2 %1", "lt bool %1 %3", "bit_and bool %4 %5"}),
       "[%1] if %6",
       {0, 8}},
      // Never true.
      {stage({"index i64 axis 1", "constant i64 0x9", "lt bool %1 %0"}), "[axis 1] if %2", {0, -1}},
  };
  for (const ReachCase& one : cases) EXPECT_EQ(reach_of(one), one.reach) << one.what << one.place;
}

TEST(KernelRanges, AnOffsetWithoutBoundsIsRefused) {
  const Kernel kernel = parse_kernel(
      "axis 0: inner 4\nargument 0: read f32\nargument 1: write f32\nsweep\n"
      "  %0 = load f32 argument 0 [axis 0]\n  %1 = cast i64 %0\n"
      "  %2 = store f32 %0 argument 1 [%1]\n");
  try {
    work(kernel);
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("elements of argument 1 the kernel reaches"));
  }
}

// ---- What is counted
// -----------------------------------------------------------------------------

TEST(KernelWork, CountsEveryElementOnce) {
  const KernelWork chain = work(jit::chain_kernel(100, 60, false).kernel);
  EXPECT_EQ(chain.bytes, 4 * (3 * 6000 + 60 + 100));
  const KernelWork product = work(jit::matmul_kernel(f32, 2, 30, 40, 50));
  EXPECT_EQ(product.bytes, 4 * 2 * (30 * 50 + 50 * 40 + 30 * 40));
  EXPECT_EQ(product.flops, 2.0 * 2 * 30 * 40 * 50);
  // Seven rows a chunk: 3 chunks of sums and of counts.
  const KernelWork sums = work(jit::column_sum_kernel(20, 64, 7, true).kernel);
  EXPECT_EQ(sums.bytes, 4 * 20 * 64 + 4 * 3 * 64 + 8 * 3);
  // The row that softmax stores it does not fetch, and it reads its input once.
  const KernelWork softmax = work(jit::softmax_kernel(10, 64, true).kernel);
  EXPECT_EQ(softmax.bytes, 4 * 3 * 640);
}

TEST(KernelWork, CountsFloatingOperations) {
  const Kernel triad = parse_kernel(
      "axis 0: inner 1000\nargument 0: read f32\nargument 1: write f32\nsweep\n"
      "  %0 = load f32 argument 0 [axis 0]\n  %1 = fma f32 %0 %0 %0\n  %2 = index i64 axis 0\n"
      "  %3 = add i64 %2 %2\n  %4 = store f32 %1 argument 1 [axis 0]\n"
      "  accumulator 0 = sum f32 %1\nrow\n  %5 = reduced f32 accumulator 0\n  %6 = sqrt f32 %5\n");
  EXPECT_EQ(work(triad).flops, 1000 * (2 + 1) + 1);
}

// ---- Running
// -------------------------------------------------------------------------------------

TEST(KernelAlone, RandomKernelsStayInsideTheirMemoryAndAreRight) {
  int run = 0;
  constexpr int kernels = 800;
  for (uint64_t seed = 0; seed < kernels; ++seed) {
    const Kernel kernel = jit::make_random_kernel(seed, {.max_points = 200}).kernel;
    try {
      KernelAlone alone(kernel, jit::interpreter(), seed);
      EXPECT_EQ(alone.check().differing, 0) << seed;
      ++run;
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr("cannot be told")) << seed;
    }
  }
  EXPECT_GT(run, kernels * 8 / 10);
}

TEST(KernelAlone, CompiledKernelsAreRightAndTimed) {
  for (const jit::RandomKernel& random :
       {jit::chain_kernel(9, 70, true), jit::softmax_kernel(5, 130, false),
        jit::layer_norm_kernel(20, 31, 4, true), jit::scatter_kernel(30, 16, 5, false),
        jit::reductions_kernel(7, 40, true, i32)}) {
    KernelAlone alone(random.kernel, jit::cpu_backend(), 3);
    const KernelDifference difference = alone.check();
    EXPECT_EQ(difference.differing, 0) << random.kernel.name;
    EXPECT_GT(difference.elements, 0);
    const KernelTiming timing = alone.time(3);
    EXPECT_EQ(timing.launches % 3, 0);
    EXPECT_LE(timing.best, timing.median);
  }
}

constexpr const char* doubled_in_place =
    "axis 0: inner 10\nargument 0: update f32\nsweep\n"
    "  %0 = load f32 argument 0 [axis 0]\n  %1 = constant f32 0x40000000 (2)\n"
    "  %2 = mul f32 %0 %1\n  %3 = store f32 %2 argument 0 [axis 0]\n";

TEST(KernelAlone, ChecksOnFreshDataHoweverOftenItRanBefore) {
  KernelAlone alone(parse_kernel(doubled_in_place), jit::interpreter(), 1);
  alone.time(2);
  EXPECT_EQ(alone.check().differing, 0);
}

/// Runs another kernel than the one that it is given.
class WrongBackend final : public testing::RecordingBackend {
 public:
  std::shared_ptr<const jit::Executable> load(const Kernel& kernel, const jit::Binary&) override {
    Kernel wrong = kernel;
    wrong.instructions[1].bits = 0x40400000;  // 3
    const Kernel* one = &wrong;
    return RecordingBackend::load(wrong, compile({&one, 1})[0]);
  }
};

TEST(KernelAlone, ADifferenceIsSeen) {
  WrongBackend backend;
  KernelAlone alone(parse_kernel(doubled_in_place), backend, 1);
  const KernelDifference difference = alone.check();
  EXPECT_EQ(difference.elements, 10);
  EXPECT_EQ(difference.differing, 10);
  EXPECT_GT(difference.largest, 0.1);
}

// ---- The tool
// ------------------------------------------------------------------------------------

struct Answer {
  int status;
  std::string text;
};

Answer tool(const std::string& arguments) {
  Answer answer;
  FILE* pipe = popen((std::string(ENCORE_DUMP_TOOL) + " run " + arguments + " 2>&1").c_str(), "r");
  for (char part[4096]; size_t size = fread(part, 1, sizeof part, pipe);)
    answer.text.append(part, size);
  answer.status = WEXITSTATUS(pclose(pipe));
  return answer;
}

class DumpRun : public ::testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::create_directories(folder_ / "0001-abcd" / "kernels");
    write("0-chain", jit::chain_kernel(50, 64, false).kernel);
    write("1-softmax", jit::softmax_kernel(5, 33, true).kernel);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  void write(const std::string& name, const Kernel& kernel) {
    std::ofstream(folder_ / "0001-abcd" / "kernels" / (name + ".txt")) << "# one of 3 segments\n"
                                                                       << describe(kernel);
  }
  std::string file(const std::string& name) {
    return (folder_ / "0001-abcd" / "kernels" / (name + ".txt")).string();
  }

  std::filesystem::path folder_ = ::testing::TempDir() + "encore_run_" + std::to_string(getpid());
};

TEST_F(DumpRun, AFileIsRunAndChecked) {
  const Answer answer = tool(file("0-chain") + " --check --repeat 2 --json");
  ASSERT_EQ(answer.status, 0) << answer.text;
  const auto json = nlohmann::json::parse(answer.text);
  const auto& kernel = json["kernels"][0];
  EXPECT_EQ(kernel["kernel"], "0-chain");
  EXPECT_EQ(kernel["bytes"], 4 * (3 * 50 * 64 + 50 + 64));
  EXPECT_EQ(kernel["check"]["right"], true);
  EXPECT_GT(kernel["fraction"], 0);
  EXPECT_GT(json["ceiling"]["GBps"], 0);
  EXPECT_GT(json["ceiling"]["GFLOPs"], 0);
}

TEST_F(DumpRun, SizesThatAreNotFixedCanBeGiven) {
  const Answer answer =
      tool(file("0-chain") + " --size s2=10 --repeat 1 --json --backend reference");
  ASSERT_EQ(answer.status, 0) << answer.text;
  const auto json = nlohmann::json::parse(answer.text);
  EXPECT_EQ(json["kernels"][0]["bytes"], 4 * (3 * 10 * 64 + 10 + 64));
  const Answer refused = tool(file("0-chain") + " --size s1=10");
  EXPECT_EQ(refused.status, 1);
  EXPECT_THAT(refused.text, HasSubstr("--size s1=10 names no size"));
}

TEST_F(DumpRun, SizesThatAreFixedCanBecomeArguments) {
  const Answer answer = tool(file("1-softmax") + " --generic --check --repeat 1 --json");
  ASSERT_EQ(answer.status, 0) << answer.text;
  EXPECT_EQ(nlohmann::json::parse(answer.text)["kernels"][0]["bytes"], 4 * 3 * 5 * 33);
}

TEST_F(DumpRun, AKernelOfATraceIsFoundByTheStartOfItsName) {
  const Answer answer = tool(folder_.string() + " abc 1 --repeat 1");
  EXPECT_EQ(answer.status, 0) << answer.text;
  EXPECT_THAT(answer.text, HasSubstr("1-softmax\n one of 3 segments\n"));
  const Answer none = tool(folder_.string() + " 1 sum");
  EXPECT_EQ(none.status, 1);
  EXPECT_THAT(none.text, HasSubstr("0 kernels of 0001-abcd are called 'sum'"));
  EXPECT_THAT(none.text, HasSubstr("name one of:\n  0-chain\n  1-softmax"));
}

TEST_F(DumpRun, AWholeTraceIsMeasuredForItsReport) {
  const Answer answer = tool(folder_.string() + " 1 --all --write --repeat 1");
  ASSERT_EQ(answer.status, 0) << answer.text;
  const auto json = nlohmann::json::parse(std::ifstream(folder_ / "0001-abcd" / "measured.json"));
  EXPECT_EQ(json["kernels"].size(), 2u);
  EXPECT_GT(json["kernels"]["1-softmax"]["ms"], 0);
  EXPECT_EQ(json["kernels"]["1-softmax"]["bytes"], 4 * 3 * 5 * 33);
  EXPECT_GT(json["ceiling"]["GBps"], 0);
}

TEST_F(DumpRun, AWrongTextIsShownWithItsPlace) {
  std::ofstream(folder_ / "wrong.txt") << "axis 0: inner 4\nargument 0: red f32\n";
  const Answer answer = tool((folder_ / "wrong.txt").string());
  EXPECT_EQ(answer.status, 1);
  EXPECT_THAT(answer.text, HasSubstr("line 2, column 13: expected a use: read, write or update"));
}

}  // namespace
}  // namespace encore
