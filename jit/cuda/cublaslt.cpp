#include <encore/core/error.h>
#include <encore/core/shared_library.h>
#include <encore/jit/cuda/cublaslt.h>
#include <encore/jit/cuda/driver.h>
#include <fmt/format.h>

namespace encore::jit::cuda {
namespace {

// CUBLASLT(function, parameter types …): every function that is called. All return a status.
#define ENCORE_CUBLASLT(CUBLASLT)                                                                \
  CUBLASLT(cublasLtCreate, void**)                                                               \
  CUBLASLT(cublasLtMatmulDescCreate, void**, int, int)                                           \
  CUBLASLT(cublasLtMatmulDescDestroy, void*)                                                     \
  CUBLASLT(cublasLtMatmulDescSetAttribute, void*, int, const void*, size_t)                      \
  CUBLASLT(cublasLtMatrixLayoutCreate, void**, int, uint64_t, uint64_t, int64_t)                 \
  CUBLASLT(cublasLtMatrixLayoutDestroy, void*)                                                   \
  CUBLASLT(cublasLtMatmulPreferenceCreate, void**)                                               \
  CUBLASLT(cublasLtMatmulPreferenceDestroy, void*)                                               \
  CUBLASLT(cublasLtMatmulPreferenceSetAttribute, void*, int, const void*, size_t)                \
  CUBLASLT(cublasLtMatmulAlgoGetHeuristic, void*, void*, void*, void*, void*, void*, void*, int, \
           void*, int*)                                                                          \
  CUBLASLT(cublasLtMatmul, void*, void*, const void*, const void*, void*, const void*, void*,    \
           const void*, const void*, void*, void*, void*, const void*, void*, size_t, CUstream)

// From cublasLt.h, cublas_api.h and library_types.h.
constexpr int compute_f32 = 68, compute_tf32 = 77;
constexpr int real_f32 = 0, real_f16 = 2, real_bf16 = 14;
constexpr int transpose_first = 3, transpose_second = 4, transposed = 1;
constexpr int most_workspace_bytes = 1;
constexpr int most_algorithms = 8;

struct Library {
#define CUBLASLT(function, ...) int (*function)(__VA_ARGS__) = nullptr;
  ENCORE_CUBLASLT(CUBLASLT)
#undef CUBLASLT
  void* handle = nullptr;

  Library() {
    const std::vector<std::string> names = {"libcublasLt.so.13", "libcublasLt.so.12"};
    library_ = SharedLibrary(names, search_folders());
    if (!library_.is_open()) return;
#define CUBLASLT(function, ...)                                                \
  function = reinterpret_cast<int (*)(__VA_ARGS__)>(library_.find(#function)); \
  if (!function) return;
    ENCORE_CUBLASLT(CUBLASLT)
#undef CUBLASLT
    if (cublasLtCreate(&handle)) handle = nullptr;
  }

 private:
  SharedLibrary library_;
};

Library& library() {
  static Library& instance = *new Library;
  return instance;
}

void check(int status, const char* function) {
  if (status) throw Error(fmt::format("{} failed with status {}", function, status), {});
}

int type_of(DType dtype) {
  return dtype == DType::bf16 ? real_bf16 : dtype == DType::f16 ? real_f16 : real_f32;
}

}  // namespace

bool cublaslt_is_available() { return library().handle != nullptr; }

// The library's matrices are column-major: it computes C^T = B^T A^T, B being its first operand.
CublasLtProduct::CublasLtProduct(const CublasLtShape& shape) {
  if (!cublaslt_is_available()) throw DeviceUnavailable("there is no cuBLASLt", {});
  Library& lt = library();
  const bool rounds = shape.dtype == DType::f32 && shape.precision != MatmulPrecision::highest;
  const int type = type_of(shape.dtype);
  check(lt.cublasLtMatmulDescCreate(&operation_, rounds ? compute_tf32 : compute_f32, real_f32),
        "cublasLtMatmulDescCreate");
  if (shape.b_transposed)
    lt.cublasLtMatmulDescSetAttribute(operation_, transpose_first, &transposed, sizeof transposed);
  if (shape.a_transposed)
    lt.cublasLtMatmulDescSetAttribute(operation_, transpose_second, &transposed, sizeof transposed);
  auto layout = [&](void*& made, int64_t columns, int64_t rows) {
    check(lt.cublasLtMatrixLayoutCreate(&made, type, uint64_t(columns), uint64_t(rows), columns),
          "cublasLtMatrixLayoutCreate");
  };
  shape.b_transposed ? layout(layouts_[0], shape.k, shape.n)
                     : layout(layouts_[0], shape.n, shape.k);
  shape.a_transposed ? layout(layouts_[1], shape.m, shape.k)
                     : layout(layouts_[1], shape.k, shape.m);
  layout(layouts_[2], shape.n, shape.m);
  void* preference = nullptr;
  check(lt.cublasLtMatmulPreferenceCreate(&preference), "cublasLtMatmulPreferenceCreate");
  lt.cublasLtMatmulPreferenceSetAttribute(preference, most_workspace_bytes, &workspace_bytes,
                                          sizeof workspace_bytes);
  algorithms_.resize(most_algorithms);
  int found = 0;
  const int status = lt.cublasLtMatmulAlgoGetHeuristic(
      lt.handle, operation_, layouts_[0], layouts_[1], layouts_[2], layouts_[2], preference,
      most_algorithms, algorithms_.data(), &found);
  lt.cublasLtMatmulPreferenceDestroy(preference);
  algorithms_.resize(status ? 0 : size_t(found));
}

CublasLtProduct::~CublasLtProduct() {
  for (void* layout : layouts_)
    if (layout) library().cublasLtMatrixLayoutDestroy(layout);
  if (operation_) library().cublasLtMatmulDescDestroy(operation_);
}

void CublasLtProduct::run(size_t algorithm, CUdeviceptr a, CUdeviceptr b, CUdeviceptr c,
                          CUdeviceptr workspace, CUstream stream) const {
  const float one = 1, zero = 0;
  auto pointer = [](CUdeviceptr at) { return reinterpret_cast<void*>(at); };
  check(library().cublasLtMatmul(library().handle, operation_, &one, pointer(b), layouts_[0],
                                 pointer(a), layouts_[1], &zero, pointer(c), layouts_[2],
                                 pointer(c), layouts_[2], algorithms_.at(algorithm).algorithm,
                                 pointer(workspace), workspace_bytes, stream),
        "cublasLtMatmul");
}

}  // namespace encore::jit::cuda
