#include <encore/core/error.h>
#include <encore/core/shared_library.h>
#include <encore/jit/cuda/cublaslt.h>
#include <encore/jit/cuda/driver.h>
#include <fmt/format.h>

#include <algorithm>

namespace encore::jit::cuda {
namespace {

// CUBLASLT(function, parameter types …): every function that is called and returns a status.
#define ENCORE_CUBLASLT(CUBLASLT)                                                                \
  CUBLASLT(cublasLtCreate, void**)                                                               \
  CUBLASLT(cublasLtMatmulDescCreate, void**, int, int)                                           \
  CUBLASLT(cublasLtMatmulDescDestroy, void*)                                                     \
  CUBLASLT(cublasLtMatmulDescSetAttribute, void*, int, const void*, size_t)                      \
  CUBLASLT(cublasLtMatrixLayoutCreate, void**, int, uint64_t, uint64_t, int64_t)                 \
  CUBLASLT(cublasLtMatrixLayoutDestroy, void*)                                                   \
  CUBLASLT(cublasLtMatrixLayoutSetAttribute, void*, int, const void*, size_t)                    \
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
enum OperationAttribute : int {
  transpose_first = 3,
  transpose_second = 4,
  epilogue = 7,
  bias_pointer = 8,
  bias_type = 26
};
constexpr int transposed = 1, epilogue_bias = 4;
enum LayoutAttribute : int { batch_count = 5, batch_offset = 6 };
enum PreferenceAttribute : int {
  most_workspace_attribute = 1,
  reductions = 3,
  first_alignment = 5
};
// Parts of a sum are added in f32, whatever the result is stored as.
constexpr uint32_t reductions_in_f32 = 2;
constexpr uint32_t operand_alignment = 16;
constexpr int most_algorithms = 8, most_thrifty_algorithms = 4;

struct Library {
#define CUBLASLT(function, ...) int (*function)(__VA_ARGS__) = nullptr;
  ENCORE_CUBLASLT(CUBLASLT)
#undef CUBLASLT
  void* handle = nullptr;
  size_t version = 0;
  std::string failure;

  Library() {
    const std::vector<std::string> names = {"libcublasLt.so.13", "libcublasLt.so.12"};
    library_ = SharedLibrary(names, search_folders());
    failure = library_.failure();
    if (!library_.is_open()) return;
    auto find = [&](const char* name) {
      void* address = library_.find(name);
      if (!address && failure.empty()) failure = fmt::format("{} has no {}", library_.name(), name);
      return address;
    };
#define CUBLASLT(function, ...) function = reinterpret_cast<int (*)(__VA_ARGS__)>(find(#function));
    ENCORE_CUBLASLT(CUBLASLT)
#undef CUBLASLT
    auto tell_version = reinterpret_cast<size_t (*)()>(find("cublasLtGetVersion"));
    if (!failure.empty()) return;
    version = tell_version();
    const int status = cublasLtCreate(&handle);
    if (status == 0) return;
    handle = nullptr;
    failure =
        fmt::format("{} does not start: cublasLtCreate gave status {}", library_.name(), status);
  }

