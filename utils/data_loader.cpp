#include <encore/core/span.h>
#include <encore/lazy/create.h>
#include <encore/utils/data_loader.h>
#include <fmt/format.h>
#include <pthread.h>

#include <condition_variable>
#include <cstring>
#include <exception>
#include <map>
#include <mutex>
#include <numeric>
#include <random>
#include <thread>

namespace encore {

ArrayDataset::ArrayDataset(std::vector<Array> arrays, Device device, std::source_location at)
    : arrays_(std::move(arrays)), device_(device) {
  if (arrays_.empty()) throw Error("ArrayDataset: no arrays were given", at, "give at least one");
  for (const Array& array : arrays_) {
    if (array.shape.rank() == 0 || array.shape[0] != arrays_[0].shape[0])
      throw Error(fmt::format("ArrayDataset: an array of shape {} beside one of shape {}",
                              array.shape.text(), arrays_[0].shape.text()),
                  at, "the first axis runs over the samples: give all arrays as many rows");
    if (array.bytes.size() != size_t(array.shape.numel()) * size_of(array.dtype))
      throw Error(fmt::format("ArrayDataset: {} bytes for {}{}", array.bytes.size(),
                              name_of(array.dtype), array.shape.text()),
                  at, "the bytes must be those of the shape");
  }
}

Batch ArrayDataset::batch(std::span<const int64_t> positions) const {
  Batch batch;
  for (const Array& array : arrays_) {
    Shape shape = array.shape;
    shape[0] = int64_t(positions.size());
    size_t row = array.bytes.size() / std::max<size_t>(1, size_t(array.shape[0]));
    std::vector<std::byte> rows(row * positions.size());
    for (size_t i = 0; i < positions.size(); ++i) {
      if (positions[i] < 0 || positions[i] >= array.shape[0])
        throw Error(fmt::format("ArrayDataset: sample {} of {}", positions[i], array.shape[0]), {},
                    "positions count from 0");
      std::memcpy(rows.data() + i * row, array.bytes.data() + size_t(positions[i]) * row, row);
    }
    batch.push_back(from_bytes(rows.data(), array.dtype, shape, device_));
  }
  return batch;
}

/// One pass: workers claim batches in order and stay at most `prefetch` ahead of the loop.
class DataLoader::Pass {
 public:
  Pass(const Dataset& dataset, std::vector<int64_t> order, const DataLoaderOptions& options,
       int64_t batches)
      : dataset_(dataset), order_(std::move(order)), options_(options), batches_(batches) {
    for (int i = 0; i < options_.workers; ++i) workers_.emplace_back([this] { work(); });
  }
  ~Pass() {
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
    for (std::thread& worker : workers_) worker.join();
  }

  bool finished() const { return delivered_ == batches_; }
  Batch next() {
    if (options_.workers == 0) return make(delivered_++);
    Span span("wait for batch");
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return ready_.count(delivered_) != 0; });
    Made made = std::move(ready_.extract(delivered_++).mapped());
    lock.unlock();
    changed_.notify_all();
    if (made.error) std::rethrow_exception(made.error);
    return std::move(made.batch);
  }

 private:
  struct Made {
    Batch batch;
    std::exception_ptr error;
  };

  Batch make(int64_t number) const {
    Span span("load batch");
    int64_t first = number * options_.batch_size;
    int64_t count = std::min<int64_t>(options_.batch_size, int64_t(order_.size()) - first);
    return dataset_.batch(std::span(order_).subspan(size_t(first), size_t(count)));
  }

  void work() {
    pthread_setname_np(pthread_self(), "data loader");
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait(lock, [&] {
        return stopping_ || claimed_ == batches_ || claimed_ < delivered_ + options_.prefetch;
      });
      if (stopping_ || claimed_ == batches_) return;
      int64_t number = claimed_++;
      lock.unlock();
      Made made;
      try {
        made.batch = make(number);
      } catch (...) {
        made.error = std::current_exception();
      }
      lock.lock();
      ready_.emplace(number, std::move(made));
      changed_.notify_all();
    }
  }

  const Dataset& dataset_;
  const std::vector<int64_t> order_;
  const DataLoaderOptions options_;
  const int64_t batches_;
  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  std::map<int64_t, Made> ready_;
  int64_t claimed_ = 0;
  int64_t delivered_ = 0;
  bool stopping_ = false;
  std::vector<std::thread> workers_;
};

DataLoader::DataLoader(const Dataset& dataset, DataLoaderOptions options, std::source_location at)
    : dataset_(dataset), options_(options) {
  if (options.batch_size < 1 || options.workers < 0 || options.prefetch < 1)
    throw Error(fmt::format("DataLoader: batch_size {}, workers {}, prefetch {}",
                            options.batch_size, options.workers, options.prefetch),
                at, "batch_size and prefetch are at least 1, workers at least 0");
}

int64_t DataLoader::size() const {
  int64_t samples = dataset_.size();
  if (options_.drop_last) return samples / options_.batch_size;
  return samples == 0 ? 0 : (samples - 1) / options_.batch_size + 1;
}

std::vector<int64_t> DataLoader::order(int64_t epoch) const {
  int64_t samples = dataset_.size();
  if (samples < 0)
    throw Error(fmt::format("DataLoader: a data set of size {}", samples), {},
                "Dataset::size counts samples: it is zero or more");
  std::vector<int64_t> order(size_t(samples), 0);
  std::iota(order.begin(), order.end(), 0);
  if (!options_.shuffle) return order;
  // Fisher-Yates by hand: std::shuffle differs between standard libraries, the engine does not.
  std::seed_seq seeds{uint32_t(options_.seed), uint32_t(options_.seed >> 32), uint32_t(epoch),
                      uint32_t(uint64_t(epoch) >> 32)};
  std::mt19937_64 engine(seeds);
  for (uint64_t left = order.size(); left > 1; --left) {
    uint64_t limit = ~uint64_t(0) - ~uint64_t(0) % left, draw;
    do draw = engine();
    while (draw >= limit);
    std::swap(order[left - 1], order[draw % left]);
  }
  return order;
}

DataLoader::Iterator DataLoader::begin() {
  return Iterator(std::make_shared<Pass>(dataset_, order(epoch_++), options_, size()));
}

DataLoader::Iterator& DataLoader::Iterator::operator++() {
  current_.clear();
  if (pass_->finished())
    pass_.reset();
  else
    current_ = pass_->next();
  return *this;
}

}  // namespace encore
