// Where chains that are too long for one kernel are cut, so that the pieces are the same kernel.
#pragma once
#include <encore/jit/backend.h>
#include <encore/trace/graph.h>

namespace encore::trace {

/// By node: the chunk that it belongs to; 0: to none, it goes where it fits. Nodes of different
/// chunks shall not share a kernel.
///
/// Chunks are made of an unrolled loop: elementwise ops of one shape, nothing else among them, that
/// repeat, hang together, and need more than `budget` instructions. Each chunk but the last has the
/// same number of repetitions, and there are as few as can be.
std::vector<uint32_t> even_chunks(const Graph& graph, const jit::Limits& limits, uint32_t budget);

}  // namespace encore::trace
