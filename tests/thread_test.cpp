// May independent threads record, evaluate and differentiate at once, and share tensors?
#include <encore/encore.h>
#include <gtest/gtest.h>
#include <malloc.h>

#include <barrier>
#include <thread>

namespace encore {
namespace {

constexpr int thread_count = 8, rounds = 40;

template <class Act>
void on_threads(Act act) {
  std::vector<std::thread> threads;
  for (int number = 0; number < thread_count; ++number)
    threads.emplace_back([&act, number] { act(number); });
  for (std::thread& thread : threads) thread.join();
}

TEST(Thread, IndependentProgramsGiveTheirOwnResults) {
  std::atomic<int> wrong = 0;
  on_threads([&](int number) {
    for (int round = 0; round < rounds; ++round) {
      Tensor x = from_vector<float>({1, 2, 3, 4}, {2, 2});
      Tensor y = matmul(x, x) * float(number) + float(round);
      if (number % 2) y = y.transpose() + x.sum({0}, true) * 0.0;
      if (round % 3 == 0) eval(y);
      float n = float(number), r = float(round);
      std::vector<float> expected = {7 * n + r, 10 * n + r, 15 * n + r, 22 * n + r};
      if (number % 2) std::swap(expected[1], expected[2]);
      wrong += y.to_vector<float>() != expected;
    }
  });
  EXPECT_EQ(wrong, 0);
}

TEST(Thread, SharedTensorsAreComputedOnceAndSeenByAll) {
  std::atomic<int> wrong = 0;
  for (int round = 0; round < rounds; ++round) {
    Tensor base = from_vector<double>({1, 2, 3});
    Tensor shared = base * 2.0 + double(round);  // pending when the threads begin
    std::barrier start(thread_count);
    on_threads([&](int number) {
      Tensor mine = shared;
      start.arrive_and_wait();
      Tensor y = mine * double(number) + base;
      double n = number, r = round;
      std::vector<double> expected = {(2 + r) * n + 1, (4 + r) * n + 2, (6 + r) * n + 3};
      wrong += y.to_vector<double>() != expected;
      wrong += mine.to_vector<double>() != std::vector<double>{2 + r, 4 + r, 6 + r};
    });
  }
  EXPECT_EQ(wrong, 0);
}

TEST(Thread, TrainingsDoNotDisturbEachOther) {
  std::vector<std::vector<float>> results(thread_count);
  on_threads([&](int number) {
    Parameter p(from_vector<float>({1, -2, 3}));
    AdamW optimizer({p}, {.lr = 0.1});
    for (int step = 0; step < rounds; ++step) {
      optimizer.zero_grad();
      backward((p * p * from_vector<float>({1, 2, 3})).sum());
      optimizer.step();
    }
    results[size_t(number)] = p.value().to_vector<float>();
  });
  for (const auto& result : results) EXPECT_EQ(result, results[0]);
}

TEST(Thread, HandlesMayDieOnAnotherThread) {
  for (int round = 0; round < rounds; ++round) {
    std::vector<Tensor> handles(thread_count);
    on_threads([&](int number) {
      Tensor x = from_vector<float>({1, 2});
      for (int i = 0; i < 50; ++i) x = x + float(number);
      handles[size_t(number)] = x;
    });
    on_threads([&](int number) {
      size_t other = size_t(number + 1) % thread_count;
      Tensor taken = std::move(handles[other]);
      if (number % 2) {
        EXPECT_EQ(taken.to_vector<float>()[0], 1 + 50 * float(other));
      }
    });
  }
}

// Half of them leave a pending tensor behind, which the main thread reads or drops.
TEST(Thread, EndedThreadsLeaveNothingButWhatIsHeld) {
  auto run_one = [](int number) {
    Tensor left;
    std::thread([&] {
      Tensor x = from_vector<float>({1});
      for (int i = 0; i < 4000; ++i) x = x + 1.0f;
      if (number % 2) left = x;
    }).join();
    if (number % 4 == 1) {
      EXPECT_EQ(left.to_vector<float>()[0], 4001);
    }
  };
  for (int number = 0; number < 40; ++number) run_one(number);  // this thread's pool fills
  const size_t before = mallinfo2().uordblks;
  for (int number = 0; number < 60; ++number) run_one(number);
  EXPECT_LT(mallinfo2().uordblks, before + (size_t(1) << 20));  // 60 lists take twice that
}

}  // namespace
}  // namespace encore
