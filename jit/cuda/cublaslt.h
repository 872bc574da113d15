// cuBLASLt, opened at run time: matrix products as NVIDIA's library makes them.
//
// The library is opened when it is first asked for, and never in a process that has no product for
// it. May be used from any thread.
#pragma once
#include <encore/core/settings.h>
#include <encore/jit/cuda/driver_types.h>
#include <encore/lazy/dtype.h>

#include <array>
#include <atomic>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>
#include <string>
#include <vector>

namespace encore::jit::cuda {

bool cublaslt_is_available();
/// Why not: what was looked for where, or what it lacks. Empty where it is available.
const std::string& cublaslt_failure();
/// As the library says: 130100 is 13.1.0; 0 without one.
size_t cublaslt_version();

/// A matrix in memory, by rows; `transposed`: what is stored is its transpose. Distances between
/// rows and between matrices of a batch are counted in elements.
struct CublasLtMatrix {
  int64_t leading = 0, batch_stride = 0;
  bool transposed = false;
  auto operator<=>(const CublasLtMatrix&) const = default;
};

/// C = A B, M x N from M x K and K x N, then + bias of the column; C is not transposed.
struct CublasLtShape {
  int64_t batch = 1, m = 0, n = 0, k = 0;
  CublasLtMatrix a, b, c;
  DType dtype = DType::f32, result = DType::f32;  // of A and B; of C and bias. f32, f16 or bf16
  bool rounds = false;                            // f32 operands to TF32
  bool bias = false;
  auto operator<=>(const CublasLtShape&) const = default;

  double flops() const { return 2.0 * double(batch) * double(m) * double(n) * double(k); }
};
/// "16 x (512 x 64 x 512), a by 64 …"
std::string to_text(const CublasLtShape& shape);

/// What a product works on. `workspace` is of `CublasLtProduct::workspace_bytes()`.
struct CublasLtOperands {
  const void *a = nullptr, *b = nullptr, *bias = nullptr;
  void *c = nullptr, *workspace = nullptr;
};

class CublasLtProduct {
 public:
  /// The library's own ideas for this shape, best first. Throws DeviceUnavailable without the
  /// library, DeviceError when it refuses or has none. The device's context is this thread's.
  explicit CublasLtProduct(const CublasLtShape& shape);
  ~CublasLtProduct();
  CublasLtProduct(const CublasLtProduct&) = delete;
  CublasLtProduct& operator=(const CublasLtProduct&) = delete;

  const CublasLtShape& shape() const { return shape_; }
  size_t algorithms() const { return algorithms_.size(); }
  size_t workspace_bytes(size_t algorithm) const { return algorithms_[algorithm].workspace_bytes; }
  /// Enqueues; operands must be aligned to 16 bytes. Throws DeviceError.
  void run(size_t algorithm, const CublasLtOperands& operands, CUstream stream) const;

  /// An algorithm as bytes that another process with this version of the library understands.
  std::vector<std::byte> bytes(size_t algorithm) const;
  /// The number of what `bytes` gave; `algorithms()` where it is none of them.
  size_t find(std::span<const std::byte> bytes) const;

  /// Algorithms take no more; of those with `little_workspace_bytes` at most some are there as
  /// well, if the library has any.
  static constexpr size_t most_workspace_bytes = 32 << 20, little_workspace_bytes = 64 << 10;

 private:
  struct Algorithm {  // cublasLtMatmulHeuristicResult_t
    uint64_t algorithm[8];
    size_t workspace_bytes;
    int state;
    float waves;
    int reserved[4];
  };
  static std::span<const std::byte> as_bytes(const Algorithm& one);
  void describe();
  void find_algorithms();
  int find_algorithms(size_t most_workspace, int most);
  void release() noexcept;

  const CublasLtShape shape_;
  mutable std::mutex mutex_;  // of the operation, which holds the address of the bias
  void* operation_ = nullptr;
  std::array<void*, 3> layouts_{};  // of the first operand, the second and the result
  std::vector<Algorithm> algorithms_;
};

}  // namespace encore::jit::cuda
