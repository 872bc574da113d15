// In which order launches run, and which buffers continue in the memory of another: both decide how
// much memory a program needs, and neither changes what it computes.
//
// A result takes over the memory of an input that its kernel reads only where it then writes, when
// every other reader of the input can run before. The largest such pairs come first; each makes
// those readers run before. Among the orders left, program order is weighed against a list
// scheduling that prefers, of the launches that could run, the one that leaves the least alive; the
// lower peak wins, program order when they are equal.
#pragma once
#include <encore/trace/lower.h>

namespace encore::trace {

struct LaunchOrder {
  static constexpr uint32_t nobody = ~0u;
  std::vector<uint32_t> launch_of;   // by kernel; ascending, gapless
  std::vector<uint32_t> takes_over;  // by buffer: in whose memory it continues, or nobody
};

/// `groups`: the kernels of each launch; `users`: for each kernel those that must come after it.
/// Reorders `trace.kernels`.
LaunchOrder order_launches(LoweredTrace& trace, const std::vector<std::vector<uint32_t>>& groups,
                           const std::vector<std::vector<uint32_t>>& users,
                           const std::vector<bool>& donated);

}  // namespace encore::trace
