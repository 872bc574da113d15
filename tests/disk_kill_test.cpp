// Processes that share one folder and are killed at random: is anything ever read that is not
// right?
#include <encore/cache/scan.h>
#include <encore/cache/sweep.h>
#include <signal.h>

#include <chrono>
#include <set>

#include "disk_folder.h"

namespace encore::cache {
namespace {

using ::testing::IsEmpty;

constexpr int processes = 64, keys = 150, small_keys = 20;
constexpr int wrong_value = 3, failed = 4, half_written = 5;

std::string key(int i) { return "key " + std::to_string(i); }
Bytes value(int i) { return random_bytes(i, i * i * 7); }  // up to 150 kB

class DiskKill : public DiskFolder {
 protected:
  DiskOptions small() {
    DiskOptions small = options();
    small.budget_bytes = 2 << 20;  // half of all entries, so sweeps go on as well
    return small;
  }
  Bytes corrupt(int i, std::mt19937_64& random);
  /// For some seconds many work, and one after the other is killed and replaced. With `clean` the
  /// folder holds nothing damaged, and nothing damaged is ever seen.
  void work_and_kill(bool clean);
  pid_t start(uint64_t seed, bool clean);
  int kills_ = 0;
};

// What a child does until it is killed: what is missing it makes and writes. Every fourth does
// nothing but write, to be killed at it.
[[noreturn]] void work(const DiskOptions& options, uint64_t seed, bool clean) {
  std::mt19937_64 random(seed);
  if (::nice(5) < 0) ::_exit(failed);  // the killer must get its turn
  try {
    while (true) {
      DiskStore store(options);  // as a new process has it
      const bool only_writes = seed % 4 == 0;
      for (int i = 0; i < 20; ++i) {
        const int number = random() % (only_writes ? small_keys : keys);
        const Bytes right = value(number);
        if (only_writes) {
          store.write("a", key(number), right);
          continue;
        }
        const auto read = store.read("a", key(number));
        if (read && *read != right) ::_exit(wrong_value);
        if (!read) store.write("a", key(number), right);
        ::usleep(random() % 4000);
      }
      if (store.statistics().failed_writes != 0) ::_exit(failed);
      if (clean && store.statistics().rejected != 0) ::_exit(half_written);
      const Descriptor folder(::open(options.folder.c_str(), O_RDONLY | O_DIRECTORY));
      sweep(store.calls(), folder, {options.budget_bytes, options.budget_files});
    }
  } catch (...) {
  }
  ::_exit(failed);
}

pid_t DiskKill::start(uint64_t seed, bool clean) {
  const DiskOptions options{
      .folder = folder_, .budget_bytes = small().budget_bytes, .warn = [](const std::string&) {}};
  const pid_t child = ::fork();
  if (child == 0) work(options, seed, clean);
  return child;
}

// Truncated, foreign, empty, half-written, orphaned: one of them under the key's name.
Bytes DiskKill::corrupt(int i, std::mt19937_64& random) {
  const fs::path path = path_to("a", key(i));
  Bytes bytes = encode_entry("a", key(i), value(i));
  switch (random() % 6) {
    case 0:
      bytes.resize(random() % bytes.size());
      break;
    case 1:
      bytes = encode_entry("a", key(i + 1), value(i + 1));
      break;
    case 2:
      bytes.clear();
      break;
    case 3:
      std::fill(bytes.begin() + random() % bytes.size(), bytes.end(), std::byte(0));
      break;
    case 4:
      bytes = random_bytes(i, 500);
      break;
    default:
      bytes[random() % bytes.size()] ^= std::byte(1 + random() % 255);
  }
  write_file(path, bytes);
  write_file(path.parent_path() / ("999999." + std::to_string(i) + ".tmp"), bytes);
  return bytes;
}

void DiskKill::work_and_kill(bool clean) {
  const char* seconds = std::getenv("ENCORE_TEST_SECONDS");
  std::mt19937_64 random(11);
  std::set<pid_t> children;
  for (int i = 0; i < processes; ++i) children.insert(start(random(), clean));
  auto kill_one = [&](pid_t child) { kills_ += ::kill(child, SIGKILL) == 0; };
  auto reap = [&](int flags) {
    int status = 0;
    for (pid_t child; (child = ::waitpid(-1, &status, flags)) > 0;)
      EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
          << child << " ended by itself, status " << status;
  };
  const auto until =
      std::chrono::steady_clock::now() + std::chrono::seconds(seconds ? std::atoi(seconds) : 3);
  while (std::chrono::steady_clock::now() < until && !HasFailure()) {
    auto victim = std::next(children.begin(), random() % children.size());
    kill_one(*victim);
    children.erase(victim);
    children.insert(start(random(), clean));
    ::usleep(random() % 2000);
    reap(WNOHANG);
  }
  for (const pid_t child : children) kill_one(child);
  reap(0);
  EXPECT_GT(kills_, processes);
}

TEST_F(DiskKill, OfManyAtOnceNeverShowsHalfAnEntry) {
  work_and_kill(true);
  DiskStore store(small());
  for (int i = 0; i < keys; ++i) {
    const auto read = store.read("a", key(i));
    if (read) {
      EXPECT_EQ(*read, value(i)) << i;
    }
  }
  EXPECT_EQ(store.statistics().rejected, 0);
  std::printf("%d kills, %zu of them while writing\n", kills_, files(".tmp").size());
}

TEST_F(DiskKill, OfManyAtOnceInADamagedFolderLeavesOnlyRightEntries) {
  std::mt19937_64 random(12);
  std::vector<Bytes> planted;
  for (int i = 0; i < keys; ++i) planted.push_back(corrupt(i, random));
  work_and_kill(false);
  DiskStore store(small());
  int right = 0;
  for (int i = 0; i < keys; ++i) {
    const auto read = store.read("a", key(i));
    if (read) {
      EXPECT_EQ(*read, value(i)) << i;
      ++right;
    } else if (const fs::path path = path_to("a", key(i)); fs::exists(path)) {
      EXPECT_TRUE(read_file(path) == planted[i]) << i << " is damaged, and not as it was planted";
    }
  }
  const size_t left_over = files(".tmp").size();
  EXPECT_GT(right, keys / 10);
  std::printf("%d kills; %d of %d entries right, %ld still damaged\n", kills_, right, keys,
              long(store.statistics().rejected));

  // What nobody came to rebuild is rebuilt now, and the dead are swept up after a while.
  for (int i = 0; i < keys; ++i) {
    if (!store.read("a", key(i))) {
      EXPECT_TRUE(store.write("a", key(i), value(i)));
    }
    EXPECT_EQ(store.read("a", key(i)), value(i)) << i;
  }
  EXPECT_GE(left_over, keys) << "what a living one may be writing was swept";
  for (const fs::path& path : files(".tmp")) set_age(path, 4000);
  FileCalls calls;
  const Descriptor folder(::open(folder_.c_str(), O_RDONLY | O_DIRECTORY));
  const Sweep swept = sweep(calls, folder, {small().budget_bytes, 1 << 16});
  EXPECT_TRUE(swept.ran) << "the dead hold no lock";
  EXPECT_THAT(files(".tmp"), IsEmpty());
  EXPECT_LE(swept.kept_bytes, small().budget_bytes);
}

}  // namespace
}  // namespace encore::cache
