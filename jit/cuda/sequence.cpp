#include <encore/core/span.h>
#include <encore/jit/cuda/enqueue.h>
#include <encore/jit/cuda/sequence.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace encore::jit::cuda {
namespace {

/// A node's parameters as the driver wants them; `block` must outlive it.
struct NodeParameters {
  NodeParameters(LaunchList& launches, const LaunchList::Launch& launch)
      : block{launches.block(launch.block)},
        node{.func = launch.function,
             .gridDimX = launch.geometry.grid_x,
             .gridDimY = 1,
             .gridDimZ = 1,
             .blockDimX = launch.geometry.threads,
             .blockDimY = 1,
             .blockDimZ = 1,
             .sharedMemBytes = launch.geometry.shared_bytes,
             .kernelParams = block,
             .extra = nullptr,
             .kern = nullptr,
             .ctx = nullptr} {}
  NodeParameters(const NodeParameters&) = delete;
  NodeParameters& operator=(const NodeParameters&) = delete;

  void* block[1];
  CUDA_KERNEL_NODE_PARAMS node;
};

/// What a library enqueues for a launch, while it lives.
class CapturedCall {
 public:
  CapturedCall(const Gpu& gpu, const LaunchList& launches, const LaunchList::Launch& launch)
      : graph_(gpu.capture([&](CUstream stream) {
          launch.call->enqueue(launches.block(launch.block), stream);
        })) {}
  ~CapturedCall() { driver().cuGraphDestroy.status(graph_); }
  CapturedCall(const CapturedCall&) = delete;
  CapturedCall& operator=(const CapturedCall&) = delete;
  CUgraph graph() const { return graph_; }

 private:
  CUgraph graph_;
};

}  // namespace

GraphSequence::GraphSequence(const Gpu& gpu, DeviceMemory& memory,
                             std::vector<std::shared_ptr<const Executable>> code,
                             Dependencies waits_for, std::shared_ptr<const Labels> labels,
                             LaunchTimer* timer)
    : gpu_(gpu),
      memory_(memory),
      code_(std::move(code)),
      waits_for_(std::move(waits_for)),
      labels_(std::move(labels)),
      timer_(timer) {}

GraphSequence::~GraphSequence() { drop_graph(); }

/// A launch for which there is no memory has not begun; after any other failure it may have.
template <class Act>
void GraphSequence::launch(Progress& progress, Act act) {
  const bool launched = std::exchange(progress.launched, true);
  try {
    in_room(memory_, act);
  } catch (const OutOfMemory&) {
    progress.launched = launched;
    throw;
  }
}

void GraphSequence::run(std::span<const std::span<const Segment>> launches, Progress& progress) {
  gpu_.enter();
  now_.clear();
  ends_.clear();
  for (size_t i = 0; i < launches.size(); ++i) {
    static_cast<const Launchable&>(*code_[i]).pack(launches[i], now_);
    ends_.push_back(now_.launches.size());
  }
  side_by_side_ = now_.separate_scratch(most_separate_scratch);
  Scratch scratch(memory_, now_);
  if (timer_ && events::wanted(events::kernel_times)) return launch_timed(progress);
  bool first = !has_run_;
  has_run_ = true;
  if (first || now_.launches.size() < fewest_launches) return launch_directly(progress);
  if (!graph_fits() || !patch()) {
    drop_graph();
    in_room(memory_, [&] { build(); });
  }
  launch(progress, [&] { driver().cuGraphLaunch(executable_, gpu_.stream()); });
  ++progress.graphs;
}

void GraphSequence::launch_directly(Progress& progress) {
  for (const LaunchList::Launch& one : now_.launches)
    launch(progress, [&] { enqueue(gpu_, now_, one); });
}

void GraphSequence::launch_timed(Progress& progress) {
  bool timed = events::wanted(EventKind::kernel);
  if (timed) {
    timer_->harvest(false);
    timer_->mark(gpu_.stream(), nullptr, 0);
  }
  size_t next = 0;
  for (size_t i = 0; i < ends_.size(); ++i) {
    Span span("launch", (*labels_)[i].name);
    for (; next < ends_[i]; ++next)
      launch(progress, [&] { enqueue(gpu_, now_, now_.launches[next]); });
    if (timed) timer_->mark(gpu_.stream(), labels_, i);
  }
}

