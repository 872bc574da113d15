#include <encore/trace/join_kernels.h>
#include <encore/trace/kernel_store.h>

#include <algorithm>
#include <map>

namespace encore::trace {
namespace {

using Edges = std::vector<std::vector<uint32_t>>;

/// For each kernel the kernels that must come after it.
Edges find_users(const LoweredTrace& trace) {
  Edges users(trace.kernels.size());
  std::vector<std::vector<uint32_t>> writers(trace.buffers.size());
  for (uint32_t k = 0; k < trace.kernels.size(); ++k) {
    const PlannedKernel& kernel = trace.kernels[k];
    for (uint32_t a = 0; a < kernel.buffers.size(); ++a) {
      for (uint32_t writer : writers[kernel.buffers[a]])
        if (writer != k) users[writer].push_back(k);
    }
    for (uint32_t a = 0; a < kernel.buffers.size(); ++a)
      if (kernel.kernel.arguments[a].use != jit::Use::read) writers[kernel.buffers[a]].push_back(k);
  }
  return users;
}

/// Longest way to the end. Kernels of one height never depend on each other, and joining kernels of
/// equal heights makes no cycle.
std::vector<uint32_t> find_heights(const Edges& users) {
  std::vector<uint32_t> heights(users.size());
  for (uint32_t k = uint32_t(users.size()); k-- > 0;)
    for (uint32_t user : users[k]) heights[k] = std::max(heights[k], heights[user] + 1);
  return heights;
}

}  // namespace

LaunchOrder join_kernels(LoweredTrace& trace, const std::vector<bool>& donated, bool fusing) {
  uint32_t count = uint32_t(trace.kernels.size());
  Edges users = find_users(trace);
  std::vector<uint32_t> heights = find_heights(users);
  std::vector<std::vector<uint32_t>> groups;
  std::map<std::pair<Hash128, uint32_t>, uint32_t> known;
  for (uint32_t k = 0; k < count; ++k) {
    uint32_t group = uint32_t(groups.size());
    if (fusing && !trace.kernels[k].kernel.contraction) {
      auto key = std::pair(structure_key(trace.kernels[k].kernel), heights[k]);
      group = known.try_emplace(key, group).first->second;
    }
    if (group == groups.size()) groups.emplace_back();
    groups[group].push_back(k);
  }
  return order_launches(trace, groups, users, donated);
}

}  // namespace encore::trace
