#include <encore/trace/plan_scratch.h>

#include <algorithm>

namespace encore::trace {
namespace {

constexpr uint32_t nobody = ~0u;
/// Scratch memory may enlarge a program by its 25th, or by so much.
constexpr int64_t share = 25, always_allowed = 1 << 16;
/// Launches before and after one that find other memory than it has.
constexpr uint32_t spare = 2;
/// Plans that are made to find out who may have more than it needs.
constexpr int most_tries = 64;

struct Wish {
  uint32_t kernel, buffer;
  jit::ScratchWish bytes;
};

class ScratchPlanner {
 public:
  ScratchPlanner(const std::vector<bool>& donated, LoweredTrace& trace, LaunchOrder& order,
                 MemoryPlan& plan)
      : donated_(donated),
        trace_(trace),
        order_(order),
        plan_(plan),
        allowed_(plan.total_bytes + std::max(plan.total_bytes / share, always_allowed)) {}

  void ask(std::span<const std::shared_ptr<const jit::Executable>> code) {
    for (uint32_t k = 0; k < trace_.kernels.size(); ++k) {
      const PlannedKernel& kernel = trace_.kernels[k];
      std::vector<void*> arguments;
      for (uint32_t buffer : kernel.buffers) arguments.push_back(stand_in(buffer));
      std::vector<int64_t> sizes;
      for (const jit::Size& size : kernel.kernel.sizes) sizes.push_back(size.value);
      const jit::Segment segment{arguments.data(), sizes.data(), nullptr};
      const jit::ScratchWish bytes = code[order_.launch_of[k]]->scratch(segment);
      if (bytes.best == 0) continue;
      wishes_.push_back({k, uint32_t(trace_.buffers.size()), bytes});
      trace_.buffers.push_back({.node = result_of(kernel), .is_scratch = true});
      order_.takes_over.push_back(nobody);
    }
  }

  void run() {
    if (wishes_.empty()) return;
    for (const Wish& wish : wishes_) give(wish, wish.bytes.best);
    for (uint32_t launches : {spare, 0u}) {
      for (const Wish& wish : wishes_) trace_.buffers[wish.buffer].spare = launches;
      plan_again();
      if (plan_.total_bytes <= allowed_) return;
    }
    for (const Wish& wish : wishes_) give(wish, wish.bytes.least);
    plan_again();
    give_more();
  }

 private:
  /// An address for all buffers that continue in one memory.
  void* stand_in(uint32_t buffer) const {
    while (order_.takes_over[buffer] != nobody) buffer = order_.takes_over[buffer];
    return reinterpret_cast<void*>(uintptr_t(buffer) + 1);
  }

  NodeId result_of(const PlannedKernel& kernel) const {
    for (size_t i = 0; i < kernel.buffers.size(); ++i)
      if (kernel.kernel.arguments[i].use != jit::Use::read)
        return trace_.buffers[kernel.buffers[i]].node;
    return 0;
  }

  void give(const Wish& wish, size_t bytes) {
    trace_.buffers[wish.buffer].bytes = int64_t(bytes);
    trace_.kernels[wish.kernel].scratch = bytes ? wish.buffer : nobody;
  }

  void plan_again() { plan_ = plan_memory(trace_, order_, donated_); }

  /// To those that want most first, wherever there is room.
  void give_more() {
    const int64_t allowed = std::max(allowed_, plan_.total_bytes);
    std::stable_sort(wishes_.begin(), wishes_.end(), [](const Wish& a, const Wish& b) {
      return a.bytes.best - a.bytes.least > b.bytes.best - b.bytes.least;
    });
    int tries = 0;
    for (const Wish& wish : wishes_) {
      if (wish.bytes.best == wish.bytes.least || ++tries > most_tries) break;
      give(wish, wish.bytes.best);
      MemoryPlan with = plan_memory(trace_, order_, donated_);
      if (with.total_bytes <= allowed)
        plan_ = std::move(with);
      else
        give(wish, wish.bytes.least);
    }
  }

  const std::vector<bool>& donated_;
  LoweredTrace& trace_;
  LaunchOrder& order_;
  MemoryPlan& plan_;
  const int64_t allowed_;
  std::vector<Wish> wishes_;
};

}  // namespace

void plan_scratch(std::span<const std::shared_ptr<const jit::Executable>> code,
                  const std::vector<bool>& donated, LoweredTrace& trace, LaunchOrder& order,
                  MemoryPlan& plan) {
  ScratchPlanner planner(donated, trace, order, plan);
  planner.ask(code);
  planner.run();
}

}  // namespace encore::trace
