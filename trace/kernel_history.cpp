#include <encore/trace/kernel_history.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace encore::trace {
namespace {

constexpr uint32_t any_variant = ~0u;

/// What the kernel is with all sizes as arguments, told apart from the kernel itself.
Hash128 structure_of(const AskedKernel& asked, uint32_t variant) {
  jit::Kernel kernel = asked.kernel;
  for (jit::Size& size : kernel.sizes) size.fixed = size.value == 0 || size.value == 1;
  kernel.variant = {};  // of fixed sizes it may be another number
  Hash128 key = jit::key_of(kernel), on = hash_text(asked.device);
  uint64_t words[] = {key.low, key.high, on.low, on.high, variant};
  return hash_words(words);
}

bool takes_sizes(const jit::Kernel& kernel) {
  return std::ranges::any_of(kernel.sizes,
                             [](const jit::Size& size) { return !size.fixed && size.value > 1; });
}

std::vector<int64_t> extents_of(const jit::Kernel& kernel) {
  std::vector<int64_t> extents;
  for (const jit::Axis& axis : kernel.axes) extents.push_back(kernel.size(axis.extent));
  return extents;
}

std::string text_of(const std::vector<int64_t>& extents) {
  return fmt::format("[{}]", fmt::join(extents, ", "));
}

}  // namespace

Miss KernelHistory::explain(const AskedKernel& asked) const {
  Miss miss;
  miss.where = asked.where;
  auto because = [&](MissReason reason, const Known* known = nullptr) {
    miss.reason = reason;
    miss.difference = info(reason).meaning;
    if (!known) return miss;
    miss.known_where = known->where;
    const std::vector<int64_t> now = extents_of(asked.kernel);
    std::string then = text_of(known->extents);
    if (known->where.line) then += fmt::format(" at {}", short_place(known->where));
    miss.difference +=
        now == known->extents
            ? fmt::format(", in its strides alone; its extents are {} as {}", text_of(now), then)
            : fmt::format(": its extents are {} now, and were {}", text_of(now), then);
    return miss;
  };
  if (auto known = known_.find(asked.key); known != known_.end())
    return because(known->second.is_cleared ? MissReason::cleared_kernel
                                            : MissReason::evicted_kernel);
  if (const Known* known = find(structure_of(asked, asked.variant)))
    return because(MissReason::second_extent, known);
  if (const Known* known = find(structure_of(asked, any_variant)))
    return because(MissReason::variant, known);
  if (asked.is_joined) return because(MissReason::joined_sizes);
  // Who comes with the second extents may be another process.
  return because(takes_sizes(asked.kernel) ? MissReason::second_extent
                                           : MissReason::first_structure);
}

/// Null where it is not known, or was before the caches were cleared.
const KernelHistory::Known* KernelHistory::find(Hash128 key) const {
  auto known = known_.find(key);
  return known == known_.end() || known->second.is_cleared ? nullptr : &known->second;
}

void KernelHistory::add(const AskedKernel& asked) {
  const Known known{false, extents_of(asked.kernel), asked.where};
  add(asked.key, {});
  add(structure_of(asked, asked.variant), known);
  add(structure_of(asked, any_variant), known);
}

void KernelHistory::add(Hash128 key, Known known) {
  auto [place, is_new] = known_.try_emplace(key, std::move(known));
  place->second.is_cleared = false;
  if (is_new) keys_.push_back(key);
  if (keys_.size() <= most_keys) return;
  known_.erase(keys_.front());
  keys_.pop_front();
}

void KernelHistory::note_cleared() {
  for (auto& [key, known] : known_) known.is_cleared = true;
}

}  // namespace encore::trace
