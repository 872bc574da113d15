// Tells others what generated code is called: perf, by a map file or a jitdump, and gdb.
//
// ENCORE_JIT_SYMBOLS says whom. Threads: all functions may be called from any thread.
#pragma once
#include <encore/core/settings.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace encore::jit {

inline bool wants_symbols() { return !settings().jit_symbols.empty(); }

/// A function that lies in memory, ready to run.
struct CodeSymbol {
  std::string name;
  const void* address;
  size_t bytes;
};

/// What gdb knows of some code; it forgets the code when this dies. perf never forgets.
class AnnouncedCode {
 public:
  virtual ~AnnouncedCode() = default;
};

/// Throws Error for an unknown word in ENCORE_JIT_SYMBOLS. A file that cannot be written is a
/// warning on stderr, once.
std::unique_ptr<AnnouncedCode> announce(const std::vector<CodeSymbol>& symbols);

/// An ELF file of one section without contents that defines the symbols at their addresses, as gdb
/// wants it.
std::vector<std::byte> symbol_file(const std::vector<CodeSymbol>& symbols);

}  // namespace encore::jit
