// Are offsets wide enough? Tensors of more than 2^31 elements; needs about 8 GiB of free memory.
#include <encore/encore.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <cstring>

namespace encore {
namespace {

constexpr int64_t count = (int64_t(1) << 31) + 7;

int64_t available_bytes() {
  std::FILE* file = std::fopen("/proc/meminfo", "r");
  char line[256];
  long long kib = 0;
  while (file && std::fgets(line, sizeof line, file))
    if (std::sscanf(line, "MemAvailable: %lld", &kib) == 1) break;
  if (file) std::fclose(file);
  return int64_t(kib) << 10;
}

#define NEED_MEMORY()                       \
  if (available_bytes() < int64_t(8) << 30) \
  GTEST_SKIP() << "less than 8 GiB of memory are available"

TEST(Large, ElementsBeyondTwoToThe31AreComputed) {
  NEED_MEMORY();
  Tensor x = iota({count}, 0).to(u8);  // the low byte of the position
  Tensor y = x * 2 + 1;
  eval(y);
  Tensor tail = y[{Slice{count - 16, count}}];
  std::vector<int32_t> values = tail.to_vector<int32_t>();
  for (int64_t i = 0; i < 16; ++i) {
    int64_t position = count - 16 + i;
    EXPECT_EQ(values[size_t(i)], ((position & 255) * 2 + 1) & 255) << position;
  }
  int64_t border = int64_t(1) << 31;
  Tensor around = y[{Slice{border - 1, border + 1}}];
  EXPECT_EQ(around.to_vector<int32_t>(), (std::vector<int32_t>{255, 1}));
}

TEST(Large, ReductionsSeeEveryElement) {
  NEED_MEMORY();
  Tensor marked = where(iota({count}, 0) == count - 1, 9, 1).to(u8);
  eval(marked);
  EXPECT_EQ(marked.max().item<int64_t>(), 9);
  EXPECT_EQ(marked.argmax().item<int64_t>(), count - 1);
  EXPECT_EQ(marked.sum().item<int64_t>(), count + 8);
}

TEST(Large, RowMaximaOfALongU8MatrixAreTheRowsNumbers) {
  NEED_MEMORY();
  Tensor rows = (iota({32775, 1}, 0) % 251).to(u8).expand({32775, 65536});
  Tensor x = rows + zeros({1, 65536}, {.dtype = u8});
  eval(x);
  Tensor most = x[{Slice{}, Slice{7, {}}}].max({1});
  std::vector<int32_t> values = most.to_vector<int32_t>();
  ASSERT_EQ(values.size(), 32775u);
  for (size_t row = 0; row < values.size(); ++row)
    ASSERT_EQ(values[row], int32_t(row % 251)) << row;
}

}  // namespace
}  // namespace encore
