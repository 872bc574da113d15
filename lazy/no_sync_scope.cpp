#include <encore/core/error.h>
#include <encore/lazy/no_sync_scope.h>
#include <fmt/format.h>

#include <utility>

namespace encore {
namespace {

/// What this thread is inside of; null: nothing that forbids a sync.
thread_local constinit const char* inside = nullptr;

}  // namespace

NoSyncScope::NoSyncScope(const char* what) : outer_(std::exchange(inside, what)) {}
NoSyncScope::~NoSyncScope() { inside = outer_; }

void refuse_forbidden_sync(SyncKind kind, Location where) {
  if (!inside || kind == SyncKind::cut) return;
  throw Error(fmt::format("a {} inside {}",
                          kind == SyncKind::read ? "value is read" : "step is taken", inside),
              where, "read after the scope ends, or keep the value a Tensor");
}

}  // namespace encore
