// Puts independent kernels of one structure side by side into one launch.
//
// An optimizer over a hundred parameters is a hundred kernels with one body: one joined launch with
// a segment each, whatever their sizes. Kernels are compared by text with all sizes as arguments.
#pragma once
#include <encore/trace/order_launches.h>

#include <vector>

namespace encore::trace {

/// Reorders `trace.kernels` and says for each which launch it belongs to. `donated`: by leaf slot.
LaunchOrder join_kernels(LoweredTrace& trace, const std::vector<bool>& donated, bool fusing);

}  // namespace encore::trace
