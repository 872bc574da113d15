// A stretch of code that must not wait for a value.
#pragma once
#include <encore/lazy/evaluator.h>

namespace encore {

/// While one lives, whatever on this thread asks for a value (item, to_vector, printing) or
/// computes (eval, sync, an optimizer's step) throws an Error at its own line, even where the value
/// is known already. Automatic cuts go on. Nests.
class NoSyncScope {
 public:
  NoSyncScope() : NoSyncScope("a NoSyncScope") {}
  /// `what` is what it is inside of, for messages; lives for ever.
  explicit NoSyncScope(const char* what);
  ~NoSyncScope();
  NoSyncScope(const NoSyncScope&) = delete;
  NoSyncScope& operator=(const NoSyncScope&) = delete;

 private:
  const char* outer_;
};

/// For evaluators: throws where a scope forbids it.
void refuse_forbidden_sync(SyncKind kind, Location where);

}  // namespace encore
