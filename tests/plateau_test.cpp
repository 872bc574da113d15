// Do memory, mappings and disk stop growing, however many shapes and kernels pass by?
//
// ENCORE_PLATEAU_SHAPES and ENCORE_PLATEAU_KERNELS make it longer; ENCORE_BACKEND=reference runs it
// through the interpreter.
#include <encore/encore.h>
#include <encore/trace/runtime.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace encore {
namespace {

namespace fs = std::filesystem;

constexpr int64_t disk_budget = 1 << 20;
/// Kernels hold less memory of the host when their code is a GPU's.
int64_t memory_budget() { return settings().device == "cpu" ? 4 << 20 : 1 << 20; }

int64_t number(const char* name, int64_t otherwise) {
  const char* text = std::getenv(name);
  return text ? std::atoll(text) : otherwise;
}

/// Everything that could grow.
struct Size {
  int64_t resident = 0, mappings = 0, disk = 0, files = 0;
};

class Plateau : public ::testing::Test {
 protected:
  Plateau() {
    std::string name = fs::temp_directory_path() / "encore_plateau_XXXXXX";
    folder_ = mkdtemp(name.data());
    settings().cache = "on";
    settings().cache_dir = folder_;
    settings().cache_disk_bytes = disk_budget;
    trace::runtime().clear_caches();
  }
  ~Plateau() override { fs::remove_all(folder_); }

  Size measure() const {
    Size size;
    int64_t pages = 0;
    std::ifstream("/proc/self/statm") >> pages >> pages;
    size.resident = pages * sysconf(_SC_PAGESIZE);
    std::ifstream maps("/proc/self/maps");
    size.mappings = std::count(std::istreambuf_iterator<char>(maps), {}, '\n');
    for (const auto& entry : fs::recursive_directory_iterator(folder_)) {
      if (!entry.is_regular_file()) continue;
      ++size.files;
      size.disk += int64_t(entry.file_size() + 4095) / 4096 * 4096;
    }
    return size;
  }

  /// Calls `step(i)` for i < count, and compares the second half with the first.
  template <class Step>
  void expect_plateau(const char* of, int64_t count, Step step) {
    constexpr int parts = 8;
    Size first, last;
    const Stats start = stats();
    for (int part = 0; part < parts; ++part) {
      for (int64_t i = count * part / parts; i < count * (part + 1) / parts; ++i) step(i);
      Size now = measure();
      std::printf("%8lld %s: %6.1f MiB resident, %4lld mappings, %5.0f KiB in %lld files\n",
                  (long long)(count * (part + 1) / parts), of, double(now.resident) / (1 << 20),
                  (long long)now.mappings, double(now.disk) / 1024, (long long)now.files);
      Size& most = part < parts / 2 ? first : last;
      most.resident = std::max(most.resident, now.resident);
      most.mappings = std::max(most.mappings, now.mappings);
      most.disk = std::max(most.disk, now.disk);
      most.files = std::max(most.files, now.files);
    }
    const Stats end = stats();
    std::printf("%lld traces compiled, %lld kernels compiled, %lld evictions\n",
                (long long)(end.trace_misses - start.trace_misses),
                (long long)(end.kernels_compiled - start.kernels_compiled),
                (long long)(end.evictions - start.evictions));
    EXPECT_EQ(end.trace_misses - start.trace_misses, count);
    EXPECT_GT(end.evictions, start.evictions) << "nothing had to go";
    EXPECT_LE(last.resident, first.resident + (8 << 20));
    EXPECT_LE(last.mappings, first.mappings + 64);
    EXPECT_LE(last.disk, 2 * disk_budget);
    EXPECT_LE(last.files, std::max<int64_t>(2 * first.files, 64));
  }

  fs::path folder_;
};

TEST_F(Plateau, OfManyShapes) {
  const int64_t count = number("ENCORE_PLATEAU_SHAPES", 4000);
  expect_plateau("shapes", count, [](int64_t i) {
    // Every pair of extents once, large ones among the first.
    const int64_t rows = 2 + i % 317, columns = 2 + i / 317 * 131 % 317;
    Tensor x = ones({rows, columns}) * 0.5;
    Tensor y = (exp(x) + x.sum({1}, true)).mean({0});
    ASSERT_EQ(y.to_vector<float>().size(), size_t(columns));
  });
}

/// A chain whose ops are the digits of `i`: a kernel of its own for each.
Tensor chain(Tensor x, int64_t i) {
  for (; i; i /= 5) {
    const int64_t digit = i % 5;
    x = digit == 0 ? x + 1.0 : digit == 1 ? x * x : digit == 2 ? abs(x) : digit == 3 ? -x : sqrt(x);
  }
  return x;
}

TEST_F(Plateau, OfManyKernels) {
  const int64_t count = number("ENCORE_PLATEAU_KERNELS", 800);
  expect_plateau("kernels", count,
                 [](int64_t i) { ASSERT_EQ(chain(ones({17}), i).to_vector<float>().size(), 17u); });
}

}  // namespace
}  // namespace encore

int main(int argc, char** argv) {
  encore::settings().cache_bytes = encore::memory_budget();  // before anything is kept
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
