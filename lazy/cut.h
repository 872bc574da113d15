// The automatic cut: a loop that never reads must not grow without bound.
//
// Past the budget (ENCORE_CUT_NODES, ENCORE_CUT_BYTES) the pending trace is run before the first
// node like the one that the trace began with (its place and op), so that a loop's cuts repeat one
// trace; at twice the budget it is run wherever recording stands. A cut stores what handles hold
// and donates nothing.
#pragma once
#include <encore/core/settings.h>
#include <encore/lazy/node.h>

namespace encore {

/// Whether the list holds more than `times` these budgets; 0: no budget.
inline bool is_over(const PendingList& list, int64_t nodes, int64_t bytes, int64_t times = 1) {
  return (nodes && int64_t(list.size()) > times * nodes) || (bytes && list.bytes() > times * bytes);
}

/// Asked at every node, so of a host's budget only.
inline bool over_budget(const PendingList& list) {
  return is_over(list, settings().cut_nodes, settings().cut_bytes);
}

/// Called on a list over its budget before `next` is added to it; what `next` reads is kept.
void cut_if_due(const Node& next);

}  // namespace encore
