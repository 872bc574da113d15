// What the runtime did so far: syncs, trace hits and misses, kernels, launches, times, bytes.
#pragma once
#include <encore/trace/statistics.h>

#include <string>

namespace encore {

using Stats = trace::Statistics;
using trace::MissReason;

/// A snapshot of the counters, which only grow; subtract two for what happened between.
inline Stats stats() { return trace::statistics(); }

/// One line a counter: value and meaning; times in seconds, sizes in MiB.
std::string stats_table(const Stats& stats);

}  // namespace encore
