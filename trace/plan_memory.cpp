#include <encore/trace/lower.h>
#include <encore/trace/plan_memory.h>
#include <fmt/format.h>

#include <algorithm>

namespace encore::trace {
namespace {

using jit::Access;
using jit::Kernel;
using jit::none;

constexpr uint32_t nobody = ~0u;
constexpr int64_t alignment = 64;

struct Life {
  uint32_t first = nobody, last = 0;  // launches that touch it
  uint32_t last_kernel = 0;
  bool shared_last = false;  // several kernels of the last launch touch it
};

std::vector<Life> find_lives(const LoweredTrace& trace, const std::vector<uint32_t>& launch_of) {
  std::vector<Life> lives(trace.buffers.size());
  for (uint32_t k = 0; k < trace.kernels.size(); ++k)
    for (uint32_t buffer : trace.kernels[k].buffers) {
      Life& life = lives[buffer];
      life.shared_last = life.first != nobody && life.last == launch_of[k] && life.last_kernel != k;
      life.first = std::min(life.first, launch_of[k]);
      life.last = launch_of[k];
      life.last_kernel = k;
    }
  return lives;
}

bool same_map(const Kernel& kernel, const Access& a, const Access& b) {
  if (a.offset != none || b.offset != none || kernel.size(a.base) != kernel.size(b.base))
    return false;
  if (a.predicate != none || b.predicate != none || a.strides.size() != b.strides.size())
    return false;
  for (size_t axis = 0; axis < a.strides.size(); ++axis)
    if (kernel.size(a.strides[axis]) != kernel.size(b.strides[axis])) return false;
  return true;
}

/// Whether each point of the kernel has an element of its own: on no axis is one visited again.
bool visits_once(const Kernel& kernel, const Access& access) {
  for (size_t axis = 0; axis < kernel.axes.size(); ++axis) {
    bool repeats = axis >= access.strides.size() || kernel.size(access.strides[axis]) == 0;
    if (repeats && kernel.axes[axis].role != jit::Role::contracted &&
        kernel.size(kernel.axes[axis].extent) != 1)
      return false;
  }
  return true;
}

/// Whether `reads` and `writes` may be the same memory: one store, which visits each element once,
/// and before it, outside contraction operands and accumulators' stores, only loads by the same map.
bool may_share(const Kernel& kernel, uint32_t reads, uint32_t writes) {
  if (kernel.arguments[reads].dtype != kernel.arguments[writes].dtype) return false;
  const Access* target = nullptr;
  uint32_t store_at = 0;
  for (uint32_t i = 0; i < kernel.instructions.size(); ++i) {
    const jit::Instruction& instruction = kernel.instructions[i];
    if (instruction.op != Opcode::store || kernel.accesses[instruction.aux].argument != writes)
      continue;
    if (target) return false;
    target = &kernel.accesses[instruction.aux];
    store_at = i;
  }
  if (!target || !visits_once(kernel, *target)) return false;
  for (uint32_t i = 0; i < kernel.instructions.size(); ++i) {
    const jit::Instruction& instruction = kernel.instructions[i];
    if (instruction.op != Opcode::load || kernel.accesses[instruction.aux].argument != reads)
      continue;
    bool in_operand =
        kernel.contraction && i < kernel.contraction->b_end && i >= kernel.contraction->a_begin;
    if (in_operand || i > store_at || !same_map(kernel, kernel.accesses[instruction.aux], *target))
      return false;
  }
  return true;
}

class Planner {
 public:
  Planner(const LoweredTrace& trace, const std::vector<uint32_t>& launch_of,
          const std::vector<bool>& donated)
      : trace_(trace), donated_(donated), lives_(find_lives(trace, launch_of)) {}

  MemoryPlan run() {
    plan_.arena_offset.assign(trace_.buffers.size(), MemoryPlan::in_no_arena);
    plan_.takes_over_leaf.assign(trace_.buffers.size(), nobody);
    for (uint32_t buffer = 0; buffer < trace_.buffers.size(); ++buffer)
      if (is_donated(buffer)) find_heir(buffer);
    place_in_arena();
    return std::move(plan_);
  }

 private:
  bool is_donated(uint32_t buffer) const {
    const PlanBuffer& b = trace_.buffers[buffer];
    return b.leaf != nobody && donated_[b.leaf] && !b.is_output;
  }

