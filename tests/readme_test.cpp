// Is the README's example the program that is built, and does it do what the README says?
#include <encore/utils/bundle.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

namespace {

std::string text_of(const std::string& path) {
  std::ifstream stream(std::string(ENCORE_SOURCE_DIR) + "/" + path);
  std::ostringstream all;
  all << stream.rdbuf();
  return all.str();
}

TEST(Readme, ShowsTheExampleAsItIs) {
  const std::string example = text_of("examples/quickstart.cpp");
  EXPECT_GT(example.size(), 500u);
  EXPECT_THAT(text_of("README.md"), testing::HasSubstr("```cpp\n" + example + "```\n"));
}

// What the README quotes from the example's dump: indented lines of nodes, clusters and buffers.
TEST(Readme, QuotesTheDumpAsItIs) {
  const std::string folder = testing::TempDir() + "encore_readme_" + std::to_string(getpid());
  ASSERT_EQ(std::system(("ENCORE_DUMP='" + folder + "' " ENCORE_QUICKSTART " >/dev/null").c_str()),
            0);
  const encore::Bundle step = encore::find_bundle(folder, "3");
  std::string dump = step.text("memory-plan.txt");
  for (const std::string& pass : step.files("passes")) dump += step.text(pass);
  const std::string readme = text_of("README.md"), stats = step.text("stats.txt");
  int nodes = 0, kernels = 0, quoted = 0;
  ASSERT_EQ(sscanf(stats.substr(stats.find("nodes ")).c_str(), "nodes %d", &nodes), 1) << stats;
  ASSERT_EQ(sscanf(stats.substr(stats.find("kernels ")).c_str(), "kernels %d", &kernels), 1);
  EXPECT_THAT(readme, testing::HasSubstr(fmt::format("{} nodes, {} kernels", nodes, kernels)));
  std::istringstream lines(readme);
  for (std::string line; std::getline(lines, line);) {
    bool node = line.starts_with("    %"), cluster = line.starts_with("    cluster "),
         buffer = line.starts_with("    buffer ");
    if (!node && !cluster && !buffer) continue;
    EXPECT_THAT(dump, testing::HasSubstr(line.substr(4) + "\n"));
    ++quoted;
  }
  EXPECT_GE(quoted, 8);
  std::filesystem::remove_all(folder);
}

TEST(Readme, TheExampleLearnsAndCompilesOnlyOnce) {
  FILE* pipe = popen(ENCORE_QUICKSTART, "r");
  ASSERT_NE(pipe, nullptr);
  float loss[3] = {}, accuracy = 0;
  int compiled = 0, launched = 0;
  EXPECT_EQ(fscanf(pipe, "step 100 loss %f step 200 loss %f step 300 loss %f accuracy %f", &loss[0],
                   &loss[1], &loss[2], &accuracy),
            4);
  EXPECT_EQ(fscanf(pipe, " %d kernels compiled, %d launched", &compiled, &launched), 2);
  EXPECT_EQ(pclose(pipe), 0);
  EXPECT_LT(loss[1], loss[0]);
  EXPECT_LT(loss[2], loss[1]);
  EXPECT_GT(accuracy, 0.97f);
  EXPECT_LT(compiled, 40);
  EXPECT_GT(launched, 300);
}

}  // namespace
