#include <encore/trace/may_share.h>
#include <encore/trace/order_launches.h>

#include <algorithm>
#include <queue>
#include <set>
#include <tuple>

namespace encore::trace {
namespace {

constexpr uint32_t nobody = LaunchOrder::nobody;
/// Not worth looking at: inputs with more readers, and changes of the order over more launches.
constexpr size_t most_readers = 16, longest_detour = 1024;

using Lists = std::vector<std::vector<uint32_t>>;

/// `input`, dead after `group` otherwise, and `result`, which that group writes.
struct Pair {
  uint32_t input, result, group;
};

class Orderer {
 public:
  Orderer(LoweredTrace& trace, const Lists& groups, const Lists& users,
          const std::vector<bool>& donated)
      : trace_(trace), groups_(groups), donated_(donated), touching_(trace.buffers.size()) {
    std::vector<uint32_t> group_of(trace.kernels.size());
    for (uint32_t g = 0; g < groups.size(); ++g)
      for (uint32_t k : groups[g]) group_of[k] = g;
    users_.resize(groups.size());
    for (uint32_t k = 0; k < users.size(); ++k)
      for (uint32_t user : users[k]) users_[group_of[k]].push_back(group_of[user]);
    for (uint32_t g = 0; g < groups.size(); ++g)
      for (uint32_t k : groups[g])
        for (uint32_t buffer : trace.kernels[k].buffers) touching_[buffer].push_back(g);
    result_.takes_over.assign(trace.buffers.size(), nobody);
  }

  LaunchOrder run() {
    settle(in_program_order());
    for (const Pair& pair : find_pairs()) share_if_possible(pair);
    name_roots();
    std::vector<uint32_t> plain = in_program_order(), thrifty = by_least_alive();
    write_order(peak_of(thrifty) < peak_of(plain) ? thrifty : plain);
    return std::move(result_);
  }

 private:
  // --- order ------------------------------------------------------------------------------------

  std::vector<uint32_t> count_waiting() const {
    std::vector<uint32_t> waiting(groups_.size());
    for (const auto& users : users_)
      for (uint32_t user : users) ++waiting[user];
    return waiting;
  }

  /// Of those ready, the one whose last kernel came first.
  std::vector<uint32_t> in_program_order() const {
    std::vector<uint32_t> waiting = count_waiting(), order;
    using Ready = std::pair<uint32_t, uint32_t>;
    std::priority_queue<Ready, std::vector<Ready>, std::greater<>> ready;
    auto add = [&](uint32_t g) { ready.push({groups_[g].back(), g}); };
    for (uint32_t g = 0; g < groups_.size(); ++g)
      if (waiting[g] == 0) add(g);
    while (!ready.empty()) {
      uint32_t g = ready.top().second;
      ready.pop();
      order.push_back(g);
      for (uint32_t user : users_[g])
        if (--waiting[user] == 0) add(user);
    }
    ENCORE_ASSERT(order.size() == groups_.size());
    return order;
  }

  void settle(std::vector<uint32_t> order) {
    order_ = std::move(order);
    place_of_.resize(order_.size());
    for (uint32_t i = 0; i < order_.size(); ++i) place_of_[order_[i]] = i;
  }

  // --- pairs ------------------------------------------------------------------------------------

  bool may_end(uint32_t buffer) const {
    const PlanBuffer& b = trace_.buffers[buffer];
    return !b.is_output && (b.leaf == nobody || donated_[b.leaf]);
  }

