// Who makes the product of a kernel with a contraction.
//
// The one place where ways of making products meet. The answer is a number for `Kernel::variant`,
// so it is part of the kernel's text and of its key; whoever compiles, loads or lays out launches
// of the kernel goes by that number and asks nobody else.
//
// Threads: all functions may be called from any thread.
#pragma once
#include <encore/jit/cuda/library_products.h>
#include <encore/jit/cuda/split_contraction.h>
#include <encore/jit/cuda/target.h>
#include <encore/jit/kernel.h>

#include <optional>

namespace encore::jit::cuda {

/// cuBLASLt makes the product, and a kernel what the library leaves to do. No number of a plan.
inline constexpr uint32_t library_variant = 100;

/// The `Kernel::variant` for a kernel with a contraction at its sizes, fixed or not:
/// library_variant where cuBLASLt can make the product and takes less time by what was measured
/// (see choose_product.cpp; ENCORE_CUBLASLT may say otherwise); else 0 for generated code that
/// finds its plan from fixed sizes, or has one plan only; else 1 + the number of the plan
/// (`contraction_variant`).
uint32_t choose_product(const Kernel& kernel, const Target& target, LibraryProducts& library);

/// What the library would be asked for at the kernel's sizes; nothing where it is no product for
/// it.
std::optional<CublasLtShape> library_shape(const Kernel& kernel);

}  // namespace encore::jit::cuda
