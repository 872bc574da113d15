// The files through which `perf` learns the names of generated code.
//
// Threads: all functions may be called from any thread. None throws: a file that cannot be written
// is a warning on stderr, once.
#pragma once
#include <encore/jit/cpu/jit_symbols.h>

namespace encore::jit {

/// Adds a line to /tmp/perf-PID.map, which `perf report` reads by itself.
void tell_perf_map(const CodeSymbol& symbol);

/// Adds a record with the code itself to jit-PID.dump, in the folder that JITDUMPDIR names, else in
/// the current one; for `perf record -k 1` and `perf inject --jit`, which let `perf annotate` see
/// instructions.
void tell_jitdump(const CodeSymbol& symbol);

}  // namespace encore::jit
