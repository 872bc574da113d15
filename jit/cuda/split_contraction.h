// A contraction in two parts: a product that a library can make, and a kernel for what follows it.
//
// The library's matrix is an output's memory where an output has room for it, else memory of its
// own; what follows then reads it point by point, so an output may be read and written in place.
// The library's relu and gelu are not used: some of its algorithms drop NaN in the one, and its
// tanh is coarser than ours in the other. How a kernel is split depends on its text alone; what the
// library is asked for also on sizes.
//
// Threads: all functions are pure.
#pragma once
#include <encore/jit/cuda/cublaslt.h>
#include <encore/jit/kernel.h>

#include <optional>
#include <vector>

namespace encore::jit::cuda {

struct SplitContraction {
  /// f16 or bf16, as the operands are, where all outputs are that too.
  DType matrix = DType::f32;
  uint32_t a = 0, b = 0;           // arguments
  uint32_t bias = none;            // an argument that the library adds to every row
  uint32_t result = none;          // the access of an output that is the matrix, or is no wider
  std::optional<Kernel> epilogue;  // reads the matrix as one more argument, behind the kernel's
  bool in_place() const { return result != none; }
};

/// Nothing where the product is none of two matrices in memory, or is followed by something that
/// no kernel of its own can do.
std::optional<SplitContraction> split_contraction(const Kernel& kernel);

/// The sizes that `SplitContraction::epilogue` takes: the kernel's, then its own.
std::vector<int64_t> epilogue_sizes(const Kernel& kernel, const int64_t* sizes);

/// What the library is asked for at these sizes; nothing where it should not be.
std::optional<CublasLtShape> library_shape(const Kernel& kernel, const SplitContraction& split,
                                           const int64_t* sizes);

/// Elements from a matrix's first to behind its last.
int64_t extent_of(const CublasLtMatrix& matrix, int64_t batch, int64_t rows, int64_t columns);

}  // namespace encore::jit::cuda
