// This machine's processor: fused loops by LLVM, contractions by AsmJit, threads by oneTBB.
#pragma once
#include <encore/jit/backend.h>
#include <encore/jit/cpu/target.h>

#include <memory>

namespace encore::jit {

/// The backend for `chosen_isa()`; lives as long as the process.
Backend& cpu_backend();

/// A backend of its own for an ISA that the machine has (see `host_isa`).
std::unique_ptr<Backend> make_cpu_backend(Isa isa);

}  // namespace encore::jit