 private:
  SharedLibrary library_;
};

Library& library() {
  static Library& instance = *new Library;
  return instance;
}

void check(int status, const char* function) {
  if (status)
    throw DeviceError(fmt::format("cuBLASLt: {} failed with status {}", function, status), {},
                      "ENCORE_CUBLASLT=off lets generated code make all products");
}

int type_of(DType dtype) {
  return dtype == DType::bf16 ? real_bf16 : dtype == DType::f16 ? real_f16 : real_f32;
}

std::string describe_matrix(const CublasLtMatrix& matrix) {
  return fmt::format("{}{} + {}", matrix.leading, matrix.transposed ? " transposed" : "",
                     matrix.batch_stride);
}

}  // namespace

bool cublaslt_is_available() { return library().handle != nullptr; }
const std::string& cublaslt_failure() { return library().failure; }
size_t cublaslt_version() { return library().version; }

std::string to_text(const CublasLtShape& shape) {
  return fmt::format("{} x ({} x {} x {}), a {}, b {}, c {}, {}{} to {}{}", shape.batch, shape.m,
                     shape.k, shape.n, describe_matrix(shape.a), describe_matrix(shape.b),
                     describe_matrix(shape.c), name_of(shape.dtype), shape.rounds ? " as tf32" : "",
                     name_of(shape.result), shape.bias ? ", bias" : "");
}

CublasLtProduct::CublasLtProduct(const CublasLtShape& shape) : shape_(shape) {
  if (!cublaslt_is_available())
    throw DeviceUnavailable("there is no cuBLASLt: " + cublaslt_failure(), {});
  try {
    describe();
    find_algorithms();
  } catch (...) {
    release();
    throw;
  }
}

// The library's matrices are column-major: it computes C^T = B^T A^T, B being its first operand. A
// bias of our columns is one of its rows, as it wants.
void CublasLtProduct::describe() {
  Library& lt = library();
  check(lt.cublasLtMatmulDescCreate(&operation_, shape_.rounds ? compute_tf32 : compute_f32,
                                    real_f32),
        "cublasLtMatmulDescCreate");
  auto set = [&](int which, int value) {
    check(lt.cublasLtMatmulDescSetAttribute(operation_, which, &value, sizeof value),
          "cublasLtMatmulDescSetAttribute");
  };
  if (shape_.b.transposed) set(transpose_first, transposed);
  if (shape_.a.transposed) set(transpose_second, transposed);
  if (shape_.bias) {
    set(epilogue, epilogue_bias);
    set(bias_type, type_of(shape_.result));
  }
  auto layout = [&](void*& made, DType dtype, const CublasLtMatrix& matrix, int64_t rows,
                    int64_t columns) {
    if (matrix.transposed) std::swap(rows, columns);
    check(lt.cublasLtMatrixLayoutCreate(&made, type_of(dtype), uint64_t(columns), uint64_t(rows),
                                        matrix.leading),
          "cublasLtMatrixLayoutCreate");
    if (shape_.batch == 1) return;
    const int count = int(shape_.batch);
    int status = lt.cublasLtMatrixLayoutSetAttribute(made, batch_count, &count, sizeof count);
    if (status == 0)
      status = lt.cublasLtMatrixLayoutSetAttribute(made, batch_offset, &matrix.batch_stride,
                                                   sizeof matrix.batch_stride);
    check(status, "cublasLtMatrixLayoutSetAttribute");
  };
  layout(layouts_[0], shape_.dtype, shape_.b, shape_.k, shape_.n);
  layout(layouts_[1], shape_.dtype, shape_.a, shape_.m, shape_.k);
  layout(layouts_[2], shape_.result, shape_.c, shape_.m, shape_.n);
}

void CublasLtProduct::find_algorithms() {
  const int status = find_algorithms(most_workspace_bytes, most_algorithms);
  check(status, "cublasLtMatmulAlgoGetHeuristic");
  if (algorithms_.empty())
    throw DeviceError("cuBLASLt has no algorithm for " + to_text(shape_), {});
  const bool is_thrifty = std::all_of(
      algorithms_.begin(), algorithms_.end(),
      [](const Algorithm& one) { return one.workspace_bytes <= little_workspace_bytes; });
  if (!is_thrifty) find_algorithms(little_workspace_bytes, most_thrifty_algorithms);
}

/// Appends those that are new. The status of the question itself.
int CublasLtProduct::find_algorithms(size_t most_workspace, int most) {
  Library& lt = library();
  void* preference = nullptr;
  check(lt.cublasLtMatmulPreferenceCreate(&preference), "cublasLtMatmulPreferenceCreate");
  int failed = 0;
  auto prefer = [&](int which, auto value) {
    if (failed == 0)
      failed = lt.cublasLtMatmulPreferenceSetAttribute(preference, which, &value, sizeof value);
  };
  prefer(most_workspace_attribute, most_workspace);
  prefer(reductions, reductions_in_f32);
  for (int operand = 0; operand < 4; ++operand)
    prefer(first_alignment + operand, operand_alignment);
  std::vector<Algorithm> found(static_cast<size_t>(most));
  int count = 0, status = 0;
  if (failed == 0)
    status = lt.cublasLtMatmulAlgoGetHeuristic(lt.handle, operation_, layouts_[0], layouts_[1],
                                               layouts_[2], layouts_[2], preference, most,
                                               found.data(), &count);
  lt.cublasLtMatmulPreferenceDestroy(preference);
  check(failed, "cublasLtMatmulPreferenceSetAttribute");
  for (int i = 0; status == 0 && i < count; ++i)
    if (found[size_t(i)].state == 0 && find(as_bytes(found[size_t(i)])) == algorithms())
      algorithms_.push_back(found[size_t(i)]);
  return status;
}

CublasLtProduct::~CublasLtProduct() { release(); }

void CublasLtProduct::release() noexcept {
  for (void* layout : layouts_)
    if (layout) library().cublasLtMatrixLayoutDestroy(layout);
  if (operation_) library().cublasLtMatmulDescDestroy(operation_);
}

void CublasLtProduct::run(size_t algorithm, const CublasLtOperands& operands,
                          CUstream stream) const {
  Library& lt = library();
  const float one = 1, zero = 0;
  const Algorithm& chosen = algorithms_.at(algorithm);
  std::lock_guard lock(mutex_);
  if (shape_.bias)
    check(lt.cublasLtMatmulDescSetAttribute(operation_, bias_pointer, &operands.bias,
                                            sizeof operands.bias),
          "cublasLtMatmulDescSetAttribute");
  check(lt.cublasLtMatmul(lt.handle, operation_, &one, operands.b, layouts_[0], operands.a,
                          layouts_[1], &zero, operands.c, layouts_[2], operands.c, layouts_[2],
                          chosen.algorithm, operands.workspace, chosen.workspace_bytes, stream),
        "cublasLtMatmul");
}

std::span<const std::byte> CublasLtProduct::as_bytes(const Algorithm& one) {
  return std::as_bytes(std::span(one.algorithm));
}

std::vector<std::byte> CublasLtProduct::bytes(size_t algorithm) const {
  const std::span<const std::byte> bytes = as_bytes(algorithms_.at(algorithm));
  return {bytes.begin(), bytes.end()};
}

size_t CublasLtProduct::find(std::span<const std::byte> bytes) const {
  const auto known =
      std::find_if(algorithms_.begin(), algorithms_.end(),
                   [&](const Algorithm& one) { return std::ranges::equal(as_bytes(one), bytes); });
  return size_t(known - algorithms_.begin());
}

}  // namespace encore::jit::cuda
