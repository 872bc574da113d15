// Who made the NaN? Under ENCORE_CHECK_NUMERICS a program whose results hold a NaN or an infinity
// that nothing it read had is run again with every op a kernel of its own.
//
// Used under the runtime's lock.
#pragma once
#include <encore/core/error.h>
#include <encore/trace/kernel_store.h>
#include <encore/trace/program.h>

#include <optional>

namespace encore::trace {

/// An error at the line of the first op that made a NaN or an infinity out of finite numbers, if
/// `outputs`, which are the capture's, hold one. The capture's leaves must still have their values.
std::optional<Error> find_culprit(const Capture& capture, const std::vector<Ref<Buffer>>& outputs,
                                  jit::Backend& backend, KernelStore& kernels,
                                  ReplayScratch& scratch, Location where);

}  // namespace encore::trace
