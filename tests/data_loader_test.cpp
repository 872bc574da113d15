// Does a loader deliver every sample once, in an order that only seed and epoch decide?
#include <encore/lazy/create.h>
#include <encore/utils/data_loader.h>
#include <gmock/gmock.h>

#include <atomic>
#include <mutex>
#include <numeric>
#include <set>
#include <stdexcept>

namespace encore {
namespace {

using testing::ElementsAre;

/// Sample i is the number i; counts calls and may fail at one position.
class Numbers : public Dataset {
 public:
  explicit Numbers(int64_t size, int64_t failing = -1) : size_(size), failing_(failing) {}
  int64_t size() const override { return size_; }
  Batch batch(std::span<const int64_t> positions) const override {
    ++calls;
    for (int64_t position : positions)
      if (position == failing_)
        throw std::runtime_error("sample " + std::to_string(position) + " is bad");
    return {from_vector(std::vector<int64_t>(positions.begin(), positions.end()))};
  }
  mutable std::atomic<int> calls{0};

 private:
  int64_t size_, failing_;
};

std::vector<std::vector<int64_t>> run(DataLoader& loader) {
  std::vector<std::vector<int64_t>> batches;
  for (const Batch& batch : loader) batches.push_back(batch[0].to_vector<int64_t>());
  return batches;
}

TEST(DataLoader, InOrderWithAShortLastBatch) {
  Numbers data(7);
  DataLoader loader(data, {.batch_size = 3});
  EXPECT_EQ(loader.size(), 3);
  EXPECT_THAT(run(loader), ElementsAre(ElementsAre(0, 1, 2), ElementsAre(3, 4, 5), ElementsAre(6)));
}

TEST(DataLoader, DropsTheShortBatchOnDemand) {
  Numbers data(7);
  DataLoader loader(data, {.batch_size = 3, .drop_last = true});
  EXPECT_EQ(loader.size(), 2);
  EXPECT_EQ(run(loader).size(), 2u);
}

TEST(DataLoader, EmptyDatasetGivesNoBatch) {
  Numbers data(0);
  DataLoader loader(data, {.batch_size = 3});
  EXPECT_TRUE(run(loader).empty());
}

TEST(DataLoader, ShufflesEverySampleOnceAnEpoch) {
  Numbers data(1000);
  DataLoader loader(data, {.batch_size = 32, .shuffle = true, .seed = 5, .workers = 3});
  std::vector<std::vector<int64_t>> first = run(loader), second = run(loader);
  for (const auto& epoch : {first, second}) {
    std::set<int64_t> seen;
    for (const auto& batch : epoch) seen.insert(batch.begin(), batch.end());
    EXPECT_EQ(seen.size(), 1000u);
    EXPECT_EQ(*seen.rbegin(), 999);
  }
  EXPECT_NE(first, second);
}

TEST(DataLoader, OrderDependsOnSeedAndEpochOnly) {
  Numbers data(500);
  std::vector<std::vector<std::vector<int64_t>>> runs;
  for (int workers : {0, 1, 4})
    for (int prefetch : {1, 8}) {
      DataLoader loader(
          data,
          {.batch_size = 17, .shuffle = true, .seed = 9, .workers = workers, .prefetch = prefetch});
      loader.set_epoch(3);
      runs.push_back(run(loader));
    }
  for (const auto& other : runs) EXPECT_EQ(other, runs[0]);
  DataLoader other_seed(data, {.batch_size = 17, .shuffle = true, .seed = 10});
  EXPECT_NE(other_seed.order(3), DataLoader(data, {.shuffle = true, .seed = 9}).order(3));
}

TEST(DataLoader, EveryPlaceIsAboutEquallyLikely) {
  Numbers data(8);
  std::vector<int> first_is(8);
  DataLoader loader(data, {.shuffle = true, .seed = 1});
  for (int64_t epoch = 0; epoch < 4000; ++epoch) ++first_is[size_t(loader.order(epoch)[0])];
  for (int count : first_is) EXPECT_NEAR(count, 500, 125);  // six standard deviations
}

TEST(DataLoader, WorkersExceptionReachesTheLoopInItsPlace) {
  for (int workers : {0, 1, 3}) {
    Numbers data(100, 47);
    DataLoader loader(data, {.batch_size = 10, .workers = workers});
    int delivered = 0;
    try {
      for (const Batch& batch : loader) delivered += int(batch.size());
      FAIL();
    } catch (const std::runtime_error& error) {
      EXPECT_STREQ(error.what(), "sample 47 is bad");
    }
    EXPECT_EQ(delivered, 4);
  }
}

TEST(DataLoader, LeavingTheLoopEarlyStopsTheWorkers) {
  Numbers data(100000);
  DataLoader loader(data, {.batch_size = 1, .workers = 2, .prefetch = 3});
  int seen = 0;
  for (const Batch& batch : loader) {
    (void)batch;
    if (++seen == 5) break;
  }
  EXPECT_LE(data.calls, 5 + 3);
}

TEST(DataLoader, RefusesImpossibleOptions) {
  Numbers data(10);
  EXPECT_THROW(DataLoader(data, {.batch_size = 0}), Error);
  EXPECT_THROW(DataLoader(data, {.workers = -1}), Error);
  EXPECT_THROW(DataLoader(data, {.prefetch = 0}), Error);
}

template <class T>
ArrayDataset::Array array(std::vector<T> values, Shape shape) {
  auto bytes = std::as_bytes(std::span(values));
  return {dtype_of<T>, shape, {bytes.begin(), bytes.end()}};
}

TEST(ArrayDataset, GathersRowsOfAllArrays) {
  ArrayDataset data({array<float>({0, 1, 10, 11, 20, 21}, {3, 2}), array<uint8_t>({5, 6, 7}, {3})});
  std::vector<int64_t> positions = {2, 0};
  Batch batch = data.batch(positions);
  EXPECT_EQ(batch[0].shape(), Shape({2, 2}));
  EXPECT_THAT(batch[0].to_vector<float>(), ElementsAre(20, 21, 0, 1));
  EXPECT_THAT(batch[1].to_vector<uint8_t>(), ElementsAre(7, 5));
}

TEST(ArrayDataset, RefusesArraysThatDoNotFit) {
  EXPECT_THROW(ArrayDataset({}), Error);
  EXPECT_THROW(ArrayDataset({array<float>({1, 2}, {2}), array<float>({1}, {1})}), Error);
  EXPECT_THROW(ArrayDataset({array<float>({1, 2}, {3})}), Error);
}

}  // namespace
}  // namespace encore
