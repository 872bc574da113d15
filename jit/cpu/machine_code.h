// From an LLVM module to machine code for one ISA.
//
// Threads: a MachineCode may be used from any thread; each use takes a TargetMachine of its own.
#pragma once
#include <encore/jit/cpu/target.h>
#include <llvm/IR/Module.h>
#include <llvm/Target/TargetMachine.h>

#include <cstddef>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace encore::jit {

class MachineCode {
 public:
  explicit MachineCode(Isa isa);

  /// Sets the module's triple and layout; call it before emitting into the module.
  void prepare(llvm::Module& module);
  /// Cleans the module up: common subexpressions, loop invariants, control flow.
  void optimize(llvm::Module& module);
  /// An ELF object, free of addresses.
  std::vector<std::byte> object(llvm::Module& module);
  std::string assembly(llvm::Module& module);

 private:
  class Borrowed;
  std::vector<char> emit(llvm::Module& module, llvm::CodeGenFileType type);

  Isa isa_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<llvm::TargetMachine>> idle_;
};

}  // namespace encore::jit
