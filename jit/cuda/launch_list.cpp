#include <encore/jit/cuda/launch_list.h>

#include <algorithm>

namespace encore::jit::cuda {

void LaunchList::clear() {
  launches.clear();
  blocks.clear();
  needs_scratch.clear();
  scratch_bytes = 0;
  temporaries.clear();
  pointed_to.clear();
}

size_t LaunchList::add_block(size_t bytes) {
  constexpr size_t alignment = 16;
  size_t place = blocks.size();
  blocks.resize(place + (bytes + alignment - 1) / alignment * alignment);
  return place;
}

void LaunchList::add_scratch(NeedsScratch needing) {
  needs_scratch.push_back(needing);
  scratch_bytes = std::max(scratch_bytes, needing.bytes);
}

bool LaunchList::separate_scratch(size_t most) {
  size_t total = 0;
  for (const NeedsScratch& needing : needs_scratch) total += needing.bytes;
  if (total > most) return false;
  size_t offset = 0;
  for (NeedsScratch& needing : needs_scratch) {
    needing.offset = offset;
    offset += needing.bytes;
  }
  scratch_bytes = total;
  return true;
}

void LaunchList::set_scratch(void* scratch) {
  for (const NeedsScratch& needing : needs_scratch)
    needing.code->set_scratch(block(needing.block),
                              static_cast<std::byte*>(scratch) + needing.offset);
}

}  // namespace encore::jit::cuda
