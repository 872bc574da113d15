// All that is known of a planned trace as one JSON document: nodes, clusters, kernels, buffers and
// how they hang together. docs/dump-format.md says what each field means; the bundle's writer adds
// what is only heard as events. Made only for those who listen.
#pragma once
#include <encore/core/json_text.h>
#include <encore/trace/capture.h>
#include <encore/trace/fuse.h>
#include <encore/trace/plan_memory.h>

#include <string>

namespace encore::trace {

/// What the passes made, each read by `describe`.
struct Described {
  const Capture& capture;
  Location where;                     // the sync
  const Graph& captured;              // before `simplify`
  const std::vector<NodeId>& became;  // by captured node: its node in `graph`; ~0: dropped
  const Graph& graph;
  const Fusion& fusion;
  const LoweredTrace& lowered;
  const LaunchOrder& order;
  const MemoryPlan& memory;
};

/// The name under which a kernel is listed: `3-matmul_add`.
std::string listed_name(uint32_t launch, const jit::Kernel& kernel);

/// Parts go to `sink`. A kernel's last field is `"files":{}`: whoever writes listings fills it in.
void describe(const Described& trace, const JsonText::Sink& sink);

}  // namespace encore::trace
