#include <encore/core/error.h>
#include <encore/jit/cpu/parallel.h>
#include <encore/jit/parse_kernel.h>
#include <encore/jit/reference/execute.h>
#include <encore/utils/run_kernel_alone.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>

namespace encore {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int64_t alignment = 64;          // elements, so at least as many bytes
constexpr size_t distinct_values = 65537;  // then they repeat, which makes them quick to make

template <class Next>
void repeat_values(std::vector<std::byte>& memory, DType dtype, Next next) {
  const size_t width = size_of(dtype), count = memory.size() / width;
  for (size_t i = 0; i < std::min(count, distinct_values); ++i) {
    const uint64_t bits = next().bits_as(dtype);
    std::memcpy(memory.data() + i * width, &bits, width);
  }
  for (size_t i = distinct_values; i < count; i += distinct_values)
    std::memcpy(memory.data() + i * width, memory.data(),
                std::min(distinct_values, count - i) * width);
}

double number_at(const std::byte* at, DType dtype) {
  auto as = [&](auto value) {
    std::memcpy(&value, at, sizeof value);
    return value;
  };
  if (dtype == DType::f64) return as(double());
  if (dtype == DType::f32) return as(float());
  return dtype == DType::f16 ? float(as(Half())) : float(as(BFloat16()));
}

void compare(DType dtype, const std::vector<std::byte>& expected,
             const std::vector<std::byte>& found, KernelDifference& result) {
  const size_t width = size_of(dtype);
  for (size_t at = 0; at < expected.size(); at += width) {
    ++result.elements;
    if (std::memcmp(&expected[at], &found[at], width) == 0) continue;
    double far = std::numeric_limits<double>::infinity();
    if (is_floating(dtype)) {
      const double a = number_at(&expected[at], dtype), b = number_at(&found[at], dtype);
      if (std::isnan(a) && std::isnan(b)) continue;
      if (std::isfinite(a) && std::isfinite(b)) far = std::abs(a - b) / std::max(1.0, std::abs(a));
    }
    ++result.differing;
    result.largest = std::max(result.largest, far);
  }
}

}  // namespace

KernelAlone::KernelAlone(const jit::Kernel& kernel, jit::Backend& backend, uint64_t seed)
    : kernel_(kernel), backend_(backend) {
  jit::verify_kernel(kernel_);
  const KernelRanges ranges(kernel_);
  work_ = work_of(kernel_, ranges);
  for (const jit::Size& size : kernel_.sizes) sizes_.push_back(size.value);
  std::mt19937_64 engine(seed);
  std::uniform_real_distribution<double> fraction(0.001, 1);
  for (DType dtype : kernel_.scalars)
    scalars_.push_back(Scalar(is_floating(dtype) ? fraction(engine) : 1.0).bits_as(dtype));
  memory_.resize(kernel_.arguments.size());
  for (uint32_t i = 0; i < memory_.size(); ++i) fill(i, engine(), ranges.bound(i));
  const jit::Kernel* one = &kernel_;
  code_ = backend_.load(kernel_, backend_.compile({&one, 1})[0]);
}

void KernelAlone::fill(uint32_t argument, uint64_t seed, int64_t bound) {
  Memory& memory = memory_[argument];
  const Interval reach = work_.reach[argument];
  const DType dtype = kernel_.arguments[argument].dtype;
  if (!reach.empty()) {
    const int64_t before =
        (std::max<int64_t>(-reach.low, 0) + alignment - 1) / alignment * alignment;
    const int64_t after = std::max<int64_t>(reach.high + 1, 0);
    memory.skipped = size_t(before) * size_of(dtype);
    memory.buffer = backend_.allocate(size_t(before + after) * size_of(dtype));
    memory.values.resize(size_t(before + after) * size_of(dtype));
  } else {
    memory.buffer = backend_.allocate(0);
  }
  pointers_.push_back(static_cast<std::byte*>(memory.buffer->data()) + memory.skipped);
  std::mt19937_64 engine(seed);
  std::normal_distribution<double> normal;
  std::uniform_int_distribution<int64_t> integer(0, bound - 1);
  repeat_values(memory.values, dtype, [&]() -> Scalar {
    if (is_floating(dtype)) return normal(engine);
    return integer(engine);
  });
}

