// A kernel for each pure instruction and each combination of dtypes that it has a meaning on, with
// the edges of its operands' dtypes as input: every edge with every other one.
#pragma once
#include <vector>

#include "random_kernel.h"

namespace encore::jit {

std::vector<RandomKernel> instruction_kernels();

}  // namespace encore::jit
