// Every part of a job runs once, whoever comes for it and whenever helpers come and go.
#include <encore/jit/cpu/crew.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <thread>
#include <vector>

namespace encore::jit {
namespace {

/// A crew whose helpers are threads that end with it.
class Helped {
 public:
  ~Helped() {
    for (std::thread& helper : helpers_) helper.join();
  }

  template <class Body>
  bool run(int64_t parts, const Body& body) {
    auto call = [](void* body, int64_t begin, int64_t end) {
      for (; begin < end; ++begin) (*static_cast<const Body*>(body))(begin);
    };
    return crew_.run({call, const_cast<Body*>(&body), parts, parts}, [&] { enlist(); });
  }
  size_t enlisted() const { return helpers_.size(); }

 private:
  void enlist() {
    int number = int(helpers_.size());
    helpers_.emplace_back([this, number] { crew_.serve(number % 5); });
  }

  Crew crew_;
  std::vector<std::thread> helpers_;  // of whoever runs jobs
};

TEST(Crew, RunsEveryPartOnce) {
  Helped crew;
  for (int job = 0; job < 1000; ++job) {
    const int64_t parts = job % 250 == 0 ? Crew::most_parts : 1 + job % 4;
    std::vector<std::atomic<int>> visits(static_cast<size_t>(parts));
    ASSERT_TRUE(crew.run(parts, [&](int64_t part) { ++visits[size_t(part)]; }));
    for (auto& count : visits) ASSERT_EQ(count, 1);
    if (job % 100 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));  // they leave
  }
  EXPECT_GT(crew.enlisted(), 0u);
}

TEST(Crew, ResultsOfHelpersAreSeen) {
  Helped crew;
  for (int64_t job = 0; job < 1000; ++job) {
    int64_t results[4] = {};
    crew.run(4, [&](int64_t part) { results[part] = job + part; });
    for (int64_t part = 0; part < 4; ++part) ASSERT_EQ(results[part], job + part);
  }
}

TEST(Crew, HelpersTakePart) {
  Helped crew;
  std::atomic<int> arrived{0};
  crew.run(2, [&](int64_t) {
    for (++arrived; arrived < 2;) std::this_thread::yield();  // the other part runs meanwhile
  });
  EXPECT_EQ(arrived, 2);
}

TEST(Crew, RefusesAJobWithinAJob) {
  Helped crew;
  std::atomic<int> refused{0};
  EXPECT_TRUE(crew.run(3, [&](int64_t) { refused += !crew.run(2, [](int64_t) {}); }));
  EXPECT_EQ(refused, 3);
  EXPECT_TRUE(crew.run(2, [](int64_t) {}));
}

TEST(Crew, ThrowsWhatAPartThrewWhenAllAreDone) {
  Helped crew;
  for (int64_t throwing = 0; throwing < 4; ++throwing) {
    std::atomic<int> others{0};
    auto part = [&](int64_t number) {
      if (number == throwing) throw std::runtime_error("on purpose");
      ++others;
    };
    EXPECT_THROW(crew.run(4, part), std::runtime_error);
    EXPECT_EQ(others, 3);
    EXPECT_TRUE(crew.run(4, [](int64_t) {}));
  }
}

TEST(Crew, WorksWithoutHelpers) {
  Crew crew;
  int64_t sum = 0;
  auto add = [](void* sum, int64_t begin, int64_t end) {
    for (; begin < end; ++begin) *static_cast<int64_t*>(sum) += begin;
  };
  EXPECT_TRUE(
      crew.run({add, &sum, 100, 64}, [] { throw std::runtime_error("no thread is left"); }));
  EXPECT_EQ(sum, 4950);
}

}  // namespace
}  // namespace encore::jit
