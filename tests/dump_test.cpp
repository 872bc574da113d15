// Do the bundles hold what a compilation told, and can encore-dump show it?
#include <encore/core/error.h>
#include <encore/core/settings.h>
#include <encore/lazy/contraction.h>
#include <encore/lazy/create.h>
#include <encore/lazy/elementwise.h>
#include <encore/lazy/reduction.h>
#include <encore/utils/bundle.h>
#include <encore/utils/dump.h>
#include <encore/utils/stats.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

namespace encore {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

// What trace/ reports while it compiles one trace.
void report_pass(std::string_view name, std::string_view text) {
  events::report({EventKind::pass, name, text, 0, {"train.cpp", 12}});
}

void report_start(std::string_view key) {
  report_pass("begin", key);
  report_pass("capture", "  %0 = leaf f32[4]\n  %1 = add f32[4] %0 %0  # a \"quoted\" name\n");
  report_pass("simplify", "  %0 = leaf f32[4]\n  %1 = mul f32[4] %0 2\n");
}

void report_compilation(std::string_view key) {
  report_start(key);
  events::report({EventKind::fusion_refusal, "too many arguments", "", 0, {"net.cpp", 7}});
  report_pass("kernel:k0", "axis 0: inner 4\n");
  report_pass("llvm:k0", "define void @k0()\n");
  report_pass("assembly:k0", "ret\n");
  events::report({EventKind::compile, "k0", "", 1'500'000});
  report_pass("memory-plan", "arena 64\n");
  report_pass("program", "launch k0\n");
  report_pass("end", "kernels 1\n");
}

std::string output_of(const std::string& command) {
  std::string text;
  FILE* pipe = popen((command + " 2>&1").c_str(), "r");
  for (char part[4096]; size_t size = fread(part, 1, sizeof part, pipe);) text.append(part, size);
  pclose(pipe);
  return text;
}

std::string tool(const std::string& arguments) {
  return output_of(std::string(ENCORE_DUMP_TOOL) + " " + arguments);
}

class Dump : public testing::Test {
 protected:
  void SetUp() override { fs::remove_all(folder_); }
  void TearDown() override {
    if (listener_) events::ignore(listener_);
    fs::remove_all(folder_);
  }
  void listen() { listener_ = write_bundles(folder_); }

