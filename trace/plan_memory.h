// Where a program's buffers live: donated leaves, outputs, or one scratch arena shared by all
// programs.
//
// Outputs never come from the arena. An output takes over a donated leaf of the same size when the
// kernel that writes it is the last to read the leaf and reads it, at each point, only where it
// then writes. Intermediates share arena bytes when their lifetimes (by launch) do not meet.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace encore::trace {

struct LoweredTrace;

struct MemoryPlan {
  static constexpr int64_t in_no_arena = -1;
  std::vector<int64_t> arena_offset;  // by buffer
  int64_t arena_bytes = 0;
  std::vector<uint32_t> takes_over_leaf;  // by buffer: a donated leaf slot, or ~0
  std::vector<std::string> missed;        // donated leaves that no output could take, and why
};

/// `launch_of`: by kernel, as `join_kernels` gives it.
MemoryPlan plan_memory(const LoweredTrace& trace, const std::vector<uint32_t>& launch_of,
                       const std::vector<bool>& donated);

std::string to_text(const LoweredTrace& trace, const MemoryPlan& plan,
                    const std::vector<uint32_t>& launch_of);

}  // namespace encore::trace
