// Puts machine code where it can run: one ORC session for the process, one library per object.
//
// Threads: all functions may be called from any thread.
#pragma once
#include <cstddef>
#include <memory>
#include <span>
#include <string_view>

namespace encore::jit {

/// Loaded code; its memory is freed with it.
class LoadedCode {
 public:
  virtual ~LoadedCode() = default;
  /// Null when the object does not define the symbol.
  virtual void* find(std::string_view symbol) const = 0;
  /// Memory that it holds, with what ORC keeps to know it.
  virtual size_t bytes() const = 0;
};

/// Links an ELF object of `MachineCode::object`; throws Error for bytes that are none. `name`: the
/// kernel's, for those that ENCORE_JIT_SYMBOLS tells.
std::unique_ptr<LoadedCode> load_object(std::span<const std::byte> object, std::string_view name);

}  // namespace encore::jit
