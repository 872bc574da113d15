// The caching allocator keeps what is freed, within its bound, and answers failures with a type.
#include <encore/core/error.h>
#include <encore/jit/cpu/memory.h>
#include <gtest/gtest.h>

#include <cstring>
#include <thread>
#include <vector>

namespace encore::jit {
namespace {

constexpr int64_t kilo = 1024, mega = kilo * kilo;

TEST(SizeClass, WastesAtMostAQuarterAndGrows) {
  size_t last = 0;
  for (size_t bytes = 1; bytes < 100000; ++bytes) {
    size_t size = size_class(bytes);
    ASSERT_GE(size, bytes);
    ASSERT_EQ(size % 64, 0u);
    ASSERT_GE(size, last);
    ASSERT_EQ(size_class(size), size);
    if (bytes > 256) {
      ASSERT_LE(size, bytes + bytes / 4);
    }
    last = size;
  }
  EXPECT_EQ(size_class(0), 64u);
}

TEST(CachingMemory, HandsOutAlignedDistinctMemory) {
  CachingMemory memory(64 * mega);
  std::vector<std::pair<char*, size_t>> blocks;
  for (size_t bytes :
       {size_t(0), size_t(1), size_t(64), size_t(65), size_t(5000), size_t(3 * mega)}) {
    char* data = static_cast<char*>(memory.allocate(bytes));
    EXPECT_EQ(reinterpret_cast<uintptr_t>(data) % 64, 0u);
    std::memset(data, int(blocks.size()), bytes);
    blocks.push_back({data, bytes});
  }
  for (size_t i = 0; i < blocks.size(); ++i) {
    auto [data, bytes] = blocks[i];
    for (size_t at = 0; at < bytes; at += 61) ASSERT_EQ(data[at], char(i));
    memory.free(data, bytes);
  }
}

TEST(CachingMemory, AlignsLargeBlocksToHugePages) {
  CachingMemory memory(0);
  void* data = memory.allocate(5 * mega);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(data) % (2 * mega), 0u);
  memory.free(data, 5 * mega);
}

TEST(CachingMemory, ReusesAFreedBlockOfTheSameClass) {
  CachingMemory memory(64 * mega);
  void* first = memory.allocate(10000);
  memory.free(first, 10000);
  EXPECT_EQ(memory.kept_bytes(), int64_t(size_class(10000)));
  void* second = memory.allocate(10001);
  EXPECT_EQ(second, first);
  EXPECT_EQ(memory.kept_bytes(), 0);
  memory.free(second, 10001);
}

TEST(CachingMemory, KeepsNoMoreThanItsBoundAndDropsTheOldest) {
  CachingMemory memory(8 * mega);
  std::vector<void*> blocks;
  for (int i = 0; i < 5; ++i) blocks.push_back(memory.allocate(2 * mega));
  for (void* block : blocks) memory.free(block, 2 * mega);
  EXPECT_EQ(memory.kept_bytes(), 8 * mega);
  for (int i = 4; i >= 1; --i) EXPECT_EQ(memory.allocate(2 * mega), blocks[size_t(i)]);
  for (int i = 4; i >= 1; --i) memory.free(blocks[size_t(i)], 2 * mega);
  memory.trim(0);
  EXPECT_EQ(memory.kept_bytes(), 0);
}

TEST(CachingMemory, StaysBoundedOverManySizes) {
  CachingMemory memory(4 * mega);
  for (size_t i = 0; i < 20000; ++i) {
    size_t bytes = i * 7919 % (1 << 20);
    memory.free(memory.allocate(bytes), bytes);
    ASSERT_LE(memory.kept_bytes(), 4 * mega);
  }
}

TEST(CachingMemory, CountsWhatIsLive) {
  CachingMemory memory(64 * mega);
  void* a = memory.allocate(1000);
  void* b = memory.allocate(500);
  EXPECT_EQ(memory.live_bytes(), 1500);
  memory.free(a, 1000);
  EXPECT_EQ(memory.live_bytes(), 500);
  EXPECT_EQ(memory.peak_bytes(), 1500);
  memory.reset_peak_bytes();
  EXPECT_EQ(memory.peak_bytes(), 500);
  memory.free(b, 500);
  EXPECT_EQ(memory.live_bytes(), 0);
}

TEST(CachingMemory, ThrowsOutOfMemoryAndGoesOn) {
  CachingMemory memory(64 * mega);
  try {
    memory.allocate(size_t(1) << 61);
    FAIL() << "that much memory exists";
  } catch (const OutOfMemory& error) {
    EXPECT_EQ(error.requested(), size_t(1) << 61);
  }
  EXPECT_THROW(memory.allocate(~size_t(0)), OutOfMemory);
  EXPECT_EQ(memory.live_bytes(), 0);
  void* data = memory.allocate(100);
  memory.free(data, 100);
}

TEST(CachingMemory, FailsTheNthAllocationOnRequest) {
  CachingMemory memory(64 * mega);
  memory.fail_allocation(3);
  void* first = memory.allocate(10);
  void* second = memory.allocate(10);
  EXPECT_THROW(memory.allocate(10), OutOfMemory);
  void* third = memory.allocate(10);
  EXPECT_EQ(memory.live_bytes(), 30);
  for (void* block : {first, second, third}) memory.free(block, 10);
}

TEST(CachingMemory, BuffersGiveTheirMemoryBack) {
  CachingMemory memory(64 * mega);
  {
    Ref<Buffer> buffer = memory.allocate_buffer(4000);
    EXPECT_EQ(buffer->bytes(), 4000u);
    EXPECT_EQ(memory.live_bytes(), 4000);
  }
  EXPECT_EQ(memory.live_bytes(), 0);
  EXPECT_EQ(memory.kept_bytes(), int64_t(size_class(4000)));
}

TEST(CachingMemory, MayBeUsedFromManyThreads) {
  CachingMemory memory(mega);
  std::vector<std::thread> threads;
  for (int number = 0; number < 4; ++number)
    threads.emplace_back([&memory, number] {
      for (size_t i = 0; i < 2000; ++i) {
        size_t bytes = 64 + (i * 37 + size_t(number)) % 5000;
        auto* data = static_cast<unsigned char*>(memory.allocate(bytes));
        data[0] = data[bytes - 1] = static_cast<unsigned char>(number);
        ASSERT_EQ(data[0], number);
        ASSERT_EQ(data[bytes - 1], number);
        memory.free(data, bytes);
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(memory.live_bytes(), 0);
  EXPECT_LE(memory.kept_bytes(), mega);
}

}  // namespace
}  // namespace encore::jit
