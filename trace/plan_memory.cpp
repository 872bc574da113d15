#include <encore/trace/place_blocks.h>
#include <encore/trace/plan_memory.h>
#include <fmt/format.h>

#include <algorithm>
#include <map>

namespace encore::trace {
namespace {

constexpr uint32_t nobody = ~0u;
/// Smaller blocks always lie in the arena; a larger one looks at so many ranges outside.
constexpr int64_t worth_hosting = 4096;
constexpr int most_tries = 64;

std::vector<Interval> find_lives(const LoweredTrace& trace, const LaunchOrder& order) {
  std::vector<Interval> lives(trace.buffers.size());
  for (uint32_t k = 0; k < trace.kernels.size(); ++k) {
    const uint32_t launch = order.launch_of[k], scratch = trace.kernels[k].scratch;
    for (uint32_t buffer : trace.kernels[k].buffers) {
      lives[buffer].first = std::min(lives[buffer].first, launch);
      lives[buffer].last = launch;
    }
    if (scratch != nobody) lives[scratch] = {launch, launch};
  }
  return lives;
}

/// Lives as memory is kept free for them.
std::vector<Interval> find_stays(const LoweredTrace& trace, const LaunchOrder& order) {
  std::vector<Interval> lives = find_lives(trace, order);
  for (uint32_t buffer = 0; buffer < lives.size(); ++buffer) {
    const uint32_t spare = trace.buffers[buffer].spare;
    Interval& life = lives[buffer];
    if (spare == 0 || life.first == nobody) continue;
    life.first -= std::min(life.first, spare);
    life.last = std::min(life.last + spare, order.launch_of.back());
  }
  return lives;
}

/// Buffers that follow each other in one place.
struct Unit {
  Interval life;  // while some kernel uses it
  int64_t bytes = 0;
  uint32_t leaf_buffer = nobody;  // the leaf that it starts as
  uint32_t output = nobody;       // the output that it ends as
  MemoryPlan::Home home = {};
};

/// Memory outside the arena, part of the time free.
struct Host {
  FixedRange range;
  MemoryPlan::Home home;
};

class Planner {
 public:
  Planner(const LoweredTrace& trace, const LaunchOrder& order, const std::vector<bool>& donated)
      : trace_(trace), order_(order), donated_(donated), lives_(find_stays(trace, order)) {}

  MemoryPlan run() {
    make_units();
    give_leaves_to_outputs();
    plan_.is_overwritten.assign(donated_.size(), false);
    for (Unit& unit : units_) settle_in_leaf_or_output(unit);
    place_intermediates();
    list_missed();
    finish();
    return std::move(plan_);
  }

 private:
  bool is_donated(const Unit& unit) const {
    return unit.leaf_buffer != nobody && donated_[trace_.buffers[unit.leaf_buffer].leaf];
  }

  void make_units() {
    unit_of_.assign(trace_.buffers.size(), nobody);
    for (uint32_t buffer = 0; buffer < trace_.buffers.size(); ++buffer) {
      uint32_t root = buffer;
      while (order_.takes_over[root] != nobody) root = order_.takes_over[root];
      if (unit_of_[root] == nobody) {
        unit_of_[root] = uint32_t(units_.size());
        units_.push_back({.bytes = trace_.buffers[root].bytes});
      }
      unit_of_[buffer] = unit_of_[root];
      Unit& unit = units_[unit_of_[buffer]];
      unit.life.first = std::min(unit.life.first, lives_[buffer].first);
      unit.life.last = std::max(unit.life.last, lives_[buffer].last);
      if (trace_.buffers[buffer].leaf != nobody) unit.leaf_buffer = buffer;
      if (trace_.buffers[buffer].is_output) unit.output = buffer;
    }
  }

  /// Of donated leaves that nothing continues, one goes to each output that is written after all
  /// that is done with the leaf.
  void give_leaves_to_outputs() {
    struct Matching {
      std::vector<uint32_t> leaves, outputs;
    };
    std::map<int64_t, Matching> by_bytes;
    for (uint32_t u = 0; u < units_.size(); ++u) {
      const Unit& unit = units_[u];
      if (unit.life.first == nobody) continue;
      if (is_donated(unit) && unit.output == nobody) by_bytes[unit.bytes].leaves.push_back(u);
      if (unit.output != nobody && unit.leaf_buffer == nobody)
        by_bytes[unit.bytes].outputs.push_back(u);
    }
    heir_of_.assign(units_.size(), nobody);
    for (auto& [bytes, all] : by_bytes) {
      std::sort(all.leaves.begin(), all.leaves.end(), [&](uint32_t a, uint32_t b) {
        return std::pair(units_[a].life.last, a) < std::pair(units_[b].life.last, b);
      });
      std::sort(all.outputs.begin(), all.outputs.end(), [&](uint32_t a, uint32_t b) {
        return std::pair(units_[a].life.first, a) < std::pair(units_[b].life.first, b);
      });
      auto leaf = all.leaves.begin();
      for (uint32_t output : all.outputs)
        if (leaf != all.leaves.end() && units_[*leaf].life.last < units_[output].life.first)
          heir_of_[*leaf++] = output;
    }
    takes_leaf_of_.assign(units_.size(), nobody);
    for (uint32_t u = 0; u < units_.size(); ++u)
      if (heir_of_[u] != nobody) takes_leaf_of_[heir_of_[u]] = u;
  }

