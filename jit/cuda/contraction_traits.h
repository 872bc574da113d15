// What the parts of the contraction's generator agree on.
#pragma once
#include <encore/jit/cuda/contraction.h>

namespace encore::jit::cuda {

/// The access of an operand that is one load without predicate and without computed offset;
/// otherwise null.
const Access* plain_load(const Kernel& kernel, bool a);

/// The dtype in memory of an operand that is one load; otherwise the contraction's.
DType stored_dtype(const Kernel& kernel, bool a);

/// The dtype of a tile's elements in shared memory.
DType element_dtype(const Kernel& kernel, const ContractionPlan& plan);

/// Whether tiles of the operand are pieces of memory as they are, so that nobody has to touch them
/// on their way.
bool is_copied(const Kernel& kernel, const ContractionPlan& plan, bool a);

/// Whether neighbours in memory are neighbours in depth; otherwise they are rows or columns.
bool runs_along_depth(const Kernel& kernel, bool a);

/// Elements between the beginnings of two rows of products in shared memory.
uint32_t product_pitch(const ContractionPlan& plan);

/// Shared memory of a block.
uint32_t shared_bytes(const Kernel& kernel, const ContractionPlan& plan);

/// Whether column accumulators must take their rows one by one.
bool adds_rows_in_order(const Kernel& kernel, const Target& target);

}  // namespace encore::jit::cuda
