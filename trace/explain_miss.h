// How a trace differs from one that was known: the first difference in record order, in the words
// of a user.
//
// Ops are matched as lines of a program are: by op and the user's line. Where both traces have the
// same ops, each op's inputs and attributes are compared, a source (leaf, number) where it is first
// read; then what is stored, then what may be overwritten.
#pragma once
#include <encore/trace/known_trace.h>
#include <encore/trace/miss_reason.h>

namespace encore::trace {

/// The two have different keys. `reason`, `difference`, `where`, `known_where` are set.
Miss explain_difference(const KnownTrace& now, const KnownTrace& then);

}  // namespace encore::trace
