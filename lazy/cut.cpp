#include <encore/lazy/cut.h>

#include <encore/lazy/evaluator.h>

namespace encore {

void cut_if_due(Location where) {
  const Settings& limits = settings();
  PendingList& list = pending_list();
  Location start = list.first_location();
  bool at_start = where.line == start.line && where.file == start.file;
  bool far_over = (limits.cut_nodes && int64_t(list.size()) > 2 * limits.cut_nodes) ||
                  (limits.cut_bytes && list.bytes() > 2 * limits.cut_bytes);
  if (at_start || far_over) evaluator().evaluate({}, SyncKind::cut, where);
}

}  // namespace encore
