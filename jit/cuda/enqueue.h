// Hands launches to a device's stream.
#pragma once
#include <encore/jit/cuda/launch_list.h>
#include <encore/jit/cuda/memory.h>

#include <memory>
#include <utility>
#include <vector>

namespace encore::jit::cuda {

/// Scratch memory, and temporaries, of the launches that are enqueued while it lives. Giving it
/// back right after they are enqueued is safe: whoever gets it next is enqueued behind them.
class Scratch {
 public:
  Scratch(DeviceMemory& memory, LaunchList& launches)
      : memory_(memory), temporaries_(std::move(launches.temporaries)) {
    if (launches.scratch_bytes == 0) return;
    data_ = memory_.allocate(launches.scratch_bytes);
    launches.set_scratch(data_);
  }
  ~Scratch() {
    if (data_) memory_.free(data_);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

 private:
  DeviceMemory& memory_;
  std::vector<std::shared_ptr<void>> temporaries_;
  void* data_ = nullptr;
};

/// Enqueues one launch of the list; the device must have been entered.
void enqueue(const Gpu& gpu, LaunchList& launches, const LaunchList::Launch& launch);

}  // namespace encore::jit::cuda
