#include <encore/jit/cuda/enqueue.h>

namespace encore::jit::cuda {

void enqueue(const Gpu& gpu, LaunchList& launches, const LaunchList::Launch& launch) {
  if (launch.call) return launch.call->enqueue(launches.block(launch.block), gpu.stream());
  void* parameters[] = {launches.block(launch.block)};
  const Geometry& geometry = launch.geometry;
  driver().cuLaunchKernel(launch.function, geometry.grid_x, 1, 1, geometry.threads, 1, 1,
                          geometry.shared_bytes, gpu.stream(), parameters, nullptr);
}

}  // namespace encore::jit::cuda
