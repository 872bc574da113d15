#include <encore/core/error.h>
#include <encore/jit/cuda/measure_product.h>
#include <encore/jit/cuda/split_contraction.h>

#include <algorithm>
#include <limits>

namespace encore::jit::cuda {
namespace {

constexpr int rounds = 3;
/// A round runs an algorithm about so long.
constexpr float round_milliseconds = 0.1f;
constexpr int most_repeats = 10;
/// Ones or the like, as f32, f16 and bf16.
constexpr unsigned pattern = 0x3f803f80;

/// Memory for one operand, filled with numbers.
class Block {
 public:
  Block(const Gpu& gpu, DeviceMemory& memory, size_t bytes)
      : memory_(memory), data_(memory.allocate(bytes)) {
    try {
      gpu.enter();
      driver().cuMemsetD32Async(CUdeviceptr(reinterpret_cast<uintptr_t>(data_)), pattern,
                                bytes / sizeof pattern, gpu.stream());
    } catch (...) {
      memory_.free(data_);
      throw;
    }
  }
  ~Block() { memory_.free(data_); }
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;
  void* data() const { return data_; }

 private:
  DeviceMemory& memory_;
  void* data_;
};

class Event {
 public:
  Event() { driver().cuEventCreate(&event_, CU_EVENT_DEFAULT); }
  ~Event() { driver().cuEventDestroy.status(event_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  CUevent get() const { return event_; }

 private:
  CUevent event_ = nullptr;
};

class Stopwatch {
 public:
  Stopwatch(const Gpu& gpu, const CublasLtProduct& product, const CublasLtOperands& operands)
      : gpu_(gpu), product_(product), operands_(operands) {}

  /// Milliseconds of one run, at best; infinite where the library fails.
  float time(size_t algorithm) {
    try {
      return best_of_several(algorithm);
    } catch (const DeviceError&) {
      gpu_.enter();  // throws if the device is lost
      return std::numeric_limits<float>::infinity();
    }
  }

 private:
  float best_of_several(size_t algorithm) {
    run(algorithm, 1);  // loads its code
    float best = run(algorithm, 1);
    const int repeats =
        std::clamp(int(round_milliseconds / std::max(best, 1e-4f)), 1, most_repeats);
    for (int round = 0; round < rounds; ++round) best = std::min(best, run(algorithm, repeats));
    return best;
  }

  float run(size_t algorithm, int repeats) {
    driver().cuEventRecord(begin_.get(), gpu_.stream());
    for (int i = 0; i < repeats; ++i) product_.run(algorithm, operands_, gpu_.stream());
    driver().cuEventRecord(end_.get(), gpu_.stream());
    driver().cuEventSynchronize(end_.get());
    float milliseconds = 0;
    driver().cuEventElapsedTime(&milliseconds, begin_.get(), end_.get());
    return milliseconds / float(repeats);
  }

  const Gpu& gpu_;
  const CublasLtProduct& product_;
  const CublasLtOperands& operands_;
  Event begin_, end_;
};

}  // namespace

std::vector<float> time_algorithms(const Gpu& gpu, DeviceMemory& memory,
                                   const CublasLtProduct& product) {
  if (product.algorithms() == 1) return {0};
  const CublasLtShape& shape = product.shape();
  auto bytes = [&](const CublasLtMatrix& matrix, int64_t rows, int64_t columns, DType dtype) {
    return size_t(extent_of(matrix, shape.batch, rows, columns)) * size_of(dtype);
  };
  const Block a(gpu, memory, bytes(shape.a, shape.m, shape.k, shape.dtype));
  const Block b(gpu, memory, bytes(shape.b, shape.k, shape.n, shape.dtype));
  const Block c(gpu, memory, bytes(shape.c, shape.m, shape.n, shape.result));
  const Block bias(gpu, memory, size_t(shape.n) * size_of(shape.result));
  size_t most = 0;
  for (size_t i = 0; i < product.algorithms(); ++i)
    most = std::max(most, product.workspace_bytes(i));
  const Block workspace(gpu, memory, most);
  const CublasLtOperands operands{a.data(), b.data(), bias.data(), c.data(), workspace.data()};
  gpu.enter();
  Stopwatch stopwatch(gpu, product, operands);
  std::vector<float> times;
  for (size_t i = 0; i < product.algorithms(); ++i) times.push_back(stopwatch.time(i));
  return times;
}

}  // namespace encore::jit::cuda