/// A node keeps its function, or whom it calls, and what it waits for; everything else of it can be
/// set.
bool GraphSequence::graph_fits() const {
  if (!executable_ || ends_ != ends_in_graph_ || side_by_side_ != graph_is_side_by_side_)
    return false;
  for (size_t i = 0; i < nodes_.size(); ++i) {
    const LaunchList::Launch& wanted = now_.launches[i];
    const LaunchList::Launch& held = in_graph_.launches[i];
    if (wanted.function != held.function || wanted.call != held.call ||
        wanted.block != held.block || wanted.is_behind != held.is_behind)
      return false;
  }
  return true;
}

void GraphSequence::build() {
  try {
    driver().cuGraphCreate(&graph_, 0);
    add_nodes();
    driver().cuGraphInstantiate(&executable_, graph_, 0);
  } catch (...) {
    drop_graph();
    throw;
  }
  std::swap(now_, in_graph_);
  ends_in_graph_ = ends_;
  graph_is_side_by_side_ = side_by_side_;
}

/// An executable's launches with one parameter block are steps, one behind the other, and so are a
/// library's call and what is behind it; several blocks are parts of one launch that was too large,
/// and wait for nothing of each other.
void GraphSequence::add_nodes() {
  std::vector<std::vector<CUgraphNode>> last(code_.size());  // of each executable's parts
  for (size_t i = 0, next = 0; i < code_.size(); ++i) {
    std::vector<CUgraphNode> before;
    if (!side_by_side_ && i > 0) before = last[i - 1];
    for (uint32_t earlier : waits_for_[i])
      if (side_by_side_) before.insert(before.end(), last[earlier].begin(), last[earlier].end());
    // One that launches nothing passes on what it waits for.
    if (next == ends_[i]) last[i] = before;
    for (size_t first = next; next < ends_[i]; ++next) {
      bool is_step = next > first && (now_.launches[next].is_behind ||
                                      now_.launches[next].block == now_.launches[next - 1].block);
      bool is_part = next > first && !is_step && !side_by_side_;
      add_node(now_.launches[next],
               is_step || is_part ? std::vector<CUgraphNode>{nodes_.back()} : before);
      if (is_step || is_part)
        last[i].back() = nodes_.back();
      else
        last[i].push_back(nodes_.back());
    }
  }
}

void GraphSequence::add_node(const LaunchList::Launch& launch,
                             const std::vector<CUgraphNode>& behind) {
  std::vector<CUgraphNode> once = behind;
  std::sort(once.begin(), once.end());
  once.erase(std::unique(once.begin(), once.end()), once.end());
  const CUgraphNode* before = once.empty() ? nullptr : once.data();
  CUgraphNode node = nullptr;
  if (launch.call) {
    const CapturedCall captured(gpu_, now_, launch);
    driver().cuGraphAddChildGraphNode(&node, graph_, before, once.size(), captured.graph());
  } else {
    NodeParameters parameters(now_, launch);
    driver().cuGraphAddKernelNode(&node, graph_, before, once.size(), &parameters.node);
  }
  nodes_.push_back(node);
}

/// False where a call is no longer made of the same launches.
bool GraphSequence::set_node(CUgraphNode node, const LaunchList::Launch& launch) {
  if (launch.call) {
    const CapturedCall captured(gpu_, now_, launch);
    const CUresult result =
        driver().cuGraphExecChildGraphNodeSetParams.status(executable_, node, captured.graph());
    if (result == CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE) return false;
    if (result) throw_failed(result, "cuGraphExecChildGraphNodeSetParams");
    return true;
  }
  NodeParameters parameters(now_, launch);
  driver().cuGraphExecKernelNodeSetParams(executable_, node, &parameters.node);
  return true;
}

/// False where the graph must be built anew.
bool GraphSequence::patch() {
  try {
    for (size_t i = 0; i < nodes_.size(); ++i) {
      const LaunchList::Launch& wanted = now_.launches[i];
      const LaunchList::Launch& held = in_graph_.launches[i];
      if (wanted.geometry == held.geometry && wanted.block_bytes == held.block_bytes &&
          std::memcmp(now_.block(wanted.block), in_graph_.block(held.block), held.block_bytes) == 0)
        continue;
      if (!set_node(nodes_[i], wanted)) return false;
    }
  } catch (...) {
    drop_graph();  // some nodes are new and some are old
    throw;
  }
  std::swap(now_, in_graph_);
  return true;
}

void GraphSequence::drop_graph() noexcept {
  // One that is still on its way is freed by the driver when it is done.
  if (executable_) driver().cuGraphExecDestroy.status(executable_);
  if (graph_) driver().cuGraphDestroy.status(graph_);
  executable_ = nullptr;
  graph_ = nullptr;
  nodes_.clear();
}

}  // namespace encore::jit::cuda
