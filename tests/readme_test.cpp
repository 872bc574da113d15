// Is the README's example the program that is built, and does it do what the README says?
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
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
