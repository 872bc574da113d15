// Is the transformer's gradient right, does it learn, and is a step compiled once?
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <map>
#include <string>

namespace {

TEST(TransformerStep, LearnsByRightGradientsAndCompilesOnce) {
  FILE* pipe = popen(ENCORE_TRANSFORMER_STEP " --steps 50", "r");
  ASSERT_NE(pipe, nullptr);
  double by_backward = 0, by_differences = 1;
  EXPECT_EQ(fscanf(pipe, "slope %lf by backward, %lf by finite differences", &by_backward,
                   &by_differences),
            2);
  EXPECT_GT(by_backward, 0.1);
  EXPECT_NEAR(by_backward, by_differences, 1e-5 * by_backward);
  int step = 0, compiled = 0, launches = 0;
  double loss = 0, first_loss = 0;
  std::map<int, int> compiled_at;
  while (fscanf(pipe, " step %d loss %lf, %d kernels compiled, %d launches", &step, &loss,
                &compiled, &launches) == 4) {
    if (step == 1) first_loss = loss;
    compiled_at[step] = compiled;
    EXPECT_LE(launches, 60) << "at step " << step;
  }
  EXPECT_EQ(pclose(pipe), 0);
  EXPECT_EQ(step, 50);
  EXPECT_NEAR(first_loss, std::log(32), 0.5) << "32 tokens, nothing learned yet";
  EXPECT_LT(loss, 0.1);
  EXPECT_GT(compiled_at[1], 0);
  EXPECT_EQ(compiled_at[25], 0);
  EXPECT_EQ(compiled_at[50], 0);
}

}  // namespace
