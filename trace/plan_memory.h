// Where a program's buffers live: in leaves, in outputs, or in one scratch arena.
//
// An output takes over a donated leaf of its size where `order_launches` says so, else when the
// leaf's last reader is over before the output is first written. Intermediates lie where nothing
// else is needed meanwhile: in outputs not yet written, in donated leaves no longer read, and the
// rest in the arena. Outputs never come from the arena.
#pragma once
#include <encore/trace/order_launches.h>

#include <cstdint>
#include <string>
#include <vector>

namespace encore::trace {

struct MemoryPlan {
  struct Home {
    uint32_t leaf = ~0u;    // a leaf slot, in whose memory the buffer lies; ~0: none
    uint32_t output = ~0u;  // else the output buffer in whose new memory it lies; ~0: the arena
    int64_t offset = 0;     // there
  };
  std::vector<Home> homes;  // by buffer
  int64_t arena_bytes = 0;
  int64_t total_bytes = 0;           // all leaves that are read, new outputs and the arena
  std::vector<std::string> missed;   // donated leaves that no output could take, and why
  std::vector<bool> is_overwritten;  // by leaf slot
};

/// `donated`: by leaf slot.
MemoryPlan plan_memory(const LoweredTrace& trace, const LaunchOrder& order,
                       const std::vector<bool>& donated);

std::string to_text(const LoweredTrace& trace, const MemoryPlan& plan, const LaunchOrder& order);

}  // namespace encore::trace
