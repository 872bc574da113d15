// Tells what fusion refused.
#pragma once
#include <encore/trace/fuse.h>

namespace encore::trace {

/// Counts the refusals of a trace's final fusion and tells listeners: an event each, whose text is
/// one line for people, then the same as a JSON object in one line.
void report_refusals(const Graph& graph, const Fusion& fusion);

}  // namespace encore::trace
