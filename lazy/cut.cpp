#include <encore/lazy/cut.h>
#include <encore/lazy/evaluator.h>

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

}  // namespace

void cut_if_due(const Node& next) {
  const Settings& limits = settings();
  PendingList& list = pending_list();
  bool at_start = next.op == list.first_op() && next.location == list.first_location();
  bool far_over = (limits.cut_nodes && int64_t(list.size()) > 2 * limits.cut_nodes) ||
                  (limits.cut_bytes && list.bytes() > 2 * limits.cut_bytes);
  if (at_start || far_over)
    evaluator().evaluate(pending_inputs(next), SyncKind::cut, next.location);
}

}  // namespace encore