  void find_heir(uint32_t leaf) {
    if (lives_[leaf].first == nobody) return;
    const PlannedKernel& last = trace_.kernels[lives_[leaf].last_kernel];
    if (lives_[leaf].shared_last) return find_later_heir(leaf);
    uint32_t reads = argument_of(last, leaf);
    for (uint32_t argument = 0; argument < last.buffers.size(); ++argument) {
      uint32_t heir = last.buffers[argument];
      const PlanBuffer& candidate = trace_.buffers[heir];
      if (candidate.leaf != nobody || !candidate.is_output ||
          candidate.bytes != trace_.buffers[leaf].bytes)
        continue;
      if (plan_.takes_over_leaf[heir] != nobody || lives_[heir].first != lives_[leaf].last)
        continue;
      if (last.kernel.arguments[argument].use != jit::Use::write ||
          !may_share(last.kernel, reads, argument))
        continue;
      plan_.takes_over_leaf[heir] = trace_.buffers[leaf].leaf;
      return;
    }
    find_later_heir(leaf);
  }

  /// Any output of that size which is first written after the leaf's last reader.
  void find_later_heir(uint32_t leaf) {
    for (uint32_t heir = 0; heir < trace_.buffers.size(); ++heir) {
      const PlanBuffer& candidate = trace_.buffers[heir];
      bool fits = candidate.leaf == nobody && candidate.is_output &&
                  candidate.bytes == trace_.buffers[leaf].bytes;
      if (!fits || plan_.takes_over_leaf[heir] != nobody || lives_[heir].first == nobody ||
          lives_[heir].first <= lives_[leaf].last)
        continue;
      plan_.takes_over_leaf[heir] = trace_.buffers[leaf].leaf;
      return;
    }
    plan_.missed.push_back(
        fmt::format("leaf {} ({} bytes): no output of its size is written where it is last read",
                    trace_.buffers[leaf].leaf, trace_.buffers[leaf].bytes));
  }

  static uint32_t argument_of(const PlannedKernel& kernel, uint32_t buffer) {
    return uint32_t(std::find(kernel.buffers.begin(), kernel.buffers.end(), buffer) -
                    kernel.buffers.begin());
  }

  /// First fit, larger buffers first.
  void place_in_arena() {
    std::vector<uint32_t> order;
    for (uint32_t buffer = 0; buffer < trace_.buffers.size(); ++buffer)
      if (trace_.buffers[buffer].leaf == nobody && !trace_.buffers[buffer].is_output &&
          lives_[buffer].first != nobody)
        order.push_back(buffer);
    std::stable_sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) {
      return trace_.buffers[a].bytes > trace_.buffers[b].bytes;
    });
    std::vector<uint32_t> placed;
    for (uint32_t buffer : order) {
      int64_t bytes = (trace_.buffers[buffer].bytes + alignment - 1) / alignment * alignment;
      int64_t offset = 0;
      for (uint32_t other : placed) {  // by ascending offset
        bool meets = lives_[other].first <= lives_[buffer].last &&
                     lives_[buffer].first <= lives_[other].last;
        if (!meets) continue;
        int64_t begin = plan_.arena_offset[other];
        if (offset + bytes <= begin) break;
        offset = std::max(
            offset, begin + (trace_.buffers[other].bytes + alignment - 1) / alignment * alignment);
      }
      plan_.arena_offset[buffer] = offset;
      plan_.arena_bytes = std::max(plan_.arena_bytes, offset + bytes);
      placed.insert(std::upper_bound(placed.begin(), placed.end(), buffer,
                                     [&](uint32_t a, uint32_t b) {
                                       return plan_.arena_offset[a] < plan_.arena_offset[b];
                                     }),
                    buffer);
    }
  }

  const LoweredTrace& trace_;
  const std::vector<bool>& donated_;
  std::vector<Life> lives_;
  MemoryPlan plan_;
};

}  // namespace

MemoryPlan plan_memory(const LoweredTrace& trace, const std::vector<uint32_t>& launch_of,
                       const std::vector<bool>& donated) {
  return Planner(trace, launch_of, donated).run();
}

std::string to_text(const LoweredTrace& trace, const MemoryPlan& plan,
                    const std::vector<uint32_t>& launch_of) {
  std::string text = fmt::format("arena {} bytes\n", plan.arena_bytes);
  std::vector<Life> lives = find_lives(trace, launch_of);
  for (uint32_t buffer = 0; buffer < trace.buffers.size(); ++buffer) {
    const PlanBuffer& b = trace.buffers[buffer];
    std::string place = b.leaf != nobody ? fmt::format("leaf {}", b.leaf)
                        : plan.takes_over_leaf[buffer] != nobody
                            ? fmt::format("takes over leaf {}", plan.takes_over_leaf[buffer])
                        : b.is_output ? "output"
                                      : fmt::format("arena +{}", plan.arena_offset[buffer]);
    text += fmt::format("buffer {:>3} {:>12} bytes  %{:<5} {:<20}", buffer, b.bytes, b.node, place);
    if (lives[buffer].first != nobody)
      text += fmt::format(" launches {}..{}", lives[buffer].first, lives[buffer].last);
    text += '\n';
  }
  for (const std::string& missed : plan.missed) text += "missed alias: " + missed + '\n';
  return text;
}

}  // namespace encore::trace
