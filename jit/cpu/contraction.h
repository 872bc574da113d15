// Contractions of f32 and f64 by blocks: operands are read in place or packed, AsmJit micro-kernels
// multiply register tiles, and the epilogue runs on each tile while it is in the nearest cache.
//
// Every product is one chain of fma over ascending contracted points, starting from 0, so its bits
// depend on nothing that is chosen here: tile, blocking, threads, ISA.
//
// Threads: all functions may be called from any thread.
#pragma once
#include <encore/jit/cpu/contraction_seam.h>
#include <encore/jit/cpu/target.h>

namespace encore::jit {

/// What the blocked path asks of the compiler for one kernel. `blocked` is false when the kernel
/// has no contraction of f32 or f64, has row accumulators or adds to memory; then the compiler's
/// own loop nest runs it.
struct ContractionNeeds {
  bool blocked = false;
  bool finisher = false;  // the epilogue is more than one affine store of the product as it is
  bool a = false,
       b = false;  // that operand is more than one affine load of the contraction's dtype
};
ContractionNeeds contraction_needs(const Kernel& kernel);

/// Runs one segment, on several threads where that pays. `code` holds what
/// `contraction_needs(kernel)` asked for.
void run_contraction(const Kernel& kernel, const ContractionCode& code, Isa isa,
                     const Segment& segment);

}  // namespace encore::jit