  std::string folder_ = testing::TempDir() + "encore_dump_" + std::to_string(getpid());
  uint32_t listener_ = 0;
};

TEST_F(Dump, ABundleHoldsEveryText) {
  listen();
  report_compilation("00112233445566778899aabbccddeeff");
  const auto bundles = read_bundles(folder_);
  ASSERT_EQ(bundles.size(), 1u);
  const Bundle& bundle = bundles[0];
  EXPECT_EQ(bundle.name(), "0001-00112233");
  EXPECT_TRUE(bundle.finished());
  EXPECT_EQ(bundle.text("key.txt"), "00112233445566778899aabbccddeeff\nsync at train.cpp:12\n");
  EXPECT_THAT(bundle.files("passes"),
              ElementsAre("passes/01-capture.txt", "passes/02-simplify.txt"));
  EXPECT_THAT(bundle.files("kernels"),
              ElementsAre("kernels/k0.ll", "kernels/k0.s", "kernels/k0.txt"));
  EXPECT_EQ(bundle.text("kernels/k0.ll"), "define void @k0()\n");
  EXPECT_EQ(bundle.text("memory-plan.txt"), "arena 64\n");
  EXPECT_EQ(bundle.text("program.txt"), "launch k0\n");
  EXPECT_EQ(bundle.text("stats.txt"), "kernels 1\n");
  EXPECT_THAT(bundle.text("notes.txt"), HasSubstr("not fused: too many arguments at net.cpp:7"));
  EXPECT_THAT(bundle.text("notes.txt"), HasSubstr("compiled k0 in 1.500 ms"));
}

TEST_F(Dump, NumbersGoOnAfterWhatIsThere) {
  listen();
  report_compilation("aaaaaaaa00");
  events::ignore(listener_);
  listen();
  report_compilation("bbbbbbbb00");
  const auto bundles = read_bundles(folder_);
  ASSERT_EQ(bundles.size(), 2u);
  EXPECT_EQ(bundles[1].name(), "0002-bbbbbbbb");
}

TEST_F(Dump, ThreadsThatCompileAtOnceKeepApart) {
  listen();
  report_start("aaaaaaaa00");
  std::thread([] { report_compilation("bbbbbbbb00"); }).join();
  report_pass("end", "mine\n");
  EXPECT_EQ(find_bundle(folder_, "aaaa").text("stats.txt"), "mine\n");
  EXPECT_EQ(find_bundle(folder_, "bbbb").text("stats.txt"), "kernels 1\n");
}

TEST_F(Dump, AFailedCompilationIsSeen) {
  listen();
  report_start("aaaaaaaa00");
  report_compilation("bbbbbbbb00");
  EXPECT_FALSE(find_bundle(folder_, "1").finished());
  EXPECT_TRUE(find_bundle(folder_, "2").finished());
  EXPECT_THAT(tool(folder_), HasSubstr("FAILED"));
}

TEST_F(Dump, AFolderThatCannotBeWrittenIsOneWarning) {
  std::ofstream(folder_) << "a file";
  listen();
  testing::internal::CaptureStderr();
  report_compilation("aaaaaaaa00");
  report_compilation("bbbbbbbb00");
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_THAT(said, HasSubstr("the dump stops here"));
  EXPECT_EQ(said.find("stops"), said.rfind("stops"));
}

TEST_F(Dump, AnUnknownOrDoubtfulTraceIsRefused) {
  listen();
  report_compilation("aaaaaaaa00");
  report_compilation("aaaaaaaa11");
  EXPECT_THROW(find_bundle(folder_, "3"), Error);
  EXPECT_THROW(find_bundle(folder_, "aaaa"), Error);
  EXPECT_EQ(find_bundle(folder_, "2").number, 2);
  EXPECT_THAT(tool("show " + folder_ + " 3"), HasSubstr("0002-aaaaaaaa"));
}

TEST_F(Dump, TheToolShowsABundle) {
  listen();
  report_compilation("aaaaaaaa00");
  report_compilation("bbbbbbbb00");
  EXPECT_EQ(tool(folder_),
            "0001-aaaaaaaa  2 passes, 1 kernels, sync at train.cpp:12\n"
            "0002-bbbbbbbb  2 passes, 1 kernels, sync at train.cpp:12\n");
  const std::string shown = tool("show " + folder_ + " 1");
  for (const char* part : {"== passes/01-capture.txt", "arena 64", "launch k0", "kernels 1"}) {
    EXPECT_THAT(shown, HasSubstr(part));
  }
  EXPECT_EQ(tool("kernels " + folder_ + " 1"), "== kernels/k0.txt\naxis 0: inner 4\n");
  EXPECT_EQ(tool("kernels " + folder_ + " 1 k0 --as s"), "== kernels/k0.s\nret\n");
  EXPECT_THAT(tool("kernels " + folder_ + " 1 other"), HasSubstr("name one of:\n  k0"));
  EXPECT_THAT(tool("kernels " + folder_ + " 1 --as ptx"), HasSubstr("no .ptx"));
  EXPECT_THAT(tool("kernels " + folder_ + " 1 --as elf"), HasSubstr("elf"));
  const std::string different = tool("diff " + folder_ + " 1 2");
  EXPECT_THAT(different, HasSubstr("-aaaaaaaa00"));
  EXPECT_THAT(different, HasSubstr("+bbbbbbbb00"));
  EXPECT_THAT(different, Not(HasSubstr("arena")));
}

TEST_F(Dump, AGraphBecomesDot) {
  listen();
  report_compilation("aaaaaaaa00");
  const std::string dot = tool("dot " + folder_ + " 1 --pass capture");
  EXPECT_THAT(dot, HasSubstr("digraph"));
  EXPECT_THAT(dot, HasSubstr("\"%0\" -> \"%1\""));
  EXPECT_THAT(dot, HasSubstr(R"(a \"quoted\" name)"));
  EXPECT_THAT(tool("dot " + folder_ + " 1 --pass nothing"), HasSubstr("capture simplify"));
}

TEST_F(Dump, AFolderWithoutTracesIsAnError) {
  for (const char* verb : {"", "why ", "fusion ", "syncs ", "html "}) {
    const std::string command = std::string(ENCORE_DUMP_TOOL) + " " + verb + folder_;
    EXPECT_THAT(output_of(command), HasSubstr("there are no traces in " + folder_)) << verb;
    EXPECT_NE(std::system((command + " 2>/dev/null").c_str()), 0) << verb;
  }
  EXPECT_THAT(tool("show " + folder_ + " 1"), HasSubstr("ENCORE_DUMP=" + folder_));
}

// Twelve kernels, so that "1" begins the names of four.
TEST_F(Dump, KernelsHaveTheOrderAndTheNumbersOfTheirLaunches) {
  listen();
  report_start("cccccccc00");
  for (int i = 0; i < 12; ++i)
    report_pass("kernel:" + std::to_string(i) + "-add", "text " + std::to_string(i) + "\n");
  report_pass("end", "kernels 12\n");
  const Bundle bundle = read_bundles(folder_).at(0);
  const std::vector<std::string> names = bundle.kernels();
  ASSERT_EQ(names.size(), 12u);
  for (size_t i = 0; i < 12; ++i) EXPECT_EQ(names[i], std::to_string(i) + "-add");
  EXPECT_THAT(bundle.kernels("1"), ElementsAre("1-add"));
  EXPECT_THAT(bundle.kernels("11-a"), ElementsAre("11-add"));
  EXPECT_EQ(tool("kernels " + folder_ + " 1 1"), "== kernels/1-add.txt\ntext 1\n");
  EXPECT_THROW(bundle.kernels("add"), Error);
}

TEST(DumpTensor, ShowsWhatWouldRunAndRunsNothing) {
  Tensor x = from_vector<float>({1, 2, 3, 4});
  Tensor y = sqrt(x * 3 + 1);
  const int64_t syncs = stats().syncs, compiled = stats().kernels_compiled;
  const std::string text = dump(y);
  EXPECT_EQ(stats().syncs, syncs);
  EXPECT_EQ(stats().kernels_compiled, compiled);
  for (const char* part : {"f32[4] sqrt", "cluster 0 over [4]", "inner 4", "output"}) {
    EXPECT_THAT(text, HasSubstr(part));
  }
  EXPECT_EQ(dump(y), text);
  EXPECT_EQ(y.to_vector<float>()[0], 2.0f);
  EXPECT_EQ(dump(y), "");
  EXPECT_THROW(dump(Tensor()), Error);
}

// From here to the pipeline and back to the tool, with nothing made by hand.
TEST_F(Dump, HoldsWhatTheRuntimeCompiles) {
  listen();
  Tensor x = from_vector<float>({1, 2, 3, 4});
  EXPECT_EQ(sum(x * x - 5).item<float>(), 10.0f);
  const auto bundles = read_bundles(folder_);
  ASSERT_EQ(bundles.size(), 1u);
  EXPECT_TRUE(bundles[0].finished());
  EXPECT_THAT(bundles[0].text("key.txt"), HasSubstr("dump_test.cpp"));
  EXPECT_GE(bundles[0].files("passes").size(), 3u);
  const std::string kernels = tool("kernels " + folder_ + " 1 --as all");
  for (const char* part : {".txt", ".ll", ".s"}) EXPECT_THAT(kernels, HasSubstr(part));
  EXPECT_THAT(tool("dot " + folder_ + " 1 --pass simplified"), HasSubstr(" -> "));
  const std::string dot = tool("dot " + folder_ + " 1");
  EXPECT_THAT(dot, HasSubstr(" -> "));
  EXPECT_THAT(dot, HasSubstr("subgraph cluster_0 {\n    label=\"cluster 0 over [4]"));
  EXPECT_EQ(tool("dot " + folder_ + " 1 --pass fused"), dot);
}

TEST_F(Dump, AProductListsItsMicroKernel) {
  listen();
  Tensor a = full({70, 80}, 0.5), b = full({80, 90}, 2.0);
  eval(a, b);
  EXPECT_EQ(matmul(a, b).to_vector<float>()[7], 80.0f);
  const std::string text = tool("kernels " + folder_ + " 2 --as micro");
  for (const char* part : {"; encore_micro_f32_", " rows of ", "vfmadd", "ret"})
    EXPECT_THAT(text, HasSubstr(part));
}

TEST_F(Dump, OfAVeryLongTraceThePageHasTheBeginningAndSaysSo) {
  const int64_t budget = settings().cut_nodes;
  settings().cut_nodes = 0;
  listen();
  Tensor x = full({16}, 1.0);
  for (int i = 0; i < 12'000; ++i) x = x * 1.5 - 0.5;
  EXPECT_EQ(x.to_vector<float>()[0], 1.0f);
  settings().cut_nodes = budget;
  const auto page = nlohmann::json::parse(tool("html " + folder_ + " --data -o -"));
  const auto& document = page["traces"][0]["document"];
  const auto& nodes = document["graphs"][1]["nodes"];
  const size_t all = document["statistics"]["nodes"], shown = nodes.size();
  EXPECT_EQ(shown, 20'001u);
  EXPECT_EQ(document["left_out"]["nodes"], all - 20'000);
  EXPECT_EQ(nodes.back()["op"], "left out");
  EXPECT_THAT(std::string(nodes.back()["scope"]), HasSubstr("more nodes"));
  for (const auto& node : document["graphs"][0]["nodes"])
    EXPECT_LT(node.value("became", 0u), shown);
  for (const auto& kernel : document["kernels"])
    for (const auto& segment : kernel["segments"])
      for (const auto& node : segment["nodes"]) EXPECT_LT(node, shown);
  for (const char* list : {"buffers", "refusals"})
    for (const auto& one : document[list]) EXPECT_LT(one["node"], shown);
}

TEST(Log, EachWordPrintsItsKinds) {
  testing::internal::CaptureStderr();
  const uint32_t id = log_events("compile,sync");
  events::report({EventKind::compile, "k7", "", 2'000'000});
  events::report({EventKind::sync, "read", "", 3, {"train.cpp", 12}});
  events::report({EventKind::launch, "k7", ""});
  events::ignore(id);
  EXPECT_EQ(testing::internal::GetCapturedStderr(),
            "encore: compile k7 2.000 ms\nencore: sync read 3 at train.cpp:12\n");
}

TEST(Log, GraphsAndKernelsArePrintedButNoGeneratedCode) {
  testing::internal::CaptureStderr();
  const uint32_t id = log_events("pass");
  report_pass("captured", "%0 = f32[4] leaf 0\n");
  report_pass("kernel:k0", "axis 0: inner 4\n");
  report_pass("llvm:k0", "define void @k0()\n");
  report_pass("assembly:k0", "ret\n");
  events::ignore(id);
  const std::string said = testing::internal::GetCapturedStderr();
  for (const char* part : {"leaf 0", "axis 0: inner 4", "pass llvm:k0", "pass assembly:k0"})
    EXPECT_THAT(said, HasSubstr(part));
  for (const char* part : {"define", "ret\n"}) EXPECT_THAT(said, Not(HasSubstr(part)));
}

TEST(Log, AnUnknownWordIsRefused) {
  EXPECT_THROW(log_events("compile,everything"), Error);
  EXPECT_FALSE(events::wanted(EventKind::compile));
}

// Another test of this program, run in a process of its own, does the reporting.
TEST_F(Dump, VariablesStartTheListeners) {
  const std::string self = fs::read_symlink("/proc/self/exe");
  const std::string said = output_of("ENCORE_LOG=compile ENCORE_DUMP='" + folder_ + "' '" + self +
                                     "' --gtest_filter=Dump.NumbersGoOnAfterWhatIsThere");
  EXPECT_EQ(find_bundle(folder_, "aaaa").text("stats.txt"), "kernels 1\n");
  EXPECT_EQ(find_bundle(folder_, "bbbb").text("stats.txt"), "kernels 1\n");
  EXPECT_THAT(said, HasSubstr("encore: compile k0 1.500 ms"));
}

}  // namespace
}  // namespace encore
