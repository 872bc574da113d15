// Does a failing file call, wherever it strikes, cost more than a miss?
#include <encore/cache/sweep.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include <cstring>

#include "disk_folder.h"

namespace encore::cache {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr int errors[] = {ENOSPC, EDQUOT, EIO,    EMFILE, ENFILE,       EACCES, EPERM,
                          EROFS,  ENOENT, ENOMEM, ESTALE, ENAMETOOLONG, EISDIR, EFBIG};

class DiskFailure : public DiskFolder {
 protected:
  static std::string key(int i) { return "key " + std::to_string(i); }
  static Bytes value(int i) { return random_bytes(i, 100 * i); }

  /// Fills, reads, replaces and sweeps; every read is right or a miss.
  void use(DiskStore& store) {
    for (int round = 0; round < 2; ++round) {
      for (int i = 0; i < 3; ++i) {
        const auto read = store.read("a", key(i));
        if (read) {
          EXPECT_EQ(read, value(i));
        } else {
          store.write("a", key(i), value(i));
        }
      }
    }
  }
  DiskOptions small() {
    DiskOptions small = options();
    small.budget_files = 2;  // sweeps at every write
    return small;
  }
  void expect_works(DiskStore& store) {
    EXPECT_TRUE(store.write("a", "after", bytes_of("value")));
    EXPECT_EQ(store.read("a", "after"), bytes_of("value"));
  }
};

TEST_F(DiskFailure, OfEachFileCallIsAtMostAMiss) {
  int struck = 0;
  for (const bool from_there_on : {false, true}) {
    for (int n = 1;; ++n) {
      const int error = errors[n % std::size(errors)];
      fs::remove_all(folder_);
      warnings_.clear();
      DiskStore store(small());
      store.calls().fail(n, error, from_there_on ? 1 << 20 : 0);
      use(store);
      const bool has_struck = store.calls().made() >= n;
      store.calls().fail(0, 0);
      if (!from_there_on) {
        EXPECT_THAT(files(".tmp"), testing::IsEmpty()) << n;
        EXPECT_LE(warnings_.size(), 1u) << n << ": " << std::strerror(error);
      }
      expect_works(store);
      if (!has_struck) break;
      ++struck;
      ASSERT_LT(n, 5000) << "it never stopped failing";
    }
  }
  EXPECT_GT(struck, 200);
  std::printf("%d calls failed in turn\n", struck);
}

TEST_F(DiskFailure, OfAllCallsForTheFirstUseIsToldAndThenOver) {
  DiskStore(options()).write("a", "key", bytes_of("value"));
  fs::rename(folder_, root_ / "away");
  DiskStore store(options());
  fs::rename(root_ / "away", folder_);
  store.calls().fail(1, EMFILE, 1 << 20);
  EXPECT_FALSE(store.read("a", "key"));
  EXPECT_FALSE(store.read("a", "key"));
  EXPECT_THAT(warnings_, ElementsAre(HasSubstr("Too many open files")));
  store.calls().fail(0, 0);
  EXPECT_EQ(store.read("a", "key"), bytes_of("value"));
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // which take what they like
TEST_F(DiskFailure, OfMemoryIsAMiss) {
  const int status = in_child([&] {
    DiskStore store(options());
    const Bytes large(60 << 20);
    if (!store.write("a", "key", large) || !store.read("a", "key")) return 1;
    std::ifstream pages("/proc/self/statm");
    size_t mapped = 0;
    pages >> mapped;
    const size_t most = mapped * ::getpagesize() + (30 << 20);
    rlimit limit{most, most};
    ::setrlimit(RLIMIT_AS, &limit);
    if (store.read("a", "key")) return 2;
    if (store.write("a", "key", large)) return 3;
    return store.write("a", "small", bytes_of("x")) && store.read("a", "small") ? 0 : 4;
  });
  EXPECT_EQ(status, 0);
}
#endif

TEST_F(DiskFailure, OfAFullDiskIsToldOnce) {
  fs::create_directories(folder_);
  if (::mount("tmpfs", folder_.c_str(), "tmpfs", 0, "size=256k,mode=0700") != 0)
    GTEST_SKIP() << "no file system can be mounted here";
  DiskStore store(options());
  for (int i = 0; i < 40; ++i) store.write("a", key(i), random_bytes(i, 20'000));
  for (int i = 0; i < 40; ++i) {
    const auto read = store.read("a", key(i));
    if (read) {
      EXPECT_EQ(read, random_bytes(i, 20'000));
    }
  }
  const DiskStatistics statistics = store.statistics();
  const auto left_over = files(".tmp");
  ::umount2(folder_.c_str(), MNT_DETACH);
  EXPECT_GT(statistics.writes, 5);
  EXPECT_GT(statistics.failed_writes, 5);
  EXPECT_EQ(statistics.hits, statistics.writes);
  EXPECT_EQ(statistics.rejected, 0);
  EXPECT_THAT(left_over, testing::IsEmpty());
  EXPECT_THAT(warnings_, ElementsAre(HasSubstr("No space left on device")));
}

// The kernel answers a write past this limit with a signal that ends the program.
TEST_F(DiskFailure, OfAFileSizeLimitEndsNothing) {
  const int status = in_child([&] {
    DiskStore store(options());
    rlimit limit{10'000, 10'000};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    if (store.write("a", "large", random_bytes(1, 100'000))) return 1;
    if (!store.write("a", "small", random_bytes(1, 100))) return 2;
    return store.read("a", "small") == random_bytes(1, 100) && warnings_.size() == 1 ? 0 : 3;
  });
  EXPECT_EQ(status, 0);
}

TEST_F(DiskFailure, OfDescriptorsIsAMiss) {
  const int status = in_child([&] {
    DiskStore store(options());
    store.write("a", "key", bytes_of("value"));
    rlimit limit{3, 3};
    ::setrlimit(RLIMIT_NOFILE, &limit);
    if (store.read("a", "key") || store.write("a", "other", bytes_of("x"))) return 1;
    return warnings_.size() == 2 ? 0 : 2;
  });
  EXPECT_EQ(status, 0);
}

TEST_F(DiskFailure, OfAnEntryTooLargeIsToldOnce) {
  DiskStore store(options());
  const std::string kind(100, 'k');
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(store.write(kind, "key", bytes_of("value")));
  EXPECT_FALSE(store.read(kind, "key"));
  EXPECT_THAT(warnings_, ElementsAre(HasSubstr("too large")));
}

}  // namespace
}  // namespace encore::cache
