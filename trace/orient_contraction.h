// Lets a contraction's epilogue run along memory.
//
// Where most of what the epilogue reads and writes lies along the rows, as with gradients of
// weights, rows and columns change places, and the operands with them. Every point is computed as
// before. Kernels with accumulators or row stages stay as they are: rows mean more there.
#pragma once
#include <encore/jit/kernel.h>

namespace encore::trace {

void orient_contraction(jit::Kernel& kernel);

}  // namespace encore::trace
