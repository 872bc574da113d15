// Kernels as programs have them, in sizes that each call for another way of spreading them over a
// GPU: short, long, very long and very few rows; sizes compiled in or not; several segments.
#pragma once
#include <string>
#include <vector>

#include "random_kernel.h"

namespace encore::jit {

RandomKernel chain_kernel(int64_t rows, int64_t columns, bool fixed, DType stored = DType::f32);
RandomKernel softmax_kernel(int64_t rows, int64_t columns, bool fixed, DType stored = DType::f32);
/// Forward and backward at once, the gradients of weights by column.
RandomKernel layer_norm_kernel(int64_t rows, int64_t columns, int64_t rows_per_chunk, bool fixed);
RandomKernel column_sum_kernel(int64_t rows, int64_t columns, int64_t rows_per_chunk, bool fixed);
/// Every reduction that `dtype` has, over rows of three axes.
RandomKernel reductions_kernel(int64_t rows, int64_t columns, bool fixed, DType dtype);
/// Rows added to those of a table that `entries` indices name, many of them more than once.
RandomKernel scatter_kernel(int64_t rows, int64_t columns, int64_t entries, bool fixed);

/// All of the above in many sizes.
std::vector<RandomKernel> schedule_kernels();

/// Kernels with sums, all sizes fixed, in extents that share rows out in many ways.
std::vector<RandomKernel> summing_kernels();

/// As first_difference, but floating numbers may differ by `tolerance` of the larger of 1 and what
/// is expected.
std::string first_far_difference(const Kernel& kernel, const std::vector<LaunchData>& expected,
                                 const std::vector<LaunchData>& actual, double tolerance);

}  // namespace encore::jit
