// cuBLASLt on the host: the few calls that Encore makes, on the fake driver's memory and in its
// stream's order. Built as a libcublasLt.so.13 of its own.
#include "fake_cublaslt.h"

#include <dlfcn.h>

#include <cstdint>
#include <cstring>
#include <functional>
#include <string>

namespace {

struct Operation {
  int compute = 0, scale = 0;
  bool first_transposed = false, second_transposed = false;
  int epilogue = 1, bias_type = 0;
  const void* bias = nullptr;
};

/// Column-major.
struct Layout {
  int type = 0;
  uint64_t rows = 0, columns = 0;
  int64_t leading = 0;
  int batch = 1;
  int64_t batch_stride = 0;
};

constexpr int real_f32 = 0, real_f16 = 2, real_bf16 = 14;
constexpr int invalid_value = 7, not_supported = 15;

struct Algorithm {
  uint64_t algorithm[8];
  size_t workspace_bytes;
  int state;
  float waves;
  int reserved[4];
};
constexpr uint64_t first_algorithm = 0x656e636f7265;
constexpr int algorithms = 3, operations_of[algorithms] = {3, 1, 2};
/// It adds up so many sums of parts, which stand in its workspace.
constexpr size_t parts_of_the_fastest = 8;

encore::fake_cublaslt::Library& seen() {
  static auto& library = *new encore::fake_cublaslt::Library;
  return library;
}

/// Counts the call; nonzero: it shall fail.
int called(const char* name) {
  ++seen().calls[name];
  auto failing = seen().failures.find(name);
  return failing == seen().failures.end() ? 0 : failing->second;
}

float element(const void* matrix, int type, int64_t at) {
  if (type == real_f32) return static_cast<const float*>(matrix)[at];
  if (type == real_f16) return float(static_cast<const _Float16*>(matrix)[at]);
  const uint32_t bits = uint32_t(static_cast<const uint16_t*>(matrix)[at]) << 16;
  float number;
  std::memcpy(&number, &bits, sizeof number);
  return number;
}

void put(void* matrix, int type, int64_t at, float value) {
  if (type == real_f32) static_cast<float*>(matrix)[at] = value;
  if (type == real_f16) static_cast<_Float16*>(matrix)[at] = _Float16(value);
  if (type != real_bf16) return;
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  if (value == value) bits += 0x7fff + (bits >> 16 & 1);
  static_cast<uint16_t*>(matrix)[at] = uint16_t(bits >> 16);
}

/// The driver's stream, found beside this library.
void enqueue(void* stream, std::function<void()> work) {
  static auto* into_stream = [] {
    Dl_info self;
    dladdr(reinterpret_cast<void*>(&seen), &self);
    std::string folder(self.dli_fname);
    folder.resize(folder.rfind('/'));
    void* driver = dlopen((folder + "/libcuda.so.1").c_str(), RTLD_NOW | RTLD_LOCAL);
    return reinterpret_cast<void (*)(void*, std::function<void()>*)>(
        dlsym(driver, "fake_cuda_enqueue"));
  }();
  into_stream(stream, &work);
}

/// A matrix of a batch.
struct Operand {
  const void* data;
  Layout layout;
  int64_t place(int matrix, int64_t row, int64_t column) const {
    return matrix * layout.batch_stride + column * layout.leading + row;
  }
  float at(int matrix, int64_t row, int64_t column) const {
    return element(data, layout.type, place(matrix, row, column));
  }
};

void multiply(const Operation& operation, const Operand& first, const Operand& second, void* result,
              const Layout& of_result) {
  const auto depth = int64_t(operation.first_transposed ? first.layout.rows : first.layout.columns);
  const Operand to{result, of_result};
  for (int z = 0; z < of_result.batch; ++z)
    for (int64_t j = 0; j < int64_t(of_result.columns); ++j)
      for (int64_t i = 0; i < int64_t(of_result.rows); ++i) {
        double sum = 0;
        for (int64_t k = 0; k < depth; ++k)
          sum += double(operation.first_transposed ? first.at(z, k, i) : first.at(z, i, k)) *
                 (operation.second_transposed ? second.at(z, j, k) : second.at(z, k, j));
        auto value = float(sum);
        if (operation.epilogue & 4) value += element(operation.bias, operation.bias_type, i);
        if (operation.epilogue & 2) value = value > 0 ? value : 0;  // NaN is dropped
        put(result, of_result.type, to.place(z, i, j), value);
      }
}

}  // namespace

