// Runs generated CUDA C on the host: the text is compiled as C++, a block's threads are fibers that
// take turns, and warps trade values at barriers. Slow and exact, so that generated code can be
// compared with the interpreter where there is no GPU.
#pragma once
#include <encore/jit/cuda/generate.h>

#include <memory>
#include <string>
#include <vector>

#include "random_kernel.h"

namespace encore::jit::cuda {

/// What generated code stands on instead of device_prelude().
std::string emulator_shim();

/// What follows generated code: for each kernel NAME in it an EmulatedKernel `run_NAME` and
/// `unsigned long size_NAME()`, the bytes of its parameter block.
std::string emulator_calls(const std::string& text);
using EmulatedKernel = void (*)(const void* block, unsigned grid, unsigned threads,
                                unsigned shared_bytes);

class EmulatedProgram {
 public:
  /// Compiles all kernels into one library; throws Error with the compiler's words.
  EmulatedProgram(const std::vector<const Kernel*>& kernels, const Target& target);
  ~EmulatedProgram();
  EmulatedProgram(const EmulatedProgram&) = delete;

  /// Runs the `index`-th kernel on these segments.
  void launch(size_t index, std::span<const Segment> segments) const;
  /// As run_on does for a backend; `misaligned`: with arguments aligned to 8 bytes only.
  std::vector<LaunchData> run(size_t index, const RandomKernel& random,
                              bool misaligned = false) const;

 private:
  std::vector<LaunchLayout> layouts_;
  std::string folder_;
  void* library_ = nullptr;
};

}  // namespace encore::jit::cuda
