// From clusters to kernels: ops become instructions, movements become index maps.
#pragma once
#include <encore/jit/backend.h>
#include <encore/jit/kernel.h>
#include <encore/trace/fuse.h>

namespace encore::trace {

/// Memory that kernels read and write.
struct PlanBuffer {
  int64_t bytes = 0;
  uint32_t leaf = ~0u;      // the leaf slot that holds it; ~0: made by this program
  bool is_output = false;   // outlives the program
  NodeId node = 0;          // whose value it holds, for people
  bool is_partial = false;  // a column reduction's chunks
  bool is_scratch = false;  // holds nothing before and after a launch
  uint32_t spare = 0;       // so many launches before and after those that use it leave it alone
};

struct PlannedKernel {
  jit::Kernel kernel;
  std::vector<uint32_t> buffers;       // by argument: which buffer
  std::vector<uint32_t> scalar_slots;  // by kernel scalar: which scalar of the trace
  Location location;                   // of its last member
  uint32_t cluster = 0;                // that it computes
  uint32_t scratch = ~0u;              // the buffer that its code wants beside its arguments
  NodeId finishes = ~0u;  // a finish kernel: the column reduction whose partials it adds
};

struct LoweredTrace {
  std::vector<PlanBuffer> buffers;
  std::vector<PlannedKernel> kernels;    // in an order that can run
  std::vector<uint32_t> output_buffers;  // by output
};

LoweredTrace lower(const Graph& graph, const Fusion& fusion, const jit::Limits& limits);

}  // namespace encore::trace
