// What generated CUDA code depends on besides the kernel's text.
#pragma once

namespace encore::jit::cuda {

struct Target {
  int compute_capability = 90;  // 10 * major + minor
  bool strict = false;          // reductions of floating numbers in the order of jit/kernel.h
  bool wgmma = false;           // products may be made by warpgroups where the device has them
};

}  // namespace encore::jit::cuda
