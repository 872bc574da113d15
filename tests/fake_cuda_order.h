// Which operations of a fake device are ordered before which, and the memory that they touch.
//
// Each stream, and the host, knows how many operations of each stream came before it: by the order
// in a stream, by events, and by what the host waited for before it enqueued. Two operations that
// touch the same memory, one of them writing, must be ordered: a device may run them at once,
// however the fake happens to run them.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <vector>

namespace encore::fake_cuda {

using StreamId = const void*;

/// By stream: how many of its operations came before.
using Known = std::map<StreamId, size_t>;

inline void join(Known& into, const Known& other) {
  for (auto [stream, count] : other) into[stream] = std::max(into[stream], count);
}

struct Access {
  uintptr_t begin, end;
  bool writes;
};

class Order {
 public:
  /// The next operation of a stream; what it does out of order is added to `complaints`.
  void operate(StreamId stream, const std::string& what, const std::vector<Access>& accesses,
               std::vector<std::string>& complaints) {
    Known& known = streams_[stream];
    join(known, host_);
    const size_t number = ++known[stream];
    for (const Access& access : accesses) {
      complain(stream, known, what, access, complaints);
      done_[stream].push_back({number, what, access});
    }
  }

  /// What is known where an event is recorded.
  Known record(StreamId stream) {
    join(streams_[stream], host_);
    return streams_[stream];
  }
  void wait(StreamId stream, const Known& event) { join(streams_[stream], event); }
  /// The host knows it, too, and so does all that is enqueued from now on.
  void host_wait(const Known& event) {
    join(host_, event);
    for (auto& [stream, done] : done_)
      while (!done.empty() && done.front().number <= host_[stream]) done.pop_front();
  }
  void host_waits_for_all() {
    for (const auto& [stream, known] : std::map(streams_)) host_wait(known);
  }

 private:
  struct Done {
    size_t number;  // in its stream
    std::string what;
    Access access;
  };

  void complain(StreamId stream, const Known& known, const std::string& what, const Access& access,
                std::vector<std::string>& complaints) const {
    for (const auto& [other, done] : done_) {
      if (other == stream) continue;
      const auto found = known.find(other);
      const size_t before = found == known.end() ? 0 : found->second;
      for (auto one = done.rbegin(); one != done.rend() && one->number > before; ++one)
        if ((one->access.writes || access.writes) && one->access.begin < access.end &&
            access.begin < one->access.end)
          complaints.push_back(what + " does not wait for " + one->what);
    }
  }

  Known host_;
  std::map<StreamId, Known> streams_;
  std::map<StreamId, std::deque<Done>> done_;  // that the host does not know to be over
};

}  // namespace encore::fake_cuda
