// The traces compiled lately, so that a miss can be explained: what of them is remembered (the
// latest, within a budget of bytes) and the keys of many more.
//
// Used under the runtime's lock, and only where a trace missed: a hit costs nothing.
#pragma once
#include <encore/trace/known_trace.h>
#include <encore/trace/miss_reason.h>

#include <deque>
#include <unordered_map>

namespace encore::trace {

class TraceHistory {
 public:
  static constexpr int64_t most_bytes = 8 << 20;
  static constexpr size_t most_traces = 128, most_keys = 1 << 14;

  /// Why `now` was not found in the cache.
  Miss explain(const KnownTrace& now) const;
  void add(KnownTrace trace);
  /// Its compilation threw.
  void note_failed(Hash128 key, Location sync) { note(key, {sync, MissReason::failed}); }
  /// The caches are empty now.
  void note_cleared(MissReason why);

  int64_t bytes() const { return bytes_; }
  size_t size() const { return traces_.size(); }

 private:
  /// What a miss of this very key would mean.
  struct Fate {
    Location sync;
    MissReason if_missed;
  };
  void note(Hash128 key, Fate fate);
  Location find_storing_sync(Location stored, Location not_this) const;
  const KnownTrace* find_nearest(const KnownTrace& now) const;

  std::deque<KnownTrace> traces_;  // the latest last
  int64_t bytes_ = 0;
  std::unordered_map<Hash128, Fate, HashOfHash128> fates_;
  std::deque<Hash128> keys_;  // of `fates_`, the latest last
};

}  // namespace encore::trace