#define CALLED(name) \
  if (int status = called(#name)) return status

extern "C" {

encore::fake_cublaslt::Library* fake_cublaslt() { return &seen(); }

int cublasLtCreate(void** handle) {
  CALLED(cublasLtCreate);
  *handle = &seen();
  return 0;
}

int cublasLtMatmulDescCreate(void** made, int compute, int scale) {
  CALLED(cublasLtMatmulDescCreate);
  *made = new Operation{compute, scale};
  return 0;
}

int cublasLtMatmulDescDestroy(void* operation) {
  CALLED(cublasLtMatmulDescDestroy);
  delete static_cast<Operation*>(operation);
  return 0;
}

int cublasLtMatmulDescSetAttribute(void* operation, int which, const void* value, size_t) {
  CALLED(cublasLtMatmulDescSetAttribute);
  int number;
  std::memcpy(&number, value, sizeof number);
  auto& to = *static_cast<Operation*>(operation);
  if (which == 3) to.first_transposed = number == 1;
  if (which == 4) to.second_transposed = number == 1;
  if (which == 7) to.epilogue = number;
  if (which == 8) std::memcpy(&to.bias, value, sizeof to.bias);
  if (which == 26) to.bias_type = number;
  return which == 3 || which == 4 || which == 7 || which == 8 || which == 26 ? 0 : not_supported;
}

int cublasLtMatrixLayoutCreate(void** made, int type, uint64_t rows, uint64_t columns,
                               int64_t leading) {
  CALLED(cublasLtMatrixLayoutCreate);
  *made = new Layout{type, rows, columns, leading};
  return 0;
}

int cublasLtMatrixLayoutSetAttribute(void* layout, int which, const void* value, size_t bytes) {
  CALLED(cublasLtMatrixLayoutSetAttribute);
  auto& to = *static_cast<Layout*>(layout);
  if (which == 5 && bytes == sizeof to.batch) return std::memcpy(&to.batch, value, bytes), 0;
  if (which != 6 || bytes != sizeof to.batch_stride) return invalid_value;
  std::memcpy(&to.batch_stride, value, bytes);
  return 0;
}

int cublasLtMatrixLayoutDestroy(void* layout) {
  delete static_cast<Layout*>(layout);
  return 0;
}

int cublasLtMatmulPreferenceCreate(void** made) {
  CALLED(cublasLtMatmulPreferenceCreate);
  *made = new size_t(0);
  return 0;
}

int cublasLtMatmulPreferenceDestroy(void* preference) {
  delete static_cast<size_t*>(preference);
  return 0;
}

int cublasLtMatmulPreferenceSetAttribute(void* preference, int which, const void* value,
                                         size_t bytes) {
  CALLED(cublasLtMatmulPreferenceSetAttribute);
  if (bytes != (which == 1 ? sizeof(size_t) : sizeof(uint32_t))) return invalid_value;
  if (which == 1) std::memcpy(preference, value, bytes);
  return 0;
}

size_t cublasLtGetVersion() { return 130000; }

int cublasLtMatmulAlgoGetHeuristic(void*, void*, void*, void*, void*, void* of_result,
                                   void* preference, int most, void* results, int* found) {
  CALLED(cublasLtMatmulAlgoGetHeuristic);
  const Layout& result = *static_cast<Layout*>(of_result);
  const size_t workspaces[algorithms] = {0, parts_of_the_fastest * 4 * result.rows * result.columns,
                                         256};
  *found = 0;
  for (int i = 0; i < algorithms && *found < most; ++i) {
    if (workspaces[i] > *static_cast<size_t*>(preference)) continue;
    auto& one = static_cast<Algorithm*>(results)[(*found)++];
    one = {};
    one.algorithm[0] = first_algorithm + uint64_t(i);
    one.workspace_bytes = workspaces[i];
  }
  return 0;
}

int cublasLtMatmul(void*, void* operation, const void*, const void* first, void* of_first,
                   const void* second, void* of_second, const void*, const void*, void*,
                   void* result, void* of_result, const void* algorithm, void* workspace,
                   size_t workspace_bytes, void* stream) {
  CALLED(cublasLtMatmul);
  const auto number = int(*static_cast<const uint64_t*>(algorithm) - first_algorithm);
  if (number < 0 || number >= algorithms) return invalid_value;
  const Operation what = *static_cast<Operation*>(operation);
  const Layout a = *static_cast<Layout*>(of_first), b = *static_cast<Layout*>(of_second);
  const Layout c = *static_cast<Layout*>(of_result);
  const uint64_t depth = what.first_transposed ? a.rows : a.columns;
  const uint64_t other_depth = what.second_transposed ? b.columns : b.rows;
  if (depth != other_depth || c.rows != (what.first_transposed ? a.columns : a.rows) ||
      c.columns != (what.second_transposed ? b.rows : b.columns) || a.type != b.type ||
      a.batch != c.batch || b.batch != c.batch)
    return invalid_value;
  if (c.type != real_f32 && c.type != a.type) return not_supported;
  if ((what.epilogue & 4) && what.bias_type != c.type) return not_supported;
  for (const void* address : {first, second, static_cast<const void*>(result), what.bias})
    if (reinterpret_cast<uintptr_t>(address) % 16 != 0) return invalid_value;
  for (int i = 1; i < operations_of[number]; ++i) enqueue(stream, [] {});
  enqueue(stream, [=] {
    if (workspace) std::memset(workspace, 0xff, workspace_bytes);  // it is the library's
    multiply(what, {first, a}, {second, b}, result, c);
    ++seen().runs[number];
  });
  return 0;
}

}  // extern "C"
