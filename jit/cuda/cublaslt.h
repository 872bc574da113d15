// cuBLASLt, opened at run time: matrix products as NVIDIA's library makes them. Benchmarks measure
// generated code against it.
//
// May be used from any thread; a product is used by one at a time.
#pragma once
#include <encore/core/settings.h>
#include <encore/jit/cuda/driver_types.h>
#include <encore/lazy/dtype.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace encore::jit::cuda {

bool cublaslt_is_available();

/// C = A B with row-major matrices, M x N from M x K and K x N, either operand stored transposed.
struct CublasLtShape {
  int64_t m = 0, n = 0, k = 0;
  bool a_transposed = false, b_transposed = false;
  DType dtype = DType::f32;  // f32, f16 or bf16: of A, B and C
  MatmulPrecision precision = MatmulPrecision::highest;
};

class CublasLtProduct {
 public:
  /// The library's own ideas for this shape, best first. Throws DeviceUnavailable without the
  /// library, Error when it refuses. The device's context is this thread's.
  explicit CublasLtProduct(const CublasLtShape& shape);
  ~CublasLtProduct();
  CublasLtProduct(const CublasLtProduct&) = delete;

  size_t algorithms() const { return algorithms_.size(); }
  /// Enqueues. `workspace` has workspace_bytes.
  void run(size_t algorithm, CUdeviceptr a, CUdeviceptr b, CUdeviceptr c, CUdeviceptr workspace,
           CUstream stream) const;

  static constexpr size_t workspace_bytes = 32 << 20;

 private:
  struct Algorithm {  // cublasLtMatmulHeuristicResult_t
    uint64_t algorithm[8];
    size_t workspace_bytes;
    int state;
    float waves;
    int reserved[4];
  };
  void* operation_ = nullptr;
  std::array<void*, 3> layouts_{};  // of the first operand, the second and the result
  std::vector<Algorithm> algorithms_;
};

}  // namespace encore::jit::cuda
