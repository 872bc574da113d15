// Merges neighbouring axes of a kernel that every access walks as one.
//
// A contiguous [64, 784] elementwise kernel becomes a loop over 50176. Only axes of one role merge
// (outer into inner, too, where a kernel is nothing but one sweep without accumulators). Results
// keep their bits; in strict mode inner axes stay apart where row accumulators run over them.
#pragma once
#include <encore/jit/kernel.h>

namespace encore::trace {

void collapse_axes(jit::Kernel& kernel, bool strict);

}  // namespace encore::trace
