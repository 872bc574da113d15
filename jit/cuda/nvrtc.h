// NVRTC, opened at run time: CUDA C++ in, a cubin out.
//
// May be used from any thread. NVRTC 13 reads one text at a time and then works on several programs
// side by side; older ones compile one program at a time.
#pragma once
#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace encore::jit::cuda {

/// Whether there is an NVRTC that suits the driver (any, where there is no driver).
bool nvrtc_is_available();

/// "13.0"; part of the key of everything that it compiles.
const std::string& nvrtc_version();

/// Compiles for compute capability `capability` (90 is 9.0), and for no later one where the text
/// has `wgmma` instructions, with the options that make every instruction one rounding. Throws
/// Error with NVRTC's log, DeviceUnavailable where there is none.
std::vector<std::byte> compile_to_cubin(const std::string& source, int capability);
/// Likewise several programs, side by side on threads of their own, one for each of the machine's.
std::vector<std::vector<std::byte>> compile_to_cubins(std::span<const std::string> sources,
                                                      int capability);
/// To PTX, for people.
std::string compile_to_ptx(const std::string& source, int capability);

}  // namespace encore::jit::cuda
