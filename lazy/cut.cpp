#include <encore/lazy/cut.h>
#include <encore/lazy/evaluator.h>

#include <algorithm>
#include <atomic>

namespace encore {
namespace {

/// What `next` will read: some of it has no handle any more, and would be computed twice.
std::vector<Node*> pending_inputs(const Node& next) {
  std::vector<Node*> roots;
  for (Node* input : next.input_span())
    if (!input->is_source() && !input->materialized() && family_of(input->op) != OpFamily::movement)
      roots.push_back(input);
  return roots;
}

/// ENCORE_CUT_BYTES suits a host; a GPU may spend an eighth of its memory on a trace if that is
/// more.
int64_t gpu_bytes(const Node& next) {
  static std::atomic<int64_t> of_gpu[256];
  std::atomic<int64_t>& allowed = of_gpu[next.device.index];
  if (allowed == 0) allowed = evaluator().total_bytes(next.device, next.location) / 8;
  return std::max(settings().cut_bytes, allowed.load());
}

}  // namespace

void cut_if_due(const Node& next) {
  PendingList& list = pending_list();
  const int64_t nodes = settings().cut_nodes;
  int64_t bytes = settings().cut_bytes;
  if (bytes && next.device.kind != DeviceKind::cpu) {
    bytes = gpu_bytes(next);
    if (!is_over(list, nodes, bytes)) return;
  }
  bool at_start = next.op == list.first_op() && next.location == list.first_location();
  if (at_start || is_over(list, nodes, bytes, 2))
    evaluator().evaluate(pending_inputs(next), SyncKind::cut, next.location);
}

}  // namespace encore
