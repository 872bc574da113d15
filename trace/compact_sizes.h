// Renumbers a kernel's sizes in the order of their first use and drops the unused ones, so that
// kernels of equal text take equal arrays of sizes at launch.
#pragma once
#include <encore/jit/kernel.h>

namespace encore::trace {

void compact_sizes(jit::Kernel& kernel);

}  // namespace encore::trace
