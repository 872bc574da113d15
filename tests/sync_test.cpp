// Is finished work ever run again, and does a scope that forbids syncs name the line that asks for
// one?
#include <encore/core/events.h>
#include <encore/encore.h>
#include <gmock/gmock.h>

#include <sstream>

#include "error_of.h"

namespace encore {
namespace {

using testing::error_of;
using ::testing::HasSubstr;

TEST(Sync, AValueReadTwiceIsComputedOnce) {
  Tensor x = from_vector<float>({1, 2, 3});
  Tensor y = (x * 2.0).sum();
  Stats before = stats();
  EXPECT_EQ(y.item<float>(), 12);
  EXPECT_EQ(stats().syncs - before.syncs, 1);
  int64_t launches = stats().launches;
  EXPECT_EQ(y.item<float>(), 12);
  EXPECT_EQ(y.item<double>(), 12);
  eval(y);
  sync();
  EXPECT_EQ(stats().syncs - before.syncs, 1);
  EXPECT_EQ(stats().launches, launches);
}

TEST(Sync, AReadStoresWhatAnotherHandleNeedsLater) {
  Tensor x = from_vector<float>({1, 2, 3});
  Tensor middle = exp(x * 2.0), end = middle.sum();
  end.item<float>();
  Stats before = stats();
  middle.to_vector<float>();
  EXPECT_EQ(stats().syncs, before.syncs);
}

TEST(Sync, EverySyncIsToldWithItsLine) {
  std::vector<std::pair<std::string, Location>> told;
  uint32_t listener =
      events::listen([&](const Event& event) { told.emplace_back(event.name, event.where); },
                     events::bit(EventKind::sync));
  Tensor x = from_vector<float>({4, 9});
  Tensor root = sqrt(x);
  root.to_vector<float>();
  uint32_t read_line = __LINE__ - 1;
  Tensor more = root + 1.0;
  encore::sync();
  uint32_t step_line = __LINE__ - 1;
  events::ignore(listener);
  ASSERT_EQ(told.size(), 2u);
  EXPECT_EQ(told[0].first, "read");
  EXPECT_EQ(told[0].second.line, read_line);
  EXPECT_EQ(told[1].first, "step");
  EXPECT_EQ(told[1].second.line, step_line);
  EXPECT_THAT(told[1].second.file, HasSubstr("sync_test.cpp"));
}

TEST(Sync, PrintingIsToldWithItsOwnLine) {
  std::vector<Location> told;
  uint32_t listener = events::listen([&](const Event& event) { told.push_back(event.where); },
                                     events::bit(EventKind::sync));
  Tensor root = sqrt(from_vector<float>({4, 9}));
  std::ostringstream text;
  text << root;
  uint32_t line = __LINE__ - 1;
  events::ignore(listener);
  EXPECT_EQ(text.str(), "[2. 3.]");
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(told[0].line, line);
  NoSyncScope forbidden;
  Error printed = error_of([&] { text << root; });
  EXPECT_EQ(printed.where().line, uint32_t(__LINE__ - 1));
}

TEST(NoSyncScope, RefusesReadsAndStepsAtTheirLine) {
  Tensor x = from_vector<float>({1});
  Tensor y = x + 1.0;
  {
    NoSyncScope forbidden;
    Error read = error_of([&] { y.item<float>(); });
    EXPECT_EQ(read.where().line, uint32_t(__LINE__ - 1));
    EXPECT_THAT(read.where().file, HasSubstr("sync_test.cpp"));
    EXPECT_THAT(read.message(), HasSubstr("NoSyncScope"));
    Error step = error_of([&] { encore::sync(); });
    EXPECT_EQ(step.where().line, uint32_t(__LINE__ - 1));
    Error finished = error_of([&] { x.to_vector<float>(); });  // also what is known already
    EXPECT_EQ(finished.where().line, uint32_t(__LINE__ - 1));
    y = y * 2.0;  // recording is free
  }
  EXPECT_EQ(y.item<float>(), 4);
}

TEST(NoSyncScope, RefusesAnOptimizersStepAndNests) {
  Parameter p(from_vector<float>({1, 2}));
  Sgd optimizer({p}, {.lr = 0.5});
  backward(p.tensor().sum());
  {
    NoSyncScope outer;
    {
      NoSyncScope inner;
    }
    Error error = error_of([&] { p.grad().to_vector<float>(); });
    EXPECT_EQ(error.where().line, uint32_t(__LINE__ - 1));
  }
  optimizer.step();
  EXPECT_EQ(p.value().to_vector<float>(), (std::vector<float>{0.5, 1.5}));
}

TEST(NoSyncScope, LetsAutomaticCutsHappen) {
  Settings before = settings();
  settings().cut_nodes = 10;
  Tensor x = from_vector<float>({1});
  {
    NoSyncScope forbidden;
    for (int i = 0; i < 100; ++i) x = x + 1.0;
  }
  settings() = before;
  EXPECT_EQ(x.item<float>(), 101);
}

}  // namespace
}  // namespace encore
