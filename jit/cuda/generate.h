// Writes a kernel as CUDA C.
//
// The text names no header and no library; it is meant for NVRTC with `--fmad=false` and without
// fast math, so that every instruction keeps its one rounding.
#pragma once
#include <encore/jit/cuda/geometry.h>
#include <encore/jit/cuda/target.h>
#include <encore/jit/kernel.h>

#include <string>

namespace encore::jit::cuda {

/// What every program begins with: types, conversions, arithmetic that CUDA C lacks.
std::string prelude(const Target& target);

/// The functions of a kernel, `LaunchLayout::functions()` many, each
/// `extern "C" __global__ void NAME(const __grid_constant__ SYMBOL_Parameters p)` with NAME as
/// `function_symbol` says. Several kernels fit behind one prelude.
std::string generate(const Kernel& kernel, const std::string& symbol, const Target& target);

/// `symbol` for function 0, `symbol_1`, … for those after it.
std::string function_symbol(const std::string& symbol, uint32_t function);

}  // namespace encore::jit::cuda
