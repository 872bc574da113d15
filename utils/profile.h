// What a profiler heard: spans, kernels and counters, and what is made of them.
//
// Threads: all functions may be called from any thread.
#pragma once
#include <encore/core/events.h>

#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <ostream>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace encore {

class Profile {
 public:
  static constexpr events::Kinds kinds =
      events::bit(EventKind::span) | events::bit(EventKind::kernel) |
      events::bit(EventKind::counter) | events::bit(EventKind::miss) | events::bit(EventKind::cut);

  /// More are counted and left out, so that a long run does not fill the memory (about 80 bytes
  /// each).
  static constexpr size_t most_entries = 8'000'000;

  explicit Profile(size_t most = most_entries);
  void take(const Event& event);

  /// Whether launches were seen that a device reports only when asked.
  bool awaits_device() const;

  /// The trace event format that Perfetto and chrome://tracing read: one JSON object, an event a
  /// line, sorted by track and time.
  void write_trace(std::ostream& to) const;

  /// Tables of kernels, of the user's lines and of the host's work, the dearest first.
  std::string summary() const;

 private:
  using Id = uint32_t;
  struct Entry {
    EventKind kind;
    Id track, name, text, file;
    uint32_t line;
    int64_t start, value;  // of a counter: how much
    int64_t bytes;
  };
  struct Track {
    std::string name;
    int64_t number;  // the thread's, or one of its own
  };
  /// Sums over entries of one kind.
  struct Sum {
    int64_t calls = 0, nanoseconds = 0, bytes = 0, flops = 0;
    void add(const Sum& other);
  };
  using Sums = std::vector<std::pair<std::string, Sum>>;

  Id intern(std::string_view text);
  Id track_of(const Event& event);
  std::string kernel_summary() const;
  std::string line_summary() const;
  std::string host_summary() const;
  std::string arguments_of(const Entry& entry) const;
  std::vector<const Entry*> sorted() const;

  mutable std::mutex mutex_;  // guards what follows
  int64_t origin_;            // of the steady clock
  int64_t seconds_;           // since 1970, at the origin
  bool awaits_device_ = false;
  std::deque<std::string> texts_;
  std::unordered_map<std::string_view, Id> ids_;  // of `texts_`
  std::vector<Track> tracks_;
  std::map<std::pair<int64_t, Id>, Id> track_ids_;  // by thread (0: none) and track's name
  std::deque<Entry> entries_;
  const size_t most_;
  int64_t left_out_ = 0;
};

}  // namespace encore
