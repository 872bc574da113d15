// Do large batches reach the device beside the step that runs, and never stale, torn or too early?
// On a GPU where there is one, else on the fake driver, which tells of memory whose uses nothing
// orders.
#include <encore/encore.h>
#include <encore/jit/cuda/cuda_backend.h>
#include <encore/jit/cuda/staging.h>
#include <encore/trace/runtime.h>
#include <gmock/gmock.h>

#include <numeric>
#include <random>

#include "fake_cuda_driver.h"

namespace encore {
namespace {

using jit::cuda::CUresult;
using jit::cuda::driver;
using jit::cuda::fail_call;
using jit::cuda::Staging;

bool on_real_gpu = false;

constexpr size_t least_apart = 64 << 10;
constexpr int64_t columns = 64;

/// Small whole numbers, so that sums are exact in whatever order.
std::vector<float> batch_of(int64_t rows, unsigned seed) {
  std::vector<float> values(size_t(rows * columns));
  std::mt19937 random(seed);
  for (float& value : values) value = float(random() % 8);
  return values;
}

Tensor upload(const std::vector<float>& values) {
  return from_vector(values, {int64_t(values.size()) / columns, columns}, cuda(0));
}

std::vector<float> column_sums(const std::vector<float>& values) {
  std::vector<float> sums(columns);
  for (size_t i = 0; i < values.size(); ++i) sums[i % columns] += values[i];
  return sums;
}

class CudaUploadTest : public testing::Test {
 protected:
  void SetUp() override {
    jit::cuda::cuda_backend(0);
    staging().set_least_apart(least_apart);
  }
  void TearDown() override {
    fail_call(0, 0);
    staging().set_least_apart(Staging::usual_least_apart);
  }
  static int host_waits() {
    if (on_real_gpu) return 0;
    auto& calls = fake_cuda::driver().calls;
    return calls["cuStreamSynchronize"] + calls["cuEventSynchronize"];
  }
  static Staging& staging() { return jit::cuda::staging_of(0); }
};

TEST_F(CudaUploadTest, TheNextBatchCrossesWhileTheStepIsOnItsWay) {
  const std::vector<float> first = batch_of(512, 1), next = batch_of(512, 2);
  Tensor warm = upload(first).sum({0});
  EXPECT_EQ(warm.to_vector<float>(), column_sums(first));
  Tensor x = upload(first), sums = x.sum({0});
  eval(sums);
  const Stats before = stats();
  const size_t launched = on_real_gpu ? 0 : fake_cuda::driver().launches.size();
  const int waits = host_waits();
  x = upload(next);
  EXPECT_EQ(host_waits(), waits);
  EXPECT_EQ(stats().overlapped_copies - before.overlapped_copies, 1);
  EXPECT_EQ(stats().overlapped_bytes - before.overlapped_bytes, int64_t(next.size() * 4));
  driver().cuStreamSynchronize(staging().copies());
  if (!on_real_gpu) {
    EXPECT_EQ(fake_cuda::driver().launches.size(), launched);  // the step has not run
  }
  EXPECT_EQ(x.sum({0}).to_vector<float>(), column_sums(next));
  EXPECT_EQ(sums.to_vector<float>(), column_sums(first));
}

TEST_F(CudaUploadTest, SmallCopiesStayInTheStream) {
  staging().set_least_apart(Staging::usual_least_apart);
  const Stats before = stats();
  const std::vector<float> values = batch_of(512, 1);
  EXPECT_EQ(upload(values).to_vector<float>(), values);
  EXPECT_EQ(stats().overlapped_copies, before.overlapped_copies);
  const std::vector<float> large = batch_of(Staging::usual_least_apart / 4 / columns, 1);
  EXPECT_EQ(upload(large).to_vector<float>(), large);
  EXPECT_EQ(stats().overlapped_copies, before.overlapped_copies + 1);
}

/// Batches of changing sizes, some of them held for later; memory is freed and taken again while
/// steps that use it are on their way, and only some steps are waited for.
TEST_F(CudaUploadTest, AThousandRandomStepsHaveTheirBatches) {
  std::mt19937 random(7);
  struct Held {
    Tensor batch;
    std::vector<float> sums;
  };
  std::vector<Held> held;
  Tensor total = zeros({columns}, {.device = cuda(0)});
  std::vector<float> expected(columns);
  const Stats before = stats();
  for (unsigned step = 0; step < 1000; ++step) {
    // Up to more than the fake device's ring holds at once.
    const int64_t rows = 1 + int64_t(random() % (step % 100 ? 1500 : 40'000));
    const std::vector<float> values = batch_of(rows, step);
    held.push_back({upload(values), column_sums(values)});
    const size_t which = random() % held.size();
    total = total + held[which].batch.sum({0});
    for (int64_t i = 0; i < columns; ++i) expected[size_t(i)] += held[which].sums[size_t(i)];
    if (random() % 3) held.erase(held.begin() + long(random() % held.size()));
    if (held.size() > 8) held.clear();
    eval(total);
    if (step % 40 == 39) {
      ASSERT_EQ(total.to_vector<float>(), expected) << step;
      total = zeros({columns}, {.device = cuda(0)});
      expected.assign(columns, 0);
    }
  }
  EXPECT_GT(stats().overlapped_copies - before.overlapped_copies, 500);
}

TEST_F(CudaUploadTest, WorkersUploadAheadOfTheSteps) {
  constexpr int64_t rows = 6000, batch = 500;
  std::vector<float> values = batch_of(rows, 3);
  const auto* bytes = reinterpret_cast<const std::byte*>(values.data());
  ArrayDataset data({{f32, {rows, columns}, {bytes, bytes + values.size() * 4}}}, cuda(0));
  DataLoader loader(data, {.batch_size = batch, .shuffle = true, .workers = 3});
  const Stats before = stats();
  for (int epoch = 0; epoch < 3; ++epoch) {
    std::vector<Tensor> sums;
    const std::vector<int64_t> order = loader.order(epoch);
    for (const Batch& one : loader) {
      sums.push_back((one[0] * 2.0).sum({0}));
      eval(sums.back());
    }
    for (size_t i = 0; i < sums.size(); ++i) {
      std::vector<float> expected(columns);
      for (size_t k = i * batch; k < (i + 1) * batch; ++k)
        for (size_t column = 0; column < columns; ++column)
          expected[column] += 2 * values[size_t(order[k]) * columns + column];
      ASSERT_EQ(sums[i].to_vector<float>(), expected) << i;
    }
  }
  EXPECT_EQ(stats().overlapped_copies - before.overlapped_copies, 3 * rows / batch);
}

/// Two batches, the second uploaded while the first one's step is on its way.
void two_steps() {
  const std::vector<float> first = batch_of(700, 1), second = batch_of(900, 2);
  Tensor x = upload(first), a = x.sum({0});
  eval(a);
  x = upload(second);
  Tensor b = x.sum({0});
  eval(b);
  EXPECT_EQ(a.to_vector<float>(), column_sums(first));
  EXPECT_EQ(b.to_vector<float>(), column_sums(second));
}

int fail_each_call(CUresult code, bool stays) {
  two_steps();
  const int64_t held = cuda.memory(0).held;
  for (int n = 1; n < 1000; ++n) {
    bool failed = false;
    fail_call(n, code, {}, stays);
    try {
      two_steps();
    } catch (const Error&) {
      failed = true;
    }
    fail_call(0, 0);
    EXPECT_LE(cuda.memory(0).held, held) << n;
    two_steps();
    EXPECT_LE(cuda.memory(0).held, held) << n;
    if (!failed) return n - 1;
  }
  return 1000;
}

TEST_F(CudaUploadTest, AFailureAtEveryCallIsSurvived) {
  EXPECT_GE(fail_each_call(1, false), 15);
  EXPECT_GE(fail_each_call(1, true), 15);
  EXPECT_GE(fail_each_call(jit::cuda::CUDA_ERROR_OUT_OF_MEMORY, true), 15);
}

TEST_F(CudaUploadTest, ALostDeviceEndsItsUploadsAndNothingElse) {
  if (on_real_gpu) GTEST_SKIP() << "needs the fake driver";
  const std::string self = "CudaUploadTest.ALostDeviceEndsItsUploadsAndNothingElse";
  if (!fake_cuda::is_apart()) {
    for (const char* function : {"cuMemcpyHtoDAsync", "cuMemcpyDtoDAsync", "cuStreamWaitEvent",
                                 "cuEventRecord", "cuStreamSynchronize"})
      fake_cuda::run_apart(self, std::string("FAILING_FUNCTION=") + function);
    return;
  }
  const std::string function = std::getenv("FAILING_FUNCTION");
  for (int i = 0; i < 20; ++i) upload(batch_of(10'000, 1));  // several times around the ring
  if (function == "cuStreamSynchronize") {  // called after a copy that failed on the way
    fail_call(1, 1, "cuMemcpyDtoDAsync");
    EXPECT_THROW(upload(batch_of(700, 1)), DeviceError);
  }
  fail_call(1, jit::cuda::CUDA_ERROR_ILLEGAL_ADDRESS, function);
  EXPECT_THROW(upload(batch_of(700, 1)), DeviceError) << function;
  fail_call(0, 0);
  EXPECT_THROW(upload(batch_of(700, 1)), DeviceLost) << function;
  EXPECT_THROW(from_vector<float>({1}, {1}, cuda(0)), DeviceLost);
  EXPECT_EQ(from_vector<float>({1, 2}, {2}, cpu).sum().item<float>(), 3);
}

/// What the fake driver says of two copies that meet, and of a source that is written too early.
class FakeOrderTest : public testing::Test {
 protected:
  void SetUp() override {
    if (on_real_gpu) GTEST_SKIP() << "needs the fake driver";
    gpu_.enter();
    driver().cuStreamCreate(&other_, jit::cuda::CU_STREAM_NON_BLOCKING);
    driver().cuEventCreate(&event_, jit::cuda::CU_EVENT_DISABLE_TIMING);
    driver().cuMemAlloc(&memory_, 1024);
  }
  void TearDown() override {
    if (on_real_gpu) return;
    driver().cuStreamSynchronize(other_);
    driver().cuMemFree(memory_);
    driver().cuEventDestroy(event_);
    driver().cuStreamDestroy(other_);
  }
  void write(jit::cuda::CUstream stream, size_t begin, size_t bytes) {
    driver().cuMemcpyHtoDAsync(memory_ + begin, source_.data(), bytes, stream);
  }
  static size_t complaints() { return std::exchange(fake_cuda::driver().complaints, {}).size(); }

  jit::cuda::Gpu gpu_{0};
  jit::cuda::CUstream other_ = nullptr;
  jit::cuda::CUevent event_ = nullptr;
  jit::cuda::CUdeviceptr memory_ = 0;
  std::vector<std::byte> source_ = std::vector<std::byte>(1024);
};

TEST_F(FakeOrderTest, TellsOfWritesThatNothingOrders) {
  write(gpu_.stream(), 0, 100);
  write(other_, 100, 100);  // beside the first
  EXPECT_EQ(complaints(), 0u);
  write(other_, 99, 10);
  EXPECT_EQ(complaints(), 1u);
  driver().cuStreamSynchronize(gpu_.stream());
  driver().cuStreamSynchronize(other_);
  write(other_, 0, 300);  // the host has waited for the others
  EXPECT_EQ(complaints(), 0u);
}

TEST_F(FakeOrderTest, AnEventOrdersWhatWasBeforeIt) {
  write(gpu_.stream(), 0, 100);
  driver().cuEventRecord(event_, gpu_.stream());
  write(gpu_.stream(), 100, 100);
  driver().cuStreamWaitEvent(other_, event_, 0);
  write(other_, 0, 100);
  EXPECT_EQ(complaints(), 0u);
  write(other_, 0, 101);
  EXPECT_EQ(complaints(), 1u);
}

TEST_F(FakeOrderTest, ReadsMayMeet) {
  std::vector<std::byte> to(1024);
  driver().cuMemcpyDtoHAsync(to.data(), memory_, 100, gpu_.stream());
  driver().cuMemcpyDtoHAsync(to.data() + 100, memory_, 100, other_);
  EXPECT_EQ(complaints(), 0u);
  driver().cuMemcpyDtoHAsync(to.data() + 199, memory_, 1, gpu_.stream());
  EXPECT_EQ(complaints(), 1u);
  gpu_.synchronize();
  driver().cuStreamSynchronize(other_);
}

TEST_F(FakeOrderTest, TellsOfASourceThatIsWrittenTooEarly) {
  write(other_, 0, 100);
  source_[99] = std::byte{1};
  driver().cuStreamSynchronize(other_);
  EXPECT_EQ(complaints(), 1u);
}

}  // namespace
}  // namespace encore

int main(int count, char** arguments) {
  testing::InitGoogleTest(&count, arguments);
  encore::on_real_gpu = encore::fake_cuda::use_gpu_or_fake();
  return RUN_ALL_TESTS();
}
