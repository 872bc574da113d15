// Does the placing of blocks keep those apart that live at once, and waste little?
#include <encore/trace/place_blocks.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace encore::trace {
namespace {

struct Request {
  Interval life;
  int64_t bytes;
  int64_t offset = nowhere;
};

std::vector<Request> random_requests(uint32_t count, uint32_t times, uint32_t longest,
                                     uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<Request> requests;
  for (uint32_t i = 0; i < count; ++i) {
    uint32_t first = uint32_t(random() % times);
    uint32_t last = std::min(times - 1, first + uint32_t(random() % longest));
    requests.push_back({{first, last}, int64_t(1) << (random() % 16)});
  }
  std::sort(requests.begin(), requests.end(),
            [](const Request& a, const Request& b) { return a.bytes > b.bytes; });
  return requests;
}

int64_t most_alive(const std::vector<Request>& requests, uint32_t times) {
  std::vector<int64_t> change(times + 1);
  for (const Request& r : requests) {
    int64_t bytes = (r.bytes + block_alignment - 1) / block_alignment * block_alignment;
    change[r.life.first] += bytes;
    change[r.life.last + 1] -= bytes;
  }
  int64_t now = 0, most = 0;
  for (int64_t bytes : change) most = std::max(most, now += bytes);
  return most;
}

/// Bytes in use are marked launch by launch; a second mark on a byte is an overlap.
void expect_apart(const std::vector<Request>& requests, uint32_t times, int64_t bytes) {
  std::vector<std::vector<const Request*>> starting(times);
  for (const Request& r : requests) starting[r.life.first].push_back(&r);
  std::vector<const Request*> alive;
  for (uint32_t time = 0; time < times; ++time) {
    std::erase_if(alive, [&](const Request* r) { return r->life.last < time; });
    alive.insert(alive.end(), starting[time].begin(), starting[time].end());
    std::sort(alive.begin(), alive.end(),
              [](const Request* a, const Request* b) { return a->offset < b->offset; });
    int64_t end = 0;
    for (const Request* r : alive) {
      ASSERT_GE(r->offset, end);
      ASSERT_EQ(r->offset % block_alignment, 0);
      end = r->offset + r->bytes;
    }
    ASSERT_LE(end, bytes);
  }
}

TEST(PlaceBlocks, ThoseAliveAtOnceAreApartAndLittleIsWasted) {
  for (uint32_t seed = 0; seed < 50; ++seed) {
    uint32_t times = 1 + seed * 7;
    std::vector<Request> requests = random_requests(40 + seed * 10, times, 1 + seed, seed);
    GrowingRange range(times);
    for (Request& r : requests) r.offset = range.place(r.life, r.bytes);
    expect_apart(requests, times, range.bytes());
    EXPECT_LE(double(range.bytes()), 1.25 * double(most_alive(requests, times))) << "seed " << seed;
  }
}

TEST(PlaceBlocks, AHundredThousandBlocksArePlaced) {
  for (uint32_t longest : {20u, 2000u, 50000u}) {
    constexpr uint32_t count = 100'000, times = 50'000;
    std::vector<Request> requests = random_requests(count, times, longest, longest);
    GrowingRange range(times);
    for (Request& r : requests) r.offset = range.place(r.life, r.bytes);
    if (longest == 20) expect_apart(requests, times, range.bytes());
    EXPECT_LE(double(range.bytes()), 1.5 * double(most_alive(requests, times))) << longest;
  }
}

TEST(PlaceBlocks, AFixedRangeRefusesWhatDoesNotFitOrIsClosed) {
  FixedRange range(1000);
  range.close({10, 20});
  EXPECT_EQ(range.place({0, 10}, 64), nowhere);
  EXPECT_EQ(range.place({15, 30}, 64), nowhere);
  EXPECT_EQ(range.place({0, 9}, 1001), nowhere);
  EXPECT_EQ(range.place({0, 9}, 600), 0);
  EXPECT_EQ(range.place({5, 9}, 400), nowhere);
  EXPECT_EQ(range.place({5, 9}, 360), 640);
  EXPECT_EQ(range.place({21, 30}, 1000), 0);
}

}  // namespace
}  // namespace encore::trace
