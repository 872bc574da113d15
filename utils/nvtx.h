// Forwards name scopes, syncs and kernels to a tool that listens to NVTX (Nsight Systems and the
// like), as ranges of the thread that does them.
#pragma once
#include <string>

namespace encore {

/// What ENCORE_NVTX=1 does. The tool is the library that NVTX_INJECTION64_PATH names, as tools set
/// it for the programs that they start; without one, libnvToolsExt, where the system has it. Empty:
/// a tool listens; else why none does.
std::string forward_to_nvtx();

}  // namespace encore