  std::vector<Pair> find_pairs() const {
    std::vector<Pair> pairs;
    for (uint32_t g = 0; g < groups_.size(); ++g)
      for (uint32_t k : groups_[g]) {
        const PlannedKernel& kernel = trace_.kernels[k];
        for (uint32_t reads = 0; reads < kernel.buffers.size(); ++reads) {
          uint32_t input = kernel.buffers[reads];
          const auto& touching = touching_[input];
          if (kernel.kernel.arguments[reads].use != jit::Use::read || !may_end(input) ||
              touching.size() > most_readers || std::count(touching.begin(), touching.end(), g) > 1)
            continue;
          for (uint32_t writes = 0; writes < kernel.buffers.size(); ++writes)
            if (may_follow(kernel, reads, writes))
              pairs.push_back({input, kernel.buffers[writes], g});
        }
      }
    auto rank = [&](const Pair& pair) {
      const PlanBuffer& input = trace_.buffers[pair.input];
      return std::tuple(-input.bytes, input.leaf == nobody, pair.group, pair.input, pair.result);
    };
    std::sort(pairs.begin(), pairs.end(),
              [&](const Pair& a, const Pair& b) { return rank(a) < rank(b); });
    return pairs;
  }

  bool may_follow(const PlannedKernel& kernel, uint32_t reads, uint32_t writes) const {
    const PlanBuffer& from = trace_.buffers[kernel.buffers[reads]];
    const PlanBuffer& to = trace_.buffers[kernel.buffers[writes]];
    return kernel.kernel.arguments[writes].use == jit::Use::write && to.leaf == nobody &&
           from.bytes == to.bytes && may_share(kernel.kernel, reads, writes);
  }

  void share_if_possible(const Pair& pair) {
    if (result_.takes_over[pair.result] != nobody || is_taken(pair.input)) return;
    std::vector<uint32_t> others;
    for (uint32_t g : touching_[pair.input])
      if (g != pair.group) others.push_back(g);
    if (!run_after(pair.group, others)) return;
    result_.takes_over[pair.result] = pair.input;
    taken_.resize(trace_.buffers.size());
    taken_[pair.input] = true;
  }

  bool is_taken(uint32_t buffer) const { return !taken_.empty() && taken_[buffer]; }

  /// Makes `group` run after all of `others`, unless one of them needs it. What needs the group
  /// moves with it.
  bool run_after(uint32_t group, const std::vector<uint32_t>& others) {
    uint32_t begin = place_of_[group], end = begin;
    for (uint32_t other : others) end = std::max(end, place_of_[other]);
    if (end - begin > longest_detour) return false;
    std::vector<bool> moves(end - begin + 1);
    moves[0] = true;
    for (uint32_t i = begin; i <= end; ++i) {
      if (!moves[i - begin]) continue;
      for (uint32_t user : users_[order_[i]])
        if (place_of_[user] <= end) moves[place_of_[user] - begin] = true;
    }
    for (uint32_t other : others)
      if (place_of_[other] >= begin && moves[place_of_[other] - begin]) return false;
    if (end > begin) {
      std::vector<uint32_t> moved;
      uint32_t next = begin;
      for (uint32_t i = begin; i <= end; ++i)
        if (moves[i - begin])
          moved.push_back(order_[i]);
        else
          order_[next++] = order_[i];
      std::copy(moved.begin(), moved.end(), order_.begin() + next);
      for (uint32_t i = begin; i <= end; ++i) place_of_[order_[i]] = i;
    }
    for (uint32_t other : others) users_[other].push_back(group);
    return true;
  }

  // --- what is alive ----------------------------------------------------------------------------

  /// Buffers that share memory are one to what follows: all name the first of their chain.
  void name_roots() {
    root_of_.resize(trace_.buffers.size());
    outlives_.resize(trace_.buffers.size());
    for (uint32_t buffer = 0; buffer < trace_.buffers.size(); ++buffer) {
      uint32_t root = buffer;
      while (result_.takes_over[root] != nobody) root = result_.takes_over[root];
      root_of_[buffer] = root;
      const PlanBuffer& b = trace_.buffers[buffer];
      if (b.is_output || (b.leaf != nobody && !donated_[b.leaf])) outlives_[root] = true;
      if (root == buffer) continue;
      auto& all = touching_[root];
      all.insert(all.end(), touching_[buffer].begin(), touching_[buffer].end());
    }
    for (auto& all : touching_) {
      std::sort(all.begin(), all.end());
      all.erase(std::unique(all.begin(), all.end()), all.end());
    }
    roots_.resize(groups_.size());
    for (uint32_t buffer = 0; buffer < trace_.buffers.size(); ++buffer)
      if (root_of_[buffer] == buffer)
        for (uint32_t g : touching_[buffer]) roots_[g].push_back(buffer);
  }