void KernelAlone::copy_to_device() {
  for (Memory& memory : memory_)
    backend_.copy_to_device(memory.buffer->data(), memory.values.data(), memory.values.size());
}

void KernelAlone::launch(int64_t times) {
  const jit::Segment segment{pointers_.data(), sizes_.data(), scalars_.data()};
  for (int64_t i = 0; i < times; ++i) code_->launch({&segment, 1});
  backend_.synchronize();
}

KernelTiming KernelAlone::time(int rounds) {
  auto seconds = [&](int64_t times) {
    const auto start = Clock::now();
    launch(times);
    return std::chrono::duration<double>(Clock::now() - start).count();
  };
  copy_to_device();
  launch(1);
  const int64_t times = std::clamp<int64_t>(int64_t(1e-3 / std::max(seconds(1), 1e-9)), 1, 1000);
  std::vector<double> measured;
  for (int i = 0; i < rounds; ++i) measured.push_back(seconds(times) / double(times));
  std::ranges::sort(measured);
  return {measured[measured.size() / 2], measured[0], times * rounds};
}

KernelDifference KernelAlone::check() {
  copy_to_device();
  launch(1);
  KernelDifference result;
  std::vector<std::vector<std::byte>> expected;
  std::vector<void*> pointers;
  std::vector<size_t> bytes;
  for (const Memory& memory : memory_) {
    expected.push_back(memory.values);
    pointers.push_back(expected.back().data() + memory.skipped);
    bytes.push_back(memory.values.size() - memory.skipped);
  }
  jit::Program(kernel_).run({pointers.data(), sizes_.data(), scalars_.data()}, bytes);
  for (size_t i = 0; i < memory_.size(); ++i) {
    std::vector<std::byte> found(expected[i].size());
    backend_.copy_to_host(found.data(), memory_[i].buffer->data(), found.size());
    compare(kernel_.arguments[i].dtype, expected[i], found, result);
  }
  return result;
}

Ceilings ceilings_of(jit::Backend& backend) {
  if (!backend.name().starts_with("cuda"))
    return {stream_bytes_per_second(jit::thread_count()),
            fma_flops_per_second(jit::thread_count())};
  const std::string triad =
      "axis 0: inner 67108864\n"
      "argument 0: read f32\n"
      "argument 1: read f32\n"
      "argument 2: write f32\n"
      "sweep\n"
      "  %0 = load f32 argument 0 [axis 0]\n"
      "  %1 = load f32 argument 1 [axis 0]\n"
      "  %2 = constant f32 0x40400000\n"
      "  %3 = fma f32 %0 %2 %1\n"
      "  %4 = store f32 %3 argument 2 [axis 0]\n";
  // Eight chains of fma that do not wait for one another.
  std::string chains =
      "axis 0: inner 8388608\n"
      "argument 0: write f32\n"
      "sweep\n"
      "  %0 = index i64 axis 0\n"
      "  %1 = cast f32 %0\n"
      "  %2 = constant f32 0x3f7fff58\n";
  for (int i = 3; i < 403; ++i)
    chains += fmt::format("  %{} = fma f32 %{} %2 %1\n", i, i < 11 ? 1 : i - 8);
  for (int i = 403; i < 410; ++i)
    chains += fmt::format("  %{} = add f32 %{} %{}\n", i, i == 403 ? 402 : i - 1, i - 8);
  chains += "  %410 = store f32 %409 argument 0 [axis 0]\n";
  KernelAlone stream(jit::parse_kernel(triad), backend, 1);
  KernelAlone fma(jit::parse_kernel(chains), backend, 1);
  return {stream.work().bytes / stream.time(20).best, fma.work().flops / fma.time(20).best};
}

}  // namespace encore