  void settle_in_leaf_or_output(Unit& unit) {
    uint32_t number = uint32_t(&unit - units_.data()), before = takes_leaf_of_[number];
    const Unit& start = before == nobody ? unit : units_[before];
    if (start.leaf_buffer != nobody)
      unit.home.leaf = trace_.buffers[start.leaf_buffer].leaf;
    else if (unit.output != nobody)
      unit.home.output = unit.output;
    bool is_free_before = unit.leaf_buffer == nobody && unit.output != nobody && before == nobody;
    bool is_free_behind = is_donated(unit) && unit.output == nobody;
    if (unit.bytes < worth_hosting || unit.life.first == nobody) return;
    if (!is_free_before && !is_free_behind) return;
    FixedRange range(unit.bytes);
    range.close(is_free_before ? Interval{unit.life.first, nobody} : Interval{0, unit.life.last});
    if (heir_of_[number] != nobody) range.close({units_[heir_of_[number]].life.first, nobody});
    hosts_.insert({unit.bytes, {std::move(range), unit.home}});
  }

  void place_intermediates() {
    std::vector<Unit*> order;
    for (Unit& unit : units_)
      if (unit.leaf_buffer == nobody && unit.output == nobody && unit.life.first != nobody)
        order.push_back(&unit);
    std::sort(order.begin(), order.end(), [](const Unit* a, const Unit* b) {
      return std::pair(-a->bytes, a) < std::pair(-b->bytes, b);
    });
    GrowingRange arena(order_.launch_of.empty() ? 1 : order_.launch_of.back() + 1);
    for (Unit* unit : order)
      if (!find_host(*unit)) unit->home.offset = arena.place(unit->life, unit->bytes);
    plan_.arena_bytes = arena.bytes();
  }

  bool find_host(Unit& unit) {
    if (unit.bytes < worth_hosting) return false;
    auto host = hosts_.lower_bound(unit.bytes);
    for (int tries = 0; host != hosts_.end() && tries < most_tries; ++host, ++tries) {
      int64_t offset = host->second.range.place(unit.life, unit.bytes);
      if (offset == nowhere) continue;
      unit.home = host->second.home;
      unit.home.offset = offset;
      return true;
    }
    return false;
  }

  /// A leaf's memory is missed when it is given up, though nothing that outlives the program is in
  /// it.
  void list_missed() {
    std::vector<const Unit*> unit_by_leaf(donated_.size());
    for (uint32_t u = 0; u < units_.size(); ++u)
      if (is_donated(units_[u])) {
        bool inherited = units_[u].output != nobody || heir_of_[u] != nobody;
        uint32_t slot = trace_.buffers[units_[u].leaf_buffer].leaf;
        unit_by_leaf[slot] = &units_[u];
        if (inherited) continue;
        plan_.missed.push_back(fmt::format(
            "leaf {} ({} bytes): every output of its size is taken, or written before launch {} "
            "has read it",
            slot, units_[u].bytes, units_[u].life.last));
      }
    for (uint32_t slot = 0; slot < donated_.size(); ++slot)
      if (donated_[slot] && !unit_by_leaf[slot])
        plan_.missed.push_back(fmt::format("leaf {}: no kernel reads it", slot));
  }

  void finish() {
    plan_.total_bytes = plan_.arena_bytes;
    for (uint32_t buffer = 0; buffer < trace_.buffers.size(); ++buffer) {
      const PlanBuffer& b = trace_.buffers[buffer];
      MemoryPlan::Home home = units_[unit_of_[buffer]].home;
      plan_.homes.push_back(home);
      if (home.leaf != nobody && b.leaf == nobody) plan_.is_overwritten[home.leaf] = true;
      if (b.leaf != nobody || home.output == buffer) plan_.total_bytes += b.bytes;
    }
  }

  const LoweredTrace& trace_;
  const LaunchOrder& order_;
  const std::vector<bool>& donated_;
  std::vector<Interval> lives_;    // by buffer
  std::vector<uint32_t> unit_of_;  // by buffer
  std::vector<Unit> units_;
  std::vector<uint32_t> heir_of_;        // by unit: the output's unit that gets its leaf later
  std::vector<uint32_t> takes_leaf_of_;  // the other way
  std::multimap<int64_t, Host> hosts_;   // by size
  MemoryPlan plan_;
};

std::string describe(const PlanBuffer& buffer, uint32_t number, const MemoryPlan::Home& home) {
  if (buffer.leaf != nobody) return fmt::format("leaf {}", buffer.leaf);
  if (home.leaf != nobody && (buffer.is_output || home.offset == 0))
    return fmt::format("takes over leaf {}", home.leaf);
  if (home.leaf != nobody) return fmt::format("leaf {} +{}", home.leaf, home.offset);
  if (home.output == number) return "output";
  if (home.output != nobody) return fmt::format("buffer {} +{}", home.output, home.offset);
  return fmt::format("arena +{}", home.offset);
}

}  // namespace

MemoryPlan plan_memory(const LoweredTrace& trace, const LaunchOrder& order,
                       const std::vector<bool>& donated) {
  return Planner(trace, order, donated).run();
}

std::string to_text(const LoweredTrace& trace, const MemoryPlan& plan, const LaunchOrder& order) {
  std::string text =
      fmt::format("arena {} bytes\ntotal {} bytes\n", plan.arena_bytes, plan.total_bytes);
  std::vector<Interval> lives = find_lives(trace, order);
  for (uint32_t buffer = 0; buffer < trace.buffers.size(); ++buffer) {
    const PlanBuffer& b = trace.buffers[buffer];
    text += fmt::format("buffer {:>3} {:>12} bytes  %{:<5} {:<20}", buffer, b.bytes, b.node,
                        describe(b, buffer, plan.homes[buffer]));
    if (lives[buffer].first != nobody)
      text += fmt::format(" launches {}..{}", lives[buffer].first, lives[buffer].last);
    text += '\n';
  }
  for (const std::string& missed : plan.missed) text += "missed alias: " + missed + '\n';
  return text;
}

}  // namespace encore::trace
