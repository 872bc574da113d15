// Do events reach exactly those who listen to their kind, from any thread?
#include <encore/core/events.h>
#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace encore {
namespace {

struct Listening {
  explicit Listening(events::Kinds kinds = events::all_kinds)
      : id(events::listen([this](const Event& event) { seen.emplace_back(event.name); }, kinds)) {}
  ~Listening() { events::ignore(id); }
  std::vector<std::string> seen;
  uint32_t id;
};

TEST(Events, NobodyListens) {
  EXPECT_FALSE(events::wanted(EventKind::pass));
  events::report({EventKind::pass, "unheard", ""});
}

TEST(Events, OnlyTheKindsAskedFor) {
  Listening launches(events::bit(EventKind::launch)), everything;
  events::report({EventKind::launch, "a", ""});
  events::report({EventKind::sync, "b", ""});
  EXPECT_EQ(launches.seen, std::vector<std::string>({"a"}));
  EXPECT_EQ(everything.seen, std::vector<std::string>({"a", "b"}));
}

TEST(Events, WantedFollowsTheListeners) {
  {
    Listening launches(events::bit(EventKind::launch));
    EXPECT_TRUE(events::wanted(EventKind::launch));
    EXPECT_FALSE(events::wanted(EventKind::allocation));
    Listening everything;
    EXPECT_TRUE(events::wanted(EventKind::allocation));
  }
  EXPECT_FALSE(events::wanted(EventKind::launch));
}

TEST(Events, ThreadsReportAtOnce) {
  Listening everything;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([] {
      for (int n = 0; n < 500; ++n) events::report({EventKind::launch, "kernel", "", n});
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(everything.seen.size(), 2000u);
}

}  // namespace
}  // namespace encore
