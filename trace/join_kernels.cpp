#include <encore/trace/join_kernels.h>
#include <encore/trace/kernel_store.h>

#include <algorithm>
#include <map>
#include <queue>

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

std::vector<uint32_t> join_kernels(LoweredTrace& trace, bool fusing) {
  uint32_t count = uint32_t(trace.kernels.size());
  Edges users = find_users(trace);
  std::vector<uint32_t> heights = find_heights(users), group_of(count);
  std::vector<std::vector<uint32_t>> groups;
  std::map<std::pair<Hash128, uint32_t>, uint32_t> known;
  for (uint32_t k = 0; k < count; ++k) {
    group_of[k] = uint32_t(groups.size());
    if (fusing && !trace.kernels[k].kernel.contraction) {
      auto key = std::pair(structure_key(trace.kernels[k].kernel), heights[k]);
      group_of[k] = known.try_emplace(key, group_of[k]).first->second;
    }
    if (group_of[k] == groups.size()) groups.emplace_back();
    groups[group_of[k]].push_back(k);
  }
  // Groups in an order that can run; among those ready, the one whose last kernel came first.
  std::vector<uint32_t> waiting(groups.size());
  for (uint32_t k = 0; k < count; ++k)
    for (uint32_t user : users[k]) ++waiting[group_of[user]];
  using Ready = std::pair<uint32_t, uint32_t>;
  std::priority_queue<Ready, std::vector<Ready>, std::greater<>> ready;
  for (uint32_t g = 0; g < groups.size(); ++g)
    if (waiting[g] == 0) ready.push({groups[g].back(), g});
  std::vector<PlannedKernel> ordered;
  std::vector<uint32_t> launch_of;
  for (uint32_t launch = 0; !ready.empty(); ++launch) {
    uint32_t g = ready.top().second;
    ready.pop();
    for (uint32_t k : groups[g]) {
      ordered.push_back(std::move(trace.kernels[k]));
      launch_of.push_back(launch);
      for (uint32_t user : users[k])
        if (--waiting[group_of[user]] == 0)
          ready.push({groups[group_of[user]].back(), group_of[user]});
    }
  }
  ENCORE_ASSERT(ordered.size() == count);
  trace.kernels = std::move(ordered);
  return launch_of;
}

}  // namespace encore::trace
