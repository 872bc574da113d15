// Does device memory come back without waiting, join, stay within the device, and report what it
// holds? And do copies leave their source free and wait for no more than they must?
#include <encore/core/error.h>
#include <encore/jit/cuda/memory.h>
#include <encore/jit/cuda/staging.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <numeric>
#include <random>
#include <span>
#include <thread>

#include "fake_cuda_driver.h"

namespace encore::jit::cuda {
namespace {

using ::testing::HasSubstr;

constexpr size_t mebibyte = 1 << 20;
constexpr size_t least_apart = 64 << 10;

class CudaMemoryTest : public ::testing::Test {
 protected:
  CudaMemoryTest() : fake_(fake_cuda::driver()), gpu_(0), memory_(gpu_) { fake_.calls.clear(); }
  ~CudaMemoryTest() override {
    fail_call(0, 0);
    fake_.memory = size_t(1) << 30;
  }

  fake_cuda::Driver& fake_;
  Gpu gpu_;
  DeviceMemory memory_;
};

TEST_F(CudaMemoryTest, AFreedBlockIsReusedWithoutTheDriver) {
  for (size_t bytes : {size_t(0), size_t(1), size_t(4096), 3 * mebibyte, 100 * mebibyte}) {
    void* first = memory_.allocate(bytes);
    memory_.free(first);
    fake_.calls.clear();
    EXPECT_EQ(memory_.allocate(bytes), first) << bytes;
    EXPECT_TRUE(fake_.calls.empty());
    memory_.free(first);
  }
}

TEST_F(CudaMemoryTest, ARepeatedSequenceOfRequestsRepeatsItsAddresses) {
  auto run = [&] {
    std::vector<void*> blocks;
    for (int i = 1; i <= 40; ++i) blocks.push_back(memory_.allocate(size_t(i) * 70'000));
    for (int i = 0; i < 40; i += 2) memory_.free(blocks[size_t(i)]);
    for (int i = 1; i <= 10; ++i) blocks.push_back(memory_.allocate(size_t(i) * 50'000));
    for (size_t i = 0; i < blocks.size(); ++i)
      if (i >= 40 || i % 2) memory_.free(blocks[i]);
    return blocks;
  };
  run();  // takes what it needs from the driver
  std::vector<void*> second = run();
  EXPECT_EQ(run(), second);
}

TEST_F(CudaMemoryTest, BlocksAreAlignedAndNeverMeet) {
  std::mt19937 random(7);
  struct Held {
    std::byte* data;
    size_t bytes;
  };
  std::vector<Held> held;
  int64_t live = 0;
  for (int step = 0; step < 20'000; ++step) {
    if (held.size() < 60 && random() % 2) {
      size_t bytes = random() % 3 ? random() % 5000 : random() % (6 * mebibyte);
      auto* data = static_cast<std::byte*>(memory_.allocate(bytes));
      ASSERT_EQ(uintptr_t(data) % 512, 0u);
      for (const Held& other : held)
        ASSERT_TRUE(data + bytes <= other.data || other.data + other.bytes <= data);
      held.push_back({data, std::max<size_t>(bytes, 1)});
      live += int64_t(bytes);
    } else if (!held.empty()) {
      size_t which = random() % held.size();
      memory_.free(held[which].data);
      live -= int64_t(held[which].bytes == 1 ? 0 : held[which].bytes);
      held.erase(held.begin() + long(which));
    }
    ASSERT_LE(std::abs(memory_.live_bytes() - live), 60);  // those of no bytes count as one here
  }
  for (const Held& one : held) memory_.free(one.data);
  EXPECT_EQ(memory_.live_bytes(), 0);
  memory_.trim();
  EXPECT_EQ(memory_.reserved_bytes(), 0);  // all pieces have joined again
  EXPECT_EQ(fake_.used, 0u);
}

TEST_F(CudaMemoryTest, CountsWhatIsHeldAtMostAndReserved) {
  void* a = memory_.allocate(1000);
  void* b = memory_.allocate(50 * mebibyte);
  EXPECT_EQ(memory_.live_bytes(), int64_t(1000 + 50 * mebibyte));
  memory_.free(b);
  EXPECT_EQ(memory_.live_bytes(), 1000);
  EXPECT_EQ(memory_.peak_bytes(), int64_t(1000 + 50 * mebibyte));
  EXPECT_GE(memory_.reserved_bytes(), int64_t(50 * mebibyte));
  EXPECT_EQ(size_t(memory_.reserved_bytes()), fake_.used);
  memory_.reset_peak_bytes();
  EXPECT_EQ(memory_.peak_bytes(), 1000);
  memory_.free(a);
}

TEST_F(CudaMemoryTest, WhatIsKeptGoesBackBeforeARequestIsRefused) {
  fake_.memory = 256 * mebibyte;
  void* kept = memory_.allocate(200 * mebibyte);
  memory_.free(kept);
  void* other = memory_.allocate(230 * mebibyte);  // fits only where the first was
  EXPECT_EQ(fake_.used, 230 * mebibyte);
  memory_.free(other);
}

TEST_F(CudaMemoryTest, OutOfMemorySaysWhatWasAskedAndHeld) {
  fake_.memory = 256 * mebibyte;
  Ref<Buffer> held = memory_.allocate_buffer(200 * mebibyte);
  try {
    memory_.allocate_buffer(100 * mebibyte);
    FAIL() << "there was memory";
  } catch (const OutOfMemory& error) {
    EXPECT_EQ(error.requested(), 100 * mebibyte);
    EXPECT_THAT(error.message(), HasSubstr(std::to_string(100 * mebibyte)));
    EXPECT_THAT(error.message(), HasSubstr(std::to_string(200 * mebibyte)));
    EXPECT_THAT(error.message(), HasSubstr(std::to_string(256 * mebibyte)));
    EXPECT_THAT(error.message(), HasSubstr("CUDA device 0"));
  }
  EXPECT_THROW(memory_.allocate(~size_t(0)), OutOfMemory);
  EXPECT_EQ(memory_.live_bytes(), int64_t(200 * mebibyte));
  Ref<Buffer> small = memory_.allocate_buffer(40 * mebibyte);  // still works
  held = small = nullptr;
  EXPECT_EQ(memory_.live_bytes(), 0);
}

TEST_F(CudaMemoryTest, AFailureAtEveryCallIsSurvived) {
  for (int n = 1;; ++n) {
    memory_.trim();
    fail_call(n, 1);
    bool failed = false;
    try {
      Ref<Buffer> a = memory_.allocate_buffer(5 * mebibyte), b = memory_.allocate_buffer(100);
    } catch (const DeviceError& error) {
      failed = true;
    }
    fail_call(0, 0);
    EXPECT_EQ(memory_.live_bytes(), 0) << n;
    if (failed) continue;
    EXPECT_GE(n, 4);
    break;
  }
  Ref<Buffer> again = memory_.allocate_buffer(5 * mebibyte);
}

class CudaStagingTest : public CudaMemoryTest {
 protected:
  Staging staging_{gpu_, least_apart};
};

std::vector<std::byte> random_bytes(size_t size, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<std::byte> bytes(size);
  for (std::byte& one : bytes) one = std::byte(random());
  return bytes;
}

TEST_F(CudaStagingTest, CopiesOfAllSizesComeBackAsTheyWere) {
  for (size_t bytes :
       {size_t(1), size_t(63), size_t(64), Staging::chunk_bytes - 1, Staging::chunk_bytes,
        Staging::chunk_bytes + 1, 9 * Staging::chunk_bytes + 5}) {
    std::vector<std::byte> values = random_bytes(bytes, unsigned(bytes)), back(bytes);
    Ref<Buffer> buffer = memory_.allocate_buffer(bytes);
    staging_.to_device(buffer->data(), values.data(), bytes);
    staging_.to_host(back.data(), buffer->data(), bytes);
    EXPECT_EQ(back, values) << bytes;
  }
}

TEST_F(CudaStagingTest, TheSourceIsFreeOnReturnAndNobodyWaits) {
  std::vector<std::byte> values = random_bytes(10'000, 1), source = values, back(values.size());
  Ref<Buffer> buffer = memory_.allocate_buffer(values.size());
  fake_.calls.clear();
  staging_.to_device(buffer->data(), source.data(), source.size());
  EXPECT_EQ(fake_.calls.count("cuStreamSynchronize"), 0u);
  EXPECT_EQ(fake_.calls.count("cuEventSynchronize"), 0u);
  EXPECT_GT(fake_.enqueued, 0u);  // the copy itself has not happened yet
  std::fill(source.begin(), source.end(), std::byte{0xee});
  staging_.to_host(back.data(), buffer->data(), back.size());
  EXPECT_EQ(back, values);
  EXPECT_EQ(fake_.calls.count("cuStreamSynchronize"), 0u);  // its own event is enough
}

// The next batch is on the device before what was enqueued earlier has even begun.
TEST_F(CudaStagingTest, LargeCopiesCrossTheBusWhileTheDeviceComputes) {
  constexpr size_t bytes = 3 * least_apart;
  std::vector<std::byte> values = random_bytes(bytes, 1), other = random_bytes(bytes, 2);
  Ref<Buffer> buffer = memory_.allocate_buffer(bytes), result = memory_.allocate_buffer(bytes);
  staging_.to_device(buffer->data(), values.data(), bytes);
  auto address = [](const Ref<Buffer>& of) { return CUdeviceptr(uintptr_t(of->data())); };
  driver().cuMemcpyDtoDAsync(address(result), address(buffer), bytes, gpu_.stream());  // computes
  CUevent computed = nullptr;
  driver().cuEventCreate(&computed, CU_EVENT_DISABLE_TIMING);
  driver().cuEventRecord(computed, gpu_.stream());
  staging_.to_device(buffer->data(), other.data(), bytes);
  driver().cuStreamSynchronize(staging_.copies());
  EXPECT_EQ(driver().cuEventQuery.status(computed), CUDA_ERROR_NOT_READY);
  std::vector<std::byte> back(bytes);
  staging_.to_host(back.data(), result->data(), bytes);
  EXPECT_EQ(back, values);  // though the other values had arrived
  staging_.to_host(back.data(), buffer->data(), bytes);
  EXPECT_EQ(back, other);
  driver().cuEventDestroy(computed);
}

// Each batch fills half of the ring, so the third waits for the move of the first, and for no step.
TEST_F(CudaStagingTest, LargeCopiesWaitOnlyForTheMoveThatEmptiedTheirPlace) {
  const size_t bytes = fake_.memory / Landing::share / 2;
  ASSERT_GT(bytes, Staging::chunk_bytes);
  const Ref<Buffer> result = memory_.allocate_buffer(3 * bytes);
  std::vector<Ref<Buffer>> batches;
  std::vector<CUevent> steps;
  fake_.calls.clear();
  for (unsigned i = 0; i < 3; ++i) {
    batches.push_back(memory_.allocate_buffer(bytes));
    EXPECT_TRUE(staging_.to_device(batches[i]->data(), random_bytes(bytes, i).data(), bytes));
    driver().cuMemcpyDtoDAsync(CUdeviceptr(uintptr_t(result->data())) + i * bytes,
                               CUdeviceptr(uintptr_t(batches[i]->data())), bytes, gpu_.stream());
    driver().cuEventCreate(&steps.emplace_back(), CU_EVENT_DISABLE_TIMING);
    driver().cuEventRecord(steps[i], gpu_.stream());
  }
  driver().cuStreamSynchronize(staging_.copies());
  EXPECT_EQ(fake_.calls["cuStreamSynchronize"], 1);
  for (CUevent step : steps) {
    EXPECT_EQ(driver().cuEventQuery.status(step), CUDA_ERROR_NOT_READY);
    driver().cuEventDestroy(step);
  }
  std::vector<std::byte> back(3 * bytes);
  staging_.to_host(back.data(), result->data(), back.size());
  for (unsigned i = 0; i < 3; ++i)
    EXPECT_TRUE(
        std::ranges::equal(random_bytes(bytes, i), std::span(back).subspan(i * bytes, bytes)))
        << i;
}

TEST_F(CudaStagingTest, LargeCopiesGoStraightWhereThereIsNoMemoryForARing) {
  constexpr size_t bytes = 2 * Staging::chunk_bytes;
  const std::vector<std::byte> values = random_bytes(bytes, 1);
  std::vector<std::byte> back(bytes);
  Ref<Buffer> buffer = memory_.allocate_buffer(bytes);
  fake_.refusals = 1;
  EXPECT_FALSE(staging_.to_device(buffer->data(), values.data(), bytes));
  EXPECT_EQ(fake_.refusals, 0);
  staging_.to_host(back.data(), buffer->data(), bytes);
  EXPECT_EQ(back, values);
  EXPECT_TRUE(staging_.to_device(buffer->data(), values.data(), bytes));
}

TEST_F(CudaStagingTest, ManyCopiesAtOnceDoNotOverwriteEachOther) {
  constexpr size_t bytes = 300'000, count = 200;  // several times what is pinned
  size_t pinned = fake_.pinned;
  std::vector<Ref<Buffer>> buffers;
  for (size_t i = 0; i < count; ++i) {
    buffers.push_back(memory_.allocate_buffer(bytes));
    std::vector<std::byte> values = random_bytes(bytes, unsigned(i));
    staging_.to_device(buffers.back()->data(), values.data(), bytes);
  }
  std::vector<std::byte> back(bytes);
  for (size_t i = 0; i < count; ++i) {
    staging_.to_host(back.data(), buffers[i]->data(), bytes);
    ASSERT_EQ(back, random_bytes(bytes, unsigned(i))) << i;
  }
  EXPECT_LE(fake_.pinned - pinned, 6 * Staging::chunk_bytes);
}

TEST_F(CudaStagingTest, ThreadsAllocateAndCopyAtOnce) {
  std::vector<std::thread> threads;
  std::atomic<int> wrong = 0;
  for (unsigned t = 0; t < 6; ++t)
    threads.emplace_back([&, t] {
      for (unsigned i = 0; i < 40; ++i) {
        std::vector<std::byte> values = random_bytes(1 + (i * 7919 + t) % 200'000, t * 100 + i);
        std::vector<std::byte> back(values.size());
        Ref<Buffer> buffer = memory_.allocate_buffer(values.size());
        staging_.to_device(buffer->data(), values.data(), values.size());
        staging_.to_host(back.data(), buffer->data(), back.size());
        wrong += back != values;
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(memory_.live_bytes(), 0);
}

TEST_F(CudaStagingTest, AFailureAtEveryCallIsSurvived) {
  size_t bytes = 5 * Staging::chunk_bytes;  // more than is pinned, and than the ring holds
  std::vector<std::byte> values = random_bytes(bytes, 5), back(bytes);
  Ref<Buffer> buffer = memory_.allocate_buffer(bytes);
  int n = 1;
  for (bool failed = true; failed; ++n) {
    Staging fresh(gpu_, least_apart);
    auto copy_both_ways = [&] {
      fresh.to_device(buffer->data(), values.data(), bytes);
      fresh.to_host(back.data(), buffer->data(), bytes);
    };
    fail_call(n, 1);
    failed = false;
    try {
      copy_both_ways();
    } catch (const DeviceError&) {
      failed = true;
    }
    fail_call(0, 0);
    std::fill(back.begin(), back.end(), std::byte{0});
    copy_both_ways();
    ASSERT_EQ(back, values) << n;
  }
  EXPECT_GT(n, 15);
  EXPECT_EQ(fake_.events, 0);
}

}  // namespace
}  // namespace encore::jit::cuda
