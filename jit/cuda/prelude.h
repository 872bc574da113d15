// The text that generated kernels stand on, in two parts, so that tests can compile the portable
// one for the host.
#pragma once
#include <string>

namespace encore::jit::cuda {

/// What only the device can say: conversions and barriers in PTX.
std::string device_prelude();
/// Types, integer semantics, vector access, reductions; needs the functions of `device_prelude`.
std::string portable_prelude();

}  // namespace encore::jit::cuda
