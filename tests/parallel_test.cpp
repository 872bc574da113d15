// The pool visits every index once, passes exceptions on, and leaves a forked child able to work.
#include <encore/core/settings.h>
#include <encore/jit/cpu/parallel.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <stdexcept>
#include <thread>
#include <vector>

namespace encore::jit {
namespace {

void expect_each_index_once(int64_t count) {
  std::vector<std::atomic<int>> visits(size_t(count) + 1);
  parallel_for(count, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) ++visits[size_t(i)];
  });
  for (int64_t i = 0; i < count; ++i) ASSERT_EQ(visits[size_t(i)], 1) << i;
  EXPECT_EQ(visits[size_t(count)], 0);
}

TEST(Parallel, VisitsEachIndexOnce) {
  for (int64_t count : {0, 1, 2, 7, 1000}) expect_each_index_once(count);
}

TEST(Parallel, HasAsManyThreadsAsAsked) {
  if (settings().threads > 0) {
    EXPECT_EQ(thread_count(), settings().threads);
    return;
  }
  cpu_set_t cores;
  ASSERT_EQ(sched_getaffinity(0, sizeof cores, &cores), 0);
  EXPECT_EQ(thread_count(), CPU_COUNT(&cores));
}

TEST(Parallel, PassesExceptionsOnAndGoesOn) {
  auto fail = [](int64_t, int64_t) { throw std::runtime_error("on purpose"); };
  EXPECT_THROW(parallel_for(100, fail), std::runtime_error);
  EXPECT_THROW(parallel_for(1, fail), std::runtime_error);
  expect_each_index_once(100);
}

TEST(Parallel, ServesSeveralThreadsAtOnce) {
  std::vector<std::thread> threads;
  std::atomic<int64_t> total{0};
  for (int number = 0; number < 4; ++number)
    threads.emplace_back([&] {
      for (int round = 0; round < 200; ++round)
        parallel_for(50, [&](int64_t begin, int64_t end) { total += end - begin; });
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(total, 4 * 200 * 50);
}

TEST(Parallel, WorksInAForkedChild) {
  expect_each_index_once(100);  // the pool exists, and its threads stay behind
  pid_t child = fork();
  if (child == 0) {
    alarm(20);
    std::atomic<int64_t> total{0};
    parallel_for(100, [&](int64_t begin, int64_t end) { total += end - begin; });
    _exit(total == 100 && thread_count() == 1 ? 0 : 1);
  }
  ASSERT_GT(child, 0);
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace encore::jit
