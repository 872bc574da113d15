// Does a disk cache keep to its budget, drop what was used least, and clean up after the dead?
#include <encore/cache/scan.h>
#include <encore/cache/sweep.h>

#include <thread>

#include "disk_folder.h"

namespace encore::cache {
namespace {

using ::testing::IsEmpty;

struct Usage {
  int64_t files = 0;
  int64_t bytes = 0;
};

class DiskSweep : public DiskFolder {
 protected:
  Descriptor open() { return Descriptor(::open(folder_.c_str(), O_RDONLY | O_DIRECTORY)); }
  Usage usage() {
    Usage usage;
    for (const StoredFile& file : scan(calls_, open())) {
      ++usage.files;
      usage.bytes += file.disk_bytes;
    }
    return usage;
  }
  Sweep sweep_to(int64_t files, int64_t bytes = int64_t(1) << 40) {
    return sweep(calls_, open(), {.bytes = bytes, .files = files});
  }
  static std::string key(int i) { return "key " + std::to_string(i); }
  /// Entries by age: the first is the oldest.
  void fill(DiskStore& store, int count, size_t size = 100) {
    for (int i = 0; i < count; ++i) {
      ASSERT_TRUE(store.write("a", key(i), random_bytes(i, size)));
      set_age(path_to("a", key(i)), 1'000'000 - i * 100);
    }
  }
  FileCalls calls_;
};

TEST_F(DiskSweep, DropsWhatWasUsedLeastRecently) {
  DiskStore store(options());
  fill(store, 100);
  for (int i = 0; i < 100; i += 10) EXPECT_TRUE(store.read("a", key(i)));
  const Sweep done = sweep_to(50);
  EXPECT_TRUE(done.ran);
  EXPECT_EQ(done.kept_files, 40);  // four fifths
  EXPECT_EQ(done.removed_files, 60);
  for (int i = 0; i < 100; ++i)
    EXPECT_EQ(store.read("a", key(i)).has_value(), i % 10 == 0 || i >= 67) << i;
}

TEST_F(DiskSweep, KeepsToBytes) {
  DiskStore store(options());
  fill(store, 50, 40'000);
  const Usage before = usage();
  const Sweep done = sweep_to(1000, before.bytes / 2);
  EXPECT_EQ(usage().bytes, done.kept_bytes);
  EXPECT_LE(done.kept_bytes, before.bytes / 2 / 5 * 4);
  EXPECT_GE(done.kept_bytes, before.bytes / 2 / 5 * 4 - before.bytes / 50 - 1);
  EXPECT_EQ(usage().files, done.kept_files);
  EXPECT_FALSE(store.read("a", key(0)));
  EXPECT_TRUE(store.read("a", key(49)));
}

TEST_F(DiskSweep, WithinBudgetRemovesNothing) {
  DiskStore store(options());
  fill(store, 20);
  EXPECT_EQ(sweep_to(20).removed_files, 0);
  EXPECT_EQ(usage().files, 20);
}

TEST_F(DiskSweep, AHitRenewsAnEntryAtMostOnceAnHour) {
  DiskStore store(options());
  store.write("a", "key", bytes_of("value"));
  const fs::path file = path_to("a", "key");
  set_age(file, 1000);
  EXPECT_TRUE(store.read("a", "key"));
  EXPECT_GE(age_of(file), 1000);
  set_age(file, 4000);
  EXPECT_TRUE(store.read("a", "key"));
  EXPECT_LT(age_of(file), 1000);
}

TEST_F(DiskSweep, RemovesWhatDeadWritersLeft) {
  DiskStore store(options());
  store.write("a", "key", bytes_of("value"));
  const fs::path shard = path_to("a", "key").parent_path();
  const pid_t dead = [] {
    const pid_t child = ::fork();
    if (child == 0) ::_exit(0);
    ::waitpid(child, nullptr, 0);
    return child;
  }();
  auto leave = [&](pid_t writer, const char* number, int64_t age) {
    const fs::path path = shard / (std::to_string(writer) + "." + number + ".tmp");
    write_file(path, bytes_of("half"));
    set_age(path, age);
    return path;
  };
  const fs::path fresh = leave(dead, "1", 0), old = leave(dead, "2", 120);
  const fs::path living = leave(::getpid(), "3", 120), slow = leave(::getpid(), "4", 4000);
  EXPECT_EQ(sweep_to(1000).removed_files, 2);
  EXPECT_TRUE(fs::exists(fresh));  // its writer may be in another container
  EXPECT_FALSE(fs::exists(old));
  EXPECT_TRUE(fs::exists(living));
  EXPECT_FALSE(fs::exists(slow));
  EXPECT_TRUE(store.read("a", "key"));
}

TEST_F(DiskSweep, RemovesWhatCannotBeAnEntryAndNothingOfOthers) {
  DiskStore store(options());
  fill(store, 3);
  const fs::path shard = path_to("a", key(0)).parent_path();
  const std::string digits(32, '0');
  fs::create_directories(folder_ / "00");
  ASSERT_EQ(::mkfifo((folder_ / "00" / (digits + ".entry")).c_str(), 0600), 0);
  const std::string ones(32, '1');
  fs::create_directories(folder_ / "11" / (ones + ".entry"));
  const fs::path kept[] = {folder_ / "notes.txt", shard / "notes.txt", shard / "1.tmp",
                           folder_ / "abc" / (digits + ".entry"), folder_ / (digits + ".entry")};
  for (const fs::path& path : kept) write_file(path, bytes_of("somebody's"));
  for (const fs::path& path : kept) set_age(path, 10'000'000);
  EXPECT_EQ(sweep_to(1).removed_files, 2 + 2);  // one entry may stay
  EXPECT_FALSE(fs::exists(folder_ / "11" / (ones + ".entry")));
  for (const fs::path& path : kept) EXPECT_TRUE(fs::exists(path)) << path;
}

TEST_F(DiskSweep, IsDoneByOneAtATime) {
  DiskStore store(options());
  fill(store, 20);
  {
    const Descriptor other(::open((folder_ / sweep_lock).c_str(), O_RDWR));
    ASSERT_EQ(::flock(other.get(), LOCK_EX), 0);
    const Sweep done = sweep_to(1);
    EXPECT_FALSE(done.ran);
    EXPECT_EQ(usage().files, 20);
  }
  EXPECT_TRUE(sweep_to(10).ran);
  EXPECT_EQ(usage().files, 8);
}

// Each writes and sweeps as it likes; every removal is done once, nobody sees an error.
TEST_F(DiskSweep, BySeveralProcessesAndThreadsAtOnceIsHarmless) {
  std::vector<pid_t> children;
  DiskOptions small = options();
  small.budget_files = 64;
  for (int process = 0; process < 4; ++process) {
    if (const pid_t child = ::fork(); child != 0) {
      children.push_back(child);
      continue;
    }
    std::atomic<int> wrong = 0;
    {
      DiskStore store(small);
      std::vector<std::jthread> threads;
      for (int thread = 0; thread < 3; ++thread)
        threads.emplace_back([&, thread] {
          std::mt19937 random(process * 10 + thread);
          for (int i = 0; i < 300; ++i) {
            const int number = random() % 200;
            const auto read = store.read("a", key(number));
            if (read && *read != random_bytes(number, number)) ++wrong;
            if (!read && !store.write("a", key(number), random_bytes(number, number))) ++wrong;
          }
        });
      threads.clear();
      wrong += store.statistics().rejected + store.statistics().failed_writes;
    }
    ::_exit(wrong != 0 || !warnings_.empty());
  }
  for (const pid_t child : children) {
    int status = 0;
    ::waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
  }
  EXPECT_THAT(files(".tmp"), IsEmpty());
  // All may have written their last while one was sweeping; the next that writes makes up for it.
  DiskStore store(small);
  for (int i = 0; i < 64 / 16; ++i) store.write("a", "late" + key(i), bytes_of("value"));
  EXPECT_LE(usage().files, 64);
}

// Another process sweeps while this one's turn comes: it is made up for at the next write.
TEST_F(DiskSweep, StaysDueWhileAnotherSweeps) {
  DiskOptions small = options();
  small.budget_files = 64;
  DiskStore store(small);
  {
    store.write("a", "first", bytes_of("value"));  // makes the folder and sweeps
    const Descriptor other(::open((folder_ / sweep_lock).c_str(), O_RDWR));
    ASSERT_EQ(::flock(other.get(), LOCK_EX), 0);
    fill(store, 100);
    EXPECT_EQ(store.statistics().sweeps, 1);
    EXPECT_EQ(usage().files, 101);
  }
  store.write("a", "one more", bytes_of("value"));
  EXPECT_EQ(store.statistics().sweeps, 2);
  EXPECT_LE(usage().files, 64);
}

TEST_F(DiskSweep, IsDoneAtAProcessesFirstWriteToo) {
  {
    DiskStore store(options());
    fill(store, 100);
  }
  set_age(folder_ / sweep_lock, 10'000);
  DiskOptions small = options();
  small.budget_files = 50;
  DiskStore store(small);
  store.write("a", "one more", bytes_of("value"));
  EXPECT_EQ(store.statistics().sweeps, 1);
  EXPECT_EQ(usage().files, 40);
  EXPECT_TRUE(store.read("a", "one more"));
}

TEST_F(DiskSweep, ManyWritesReachAPlateau) {
  DiskOptions small = options();
  small.budget_files = 4000;
  small.budget_bytes = 12 << 20;  // fewer blocks than files: bytes are short first
  DiskStore store(small);
  Usage most;
  constexpr int writes = 100'000;
  for (int i = 0; i < writes; ++i) {
    ASSERT_TRUE(store.write("a", key(i), std::as_bytes(std::span(&i, 1))));
    if (i % 5000 == 4999) {
      const Usage now = usage();
      most = {std::max(most.files, now.files), std::max(most.bytes, now.bytes)};
    }
  }
  EXPECT_LE(most.bytes, small.budget_bytes / 16 * 17 + 4096);
  EXPECT_LE(most.files, small.budget_files / 16 * 17 + 1);
  EXPECT_GE(most.bytes, small.budget_bytes / 5 * 4 - 4096);
  EXPECT_TRUE(store.read("a", key(writes - 1)));
  EXPECT_FALSE(store.read("a", key(0)));
  const int64_t kept = usage().files;
  EXPECT_EQ(kept + store.statistics().swept_files, writes);
  EXPECT_THAT(warnings_, IsEmpty());
  std::printf("%d writes: at most %ld files, %ld bytes; %ld sweeps\n", writes, long(most.files),
              long(most.bytes), long(store.statistics().sweeps));
}

}  // namespace
}  // namespace encore::cache
