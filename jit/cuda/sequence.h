// The launches of a program, replayed: directly the first time, from then on as one CUDA graph;
// directly, too, while somebody wants to know how long each takes.
//
// In the graph a launch waits only for those that it depends on, so that small ones run side by
// side; directly they run in order. A library's call is captured as a graph in the graph. At each
// run every launch is packed anew and compared, byte by byte, with what its node holds; a node that
// differs is set, a call captured anew, before the graph is launched. So a graph never runs on old
// addresses, whatever has moved. A node's parameters are copied when the
// graph is launched, so a run may be patched while the one before is still on its way.
//
// Threads: one run at a time.
#pragma once
#include <encore/jit/cuda/launch_list.h>
#include <encore/jit/cuda/launch_timer.h>
#include <encore/jit/cuda/memory.h>

#include <memory>
#include <vector>

namespace encore::jit::cuda {

class GraphSequence final : public Sequence {
 public:
  /// Fewer launches than this are not worth a graph.
  static constexpr size_t fewest_launches = 3;
  /// Where launches need more scratch memory together they share it, and take turns.
  static constexpr size_t most_separate_scratch = size_t(64) << 20;

  GraphSequence(const Gpu& gpu, DeviceMemory& memory,
                std::vector<std::shared_ptr<const Executable>> code, Dependencies waits_for,
                std::shared_ptr<const Labels> labels = nullptr, LaunchTimer* timer = nullptr);
  ~GraphSequence() override;

  void run(std::span<const std::span<const Segment>> launches, Progress& progress) override;

 private:
  void launch_directly(Progress& progress);
  void launch_timed(Progress& progress);
  template <class Act>
  void launch(Progress& progress, Act act);
  bool graph_fits() const;
  void build();
  void add_nodes();
  void add_node(const LaunchList::Launch& launch, const std::vector<CUgraphNode>& behind);
  bool patch();
  bool set_node(CUgraphNode node, const LaunchList::Launch& launch);
  void drop_graph() noexcept;

  const Gpu& gpu_;
  DeviceMemory& memory_;
  std::vector<std::shared_ptr<const Executable>> code_;
  Dependencies waits_for_;  // by executable
  std::shared_ptr<const Labels> labels_;
  LaunchTimer* timer_;
  std::vector<size_t> ends_;  // of each executable's launches in `now_`
  bool side_by_side_ = true;  // whether those that need not wait for each other may run at once
  LaunchList now_;            // of this run
  LaunchList in_graph_;       // what the nodes hold
  std::vector<size_t> ends_in_graph_;
  bool graph_is_side_by_side_ = true;
  CUgraph graph_ = nullptr;
  CUgraphExec executable_ = nullptr;
  std::vector<CUgraphNode> nodes_;
  bool has_run_ = false;
};

}  // namespace encore::jit::cuda
