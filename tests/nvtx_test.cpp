// Does a tool that listens to NVTX hear scopes, syncs and kernels, as well-formed ranges?
#include <encore/encore.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <thread>

namespace encore {
namespace {

using testing::HasSubstr;

struct Mlp : Module {
  Linear fc1{16, 8}, fc2{8, 4};
  Tensor forward(const Tensor& x) { return fc2(relu(fc1(x))); }
  ENCORE_MEMBERS(fc1, fc2)
};

bool is_child() { return std::getenv("ENCORE_TEST_CHILD") != nullptr; }

std::string run_child(const std::string& environment) {
  const std::string self = std::filesystem::read_symlink("/proc/self/exe");
  FILE* pipe = popen(
      fmt::format("{} ENCORE_TEST_CHILD=1 '{}' --gtest_filter=Nvtx.Child 2>&1", environment, self)
          .c_str(),
      "r");
  std::string said;
  for (char part[4096]; size_t size = fread(part, 1, sizeof part, pipe);) said.append(part, size);
  EXPECT_EQ(pclose(pipe), 0) << said;
  return said;
}

TEST(Nvtx, Child) {
  if (!is_child()) GTEST_SKIP() << "for the tests below";
  auto work = [] {
    Mlp model;
    for (int i = 0; i < 3; ++i) model(ones({2, 16})).sum().item<float>();
  };
  std::thread other(work);
  work();
  other.join();
}

TEST(Nvtx, AToolHearsRangesThatNest) {
  const std::string file = fmt::format("{}encore_nvtx_{}", testing::TempDir(), getpid());
  std::filesystem::remove(file);
  std::string said = run_child(
      fmt::format("ENCORE_NVTX=1 NVTX_INJECTION64_PATH={} FAKE_NVTX_FILE={}", FAKE_NVTX, file));
  EXPECT_THAT(said, testing::Not(HasSubstr("no tool listens")));
  std::ifstream stream(file);
  std::map<int, int> depth;
  std::map<std::string, int> pushed;
  int thread;
  for (std::string what, name; stream >> thread >> what && std::getline(stream, name);) {
    depth[thread] += what == "push" ? 1 : -1;
    EXPECT_GE(depth[thread], 0);
    if (what == "push") ++pushed[name.substr(1)];
  }
  EXPECT_GE(depth.size(), 2u);  // kernels may be compiled on others
  for (auto [id, left] : depth) EXPECT_EQ(left, 0);
  EXPECT_EQ(pushed["Mlp"], 6);
  EXPECT_EQ(pushed["fc1"], 6);
  EXPECT_EQ(pushed["sync read"], 6);
  EXPECT_EQ(pushed["replay"], 6);
}

TEST(Nvtx, WithoutAToolItSaysSoAndWorks) {
  EXPECT_THAT(run_child("ENCORE_NVTX=1 NVTX_INJECTION64_PATH=/nonexistent/tool.so"),
              HasSubstr("ENCORE_NVTX: no tool listens"));
  EXPECT_THAT(run_child(fmt::format("ENCORE_NVTX=1 FAKE_NVTX_REFUSES=1 NVTX_INJECTION64_PATH={}",
                                    FAKE_NVTX)),
              HasSubstr("does not want to listen"));
}

}  // namespace
}  // namespace encore
