// The fixed part of generated contractions: device code that every such kernel is put together
// from.
#pragma once
#include <string_view>

namespace encore::jit::cuda {

/// Functions that are single machine instructions (PTX): tensor-core products, loads of their
/// fragments, asynchronous copies, clusters of blocks. Tests put functions of the host in their
/// place.
std::string_view contraction_intrinsics();

/// Tiles in shared memory, how they are filled, and the multipliers that consume them. In
/// `namespace contraction`; needs `contraction_intrinsics`.
std::string_view contraction_tiles();

}  // namespace encore::jit::cuda
