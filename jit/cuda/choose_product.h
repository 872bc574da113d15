// Who makes the product of a kernel with a contraction.
//
// The one place where ways of making products meet. The answer is a number for `Kernel::variant`,
// so it is part of the kernel's text and of its key; whoever compiles, loads or lays out launches
// of the kernel goes by that number and asks nobody else.
//
// Threads: all functions may be called from any thread.
#pragma once
#include <encore/jit/cuda/target.h>
#include <encore/jit/kernel.h>

namespace encore::jit::cuda {

/// The `Kernel::variant` for a kernel with a contraction at its sizes, fixed or not: 0 for
/// generated code that finds its plan from fixed sizes, or has one plan only; else 1 + the number
/// of the plan (`contraction_variant`).
uint32_t choose_product(const Kernel& kernel, const Target& target);

}  // namespace encore::jit::cuda
