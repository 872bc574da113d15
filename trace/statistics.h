// What the runtime did so far; counters only grow.
#pragma once
#include <encore/trace/fusion_refusal.h>
#include <encore/trace/miss_reason.h>

#include <array>
#include <atomic>
#include <cstdint>

namespace encore::trace {

// STATISTIC(name, what it counts)
#define ENCORE_STATISTICS(STATISTIC)                                             \
  STATISTIC(nodes_captured, "nodes that syncs had to compute")                   \
  STATISTIC(syncs, "synchronization points that had something to do")            \
  STATISTIC(trace_hits, "syncs whose program was known")                         \
  STATISTIC(trace_misses, "syncs that were planned and compiled")                \
  STATISTIC(kernels_compiled, "kernels compiled")                                \
  STATISTIC(kernels_loaded, "kernels loaded from the disk cache instead")        \
  STATISTIC(choices_measured, "choices that were made by measuring on a device") \
  STATISTIC(disk_misses, "reads of the disk cache that found nothing good")      \
  STATISTIC(disk_rejects, "of them, those that found something damaged")         \
  STATISTIC(launches, "kernel launches")                                         \
  STATISTIC(graph_launches, "programs replayed as one CUDA graph")               \
  STATISTIC(overlapped_copies, "copies to a GPU that cross while it computes")   \
  STATISTIC(overlapped_bytes, "bytes of these copies")                           \
  STATISTIC(missed_aliases, "donated inputs that no output could take over")     \
  STATISTIC(cuts, "automatic cuts")                                              \
  STATISTIC(evictions, "programs and kernels dropped for the cache budget")      \
  STATISTIC(capture_nanoseconds, "time capturing and fingerprinting")            \
  STATISTIC(plan_nanoseconds, "time simplifying, fusing, lowering and planning") \
  STATISTIC(compile_nanoseconds, "time compiling and loading kernels")           \
  STATISTIC(replay_nanoseconds, "time replaying programs")

struct Statistics {
#define STATISTIC(name, meaning) int64_t name = 0;
  ENCORE_STATISTICS(STATISTIC)
#undef STATISTIC
  /// Bytes in live buffers now, and at most since the start or `reset_peak_bytes`; sums over
  /// devices.
  int64_t live_bytes = 0;
  int64_t peak_bytes = 0;
  std::array<int64_t, miss_reason_count> misses{};  // traces and kernels, by reason
  int64_t missed(MissReason reason) const { return misses[int(reason)]; }
  std::array<int64_t, fusion_refusal_count> fusion_refusals{};  // by reason
};

/// A snapshot; any thread.
Statistics statistics();
void reset_peak_bytes();

/// The counters themselves, for the runtime to bump.
struct Counters {
#define STATISTIC(name, meaning) std::atomic<int64_t> name{0};
  ENCORE_STATISTICS(STATISTIC)
#undef STATISTIC
  std::array<std::atomic<int64_t>, miss_reason_count> misses{};
  std::array<std::atomic<int64_t>, fusion_refusal_count> fusion_refusals{};
};
Counters& counters();

}  // namespace encore::trace
