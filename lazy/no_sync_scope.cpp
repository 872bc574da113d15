#include <encore/core/error.h>
#include <encore/lazy/no_sync_scope.h>

namespace encore {
namespace {

thread_local constinit int depth = 0;

}  // namespace

NoSyncScope::NoSyncScope() { ++depth; }
NoSyncScope::~NoSyncScope() { --depth; }

void refuse_forbidden_sync(SyncKind kind, Location where) {
  if (depth == 0 || kind == SyncKind::cut) return;
  throw Error(kind == SyncKind::read ? "a value is read inside a NoSyncScope"
                                     : "a step is taken inside a NoSyncScope",
              where, "read after the scope ends, or keep the value a Tensor");
}

}  // namespace encore