  bool is_given(uint32_t root) const { return trace_.buffers[root].leaf != nobody; }

  int64_t peak_of(const std::vector<uint32_t>& order) const {
    std::vector<uint32_t> left(trace_.buffers.size());
    std::vector<bool> alive(trace_.buffers.size());
    int64_t now = 0, peak = 0;
    for (uint32_t g : order) {
      for (uint32_t root : roots_[g])
        if (!alive[root]) {
          alive[root] = true;
          left[root] = uint32_t(touching_[root].size());
          now += is_given(root) ? 0 : trace_.buffers[root].bytes;
        }
      peak = std::max(peak, now);
      for (uint32_t root : roots_[g])
        if (--left[root] == 0 && !outlives_[root]) now -= trace_.buffers[root].bytes;
    }
    return peak;
  }

  /// List scheduling: the ready launch that leaves the least alive; program order breaks ties.
  std::vector<uint32_t> by_least_alive() const {
    std::vector<uint32_t> waiting = count_waiting(), left(trace_.buffers.size()), order;
    std::vector<bool> alive(trace_.buffers.size()), is_ready(groups_.size());
    for (uint32_t root = 0; root < left.size(); ++root)
      left[root] = uint32_t(touching_[root].size());
    auto growth = [&](uint32_t g) {
      int64_t bytes = 0;
      for (uint32_t root : roots_[g]) {
        if (!alive[root] && !is_given(root)) bytes += trace_.buffers[root].bytes;
        if (left[root] == 1 && !outlives_[root]) bytes -= trace_.buffers[root].bytes;
      }
      return bytes;
    };
    using Ready = std::tuple<int64_t, uint32_t, uint32_t>;
    std::set<Ready> ready;
    std::vector<int64_t> known(groups_.size());
    auto add = [&](uint32_t g) {
      is_ready[g] = true;
      known[g] = growth(g);
      ready.insert({known[g], groups_[g].back(), g});
    };
    for (uint32_t g = 0; g < groups_.size(); ++g)
      if (waiting[g] == 0) add(g);
    while (!ready.empty()) {
      uint32_t g = std::get<2>(*ready.begin());
      ready.erase(ready.begin());
      is_ready[g] = false;
      order.push_back(g);
      for (uint32_t root : roots_[g]) {
        bool is_new = !alive[root];
        alive[root] = true;
        --left[root];
        if (!is_new && left[root] != 1) continue;
        for (uint32_t other : touching_[root])
          if (is_ready[other]) {
            ready.erase({known[other], groups_[other].back(), other});
            add(other);
          }
      }
      for (uint32_t user : users_[g])
        if (--waiting[user] == 0) add(user);
    }
    return order;
  }

  void write_order(const std::vector<uint32_t>& order) {
    std::vector<PlannedKernel> kernels;
    for (uint32_t launch = 0; launch < order.size(); ++launch)
      for (uint32_t k : groups_[order[launch]]) {
        kernels.push_back(std::move(trace_.kernels[k]));
        result_.launch_of.push_back(launch);
      }
    trace_.kernels = std::move(kernels);
  }

  LoweredTrace& trace_;
  const Lists& groups_;
  const std::vector<bool>& donated_;
  Lists touching_, users_, roots_;          // by buffer; by group; by group
  std::vector<uint32_t> order_, place_of_;  // groups in an order that respects what is decided
  std::vector<uint32_t> root_of_;
  std::vector<bool> taken_, outlives_;  // by buffer; by root
  LaunchOrder result_;
};

}  // namespace

LaunchOrder order_launches(LoweredTrace& trace, const Lists& groups, const Lists& users,
                           const std::vector<bool>& donated) {
  return Orderer(trace, groups, users, donated).run();
}

}  // namespace encore::trace
