#include <encore/trace/kernel_history.h>

#include <algorithm>

namespace encore::trace {
namespace {

/// What the kernel is with all sizes as arguments, told apart from the kernel itself.
Hash128 structure_of(jit::Kernel kernel, std::string_view device) {
  for (jit::Size& size : kernel.sizes) size.fixed = size.value == 0 || size.value == 1;
  kernel.variant = {};  // may depend on sizes
  Hash128 key = jit::key_of(kernel), on = hash_text(device);
  uint64_t words[] = {key.low, key.high, on.low, on.high};
  return hash_words(words);
}

bool takes_sizes(const jit::Kernel& kernel) {
  return std::ranges::any_of(kernel.sizes,
                             [](const jit::Size& size) { return !size.fixed && size.value > 1; });
}

}  // namespace

void KernelHistory::note(const jit::Kernel& kernel, Hash128 key, std::string_view device,
                         bool is_compiled) {
  Hash128 structure = structure_of(kernel, device);
  if (is_compiled) {
    Miss miss{reason_of(kernel, key, structure)};
    miss.difference = info(miss.reason).meaning;
    report_miss(miss, {kernel.name, key.hex()});
  }
  add(key);
  add(structure);
}

MissReason KernelHistory::reason_of(const jit::Kernel& kernel, Hash128 key,
                                    Hash128 structure) const {
  if (auto known = known_.find(key); known != known_.end())
    return known->second.is_cleared ? MissReason::cleared_kernel : MissReason::evicted_kernel;
  if (auto known = known_.find(structure); known != known_.end() && !known->second.is_cleared)
    return MissReason::second_extent;
  return takes_sizes(kernel) ? MissReason::joined_sizes : MissReason::first_structure;
}

void KernelHistory::add(Hash128 key) {
  auto [known, is_new] = known_.try_emplace(key);
  known->second.is_cleared = false;
  if (is_new) keys_.push_back(key);
  if (keys_.size() <= most_keys) return;
  known_.erase(keys_.front());
  keys_.pop_front();
}

void KernelHistory::note_cleared() {
  for (auto& [key, known] : known_) known.is_cleared = true;
}

}  // namespace encore::trace
