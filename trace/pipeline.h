// The compiler: a captured trace in, a program out. One page; the passes stand in order.
#pragma once
#include <encore/trace/kernel_store.h>
#include <encore/trace/program.h>

namespace encore::trace {

/// `where` is the sync that asked. Throws what a pass or the backend throws; nothing has changed
/// then.
std::shared_ptr<const Program> compile(const Capture& capture, jit::Backend& backend,
                                       KernelStore& kernels, Location where);
/// Likewise for the capture's graph with other outputs, which are not what its key says.
std::shared_ptr<const Program> compile(Graph graph, const Capture& capture, jit::Backend& backend,
                                       KernelStore& kernels, Location where);

/// What `compile` would make of the capture, for people: graph, clusters, kernels, memory. Compiles
/// nothing.
std::string explain(const Capture& capture, jit::Backend& backend);

}  // namespace encore::trace
