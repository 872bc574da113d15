#include <encore/jit/cuda/launch_list.h>

namespace encore::jit::cuda {

void LaunchList::clear() {
  launches.clear();
  blocks.clear();
  needs_scratch.clear();
  scratch_bytes = 0;
}

size_t LaunchList::add_block(size_t bytes) {
  constexpr size_t alignment = 16;
  size_t place = blocks.size();
  blocks.resize(place + (bytes + alignment - 1) / alignment * alignment);
  return place;
}

void LaunchList::set_scratch(void* scratch) {
  for (const NeedsScratch& needing : needs_scratch)
    needing.code->set_scratch(block(needing.block), scratch);
}

}  // namespace encore::jit::cuda
