// Batches of a data set, shuffled by a seed and prepared ahead by worker threads.
//
//   DataLoader loader(dataset, {.batch_size = 128, .shuffle = true, .seed = 1});
//   for (const Batch& batch : loader) train(batch[0], batch[1]);
//
// Each pass over the loader is one epoch. The batches and their order depend on the seed and the
// epoch's number only, never on the workers. What a worker throws reaches the loop, in the place of
// the batch that it was making. One pass runs at a time.
#pragma once
#include <encore/lazy/tensor.h>

#include <iterator>
#include <memory>
#include <span>
#include <vector>

namespace encore {

using Batch = std::vector<Tensor>;

class Dataset {
 public:
  virtual ~Dataset() = default;
  virtual int64_t size() const = 0;
  /// The samples at these positions as tensors, the first axis running over them. Called from
  /// several threads at once.
  virtual Batch batch(std::span<const int64_t> positions) const = 0;
};

/// Rows of arrays in host memory: batch[i] holds the chosen rows of array i.
class ArrayDataset : public Dataset {
 public:
  struct Array {
    DType dtype;
    Shape shape;  // the first axis runs over the samples
    std::vector<std::byte> bytes;
  };
  /// All arrays must have equally many rows; others throw at `at`.
  explicit ArrayDataset(std::vector<Array> arrays, Device device = default_device(),
                        std::source_location at = std::source_location::current());
  int64_t size() const override { return arrays_[0].shape[0]; }
  Batch batch(std::span<const int64_t> positions) const override;

 private:
  std::vector<Array> arrays_;
  Device device_;
};

struct DataLoaderOptions {
  int64_t batch_size = 32;
  bool shuffle = false;
  uint64_t seed = 0;
  bool drop_last = false;  // leave out a last batch that is short
  int workers = 1;         // 0: batches are made in the loop itself
  int prefetch = 4;        // batches ready or in the making ahead of the loop
};

class DataLoader {
 public:
  /// The data set must outlive the loader.
  explicit DataLoader(const Dataset& dataset, DataLoaderOptions options = {},
                      std::source_location at = std::source_location::current());
  DataLoader(const Dataset&&, DataLoaderOptions = {}) = delete;  // it would not outlive the loader

  /// Batches in an epoch.
  int64_t size() const;
  /// Sets the number of the epoch that the next pass runs; each pass counts it up.
  void set_epoch(int64_t epoch) { epoch_ = epoch; }
  /// The order in which an epoch visits the samples.
  std::vector<int64_t> order(int64_t epoch) const;

  class Pass;
  class Iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = Batch;
    using difference_type = std::ptrdiff_t;
    using pointer = const Batch*;
    using reference = const Batch&;

    const Batch& operator*() const { return current_; }
    Iterator& operator++();
    void operator++(int) { ++*this; }
    bool operator==(std::default_sentinel_t) const { return pass_ == nullptr; }

   private:
    friend class DataLoader;
    explicit Iterator(std::shared_ptr<Pass> pass) : pass_(std::move(pass)) { ++*this; }
    std::shared_ptr<Pass> pass_;
    Batch current_;
  };
  Iterator begin();
  std::default_sentinel_t end() const { return {}; }

 private:
  const Dataset& dataset_;
  DataLoaderOptions options_;
  int64_t epoch_ = 0;
};

}  // namespace encore
