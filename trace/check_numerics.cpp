#include <encore/core/settings.h>
#include <encore/trace/check_numerics.h>
#include <encore/trace/pipeline.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

namespace encore::trace {
namespace {

template <class T>
bool all_finite(const std::byte* data, size_t bytes) {
  for (size_t at = 0; at < bytes; at += sizeof(T)) {
    T value;
    std::memcpy(static_cast<void*>(&value), data + at, sizeof(T));
    if constexpr (std::is_same_v<T, double>) {
      if (!std::isfinite(value)) return false;
    } else if (!std::isfinite(float(value))) {
      return false;
    }
  }
  return true;
}

/// Whether numbers of `dtype` hold no NaN and no infinity; integers never do.
bool is_finite(const void* data, DType dtype, size_t bytes) {
  auto* from = static_cast<const std::byte*>(data);
  switch (dtype) {
    case DType::f64:
      return all_finite<double>(from, bytes);
    case DType::f32:
      return all_finite<float>(from, bytes);
    case DType::f16:
      return all_finite<Half>(from, bytes);
    case DType::bf16:
      return all_finite<BFloat16>(from, bytes);
    default:
      return true;
  }
}

bool is_finite(const Buffer& buffer, DType dtype, const Shape& shape, jit::Backend& backend) {
  if (!is_floating(dtype) || shape.numel() == 0) return true;
  std::vector<std::byte> bytes(size_t(shape.numel()) * size_of(dtype));
  backend.copy_to_host(bytes.data(), buffer.data(), bytes.size());
  return is_finite(bytes.data(), dtype, bytes.size());
}

bool is_finite(const Node& node, const Buffer& buffer, jit::Backend& backend) {
  return is_finite(buffer, node.dtype, node.shape, backend);
}

/// A number that was written down is no accident: -inf is how a mask is spelled.
bool is_finite_number(const GraphNode& node, uint64_t bits) {
  return is_finite(&bits, node.dtype, size_of(node.dtype));
}

/// `settings().fuse` is read under the runtime's lock only, which is held.
class Unfused {
 public:
  Unfused() : before_(settings().fuse) { settings().fuse = false; }
  ~Unfused() { settings().fuse = before_; }

 private:
  bool before_;
};

class Search {
 public:
  Search(const Capture& capture, jit::Backend& backend)
      : capture_(capture), backend_(backend), graph_(build_graph(capture)) {
    for (NodeId id = 0; id < graph_.nodes.size(); ++id)
      if (!graph_.nodes[id].inputs.empty()) computed_.push_back(id);
  }

  /// The graph with every op's result as an output.
  Graph whole() const {
    Graph graph = graph_;
    graph.outputs = computed_;
    return graph;
  }

  std::optional<Error> judge(const std::vector<Ref<Buffer>>& values) const {
    std::vector<bool> finite(graph_.nodes.size(), true);
    for (NodeId id = 0; id < graph_.nodes.size(); ++id) {
      const GraphNode& node = graph_.nodes[id];
      if (node.op == OpId::literal) finite[id] = is_finite_number(node, node.bits);
      if (node.op == OpId::scalar)
        finite[id] = is_finite_number(node, capture_.scalars[node.slot].node->bits);
    }
    for (size_t i = 0; i < computed_.size(); ++i) {
      NodeId id = computed_[i];
      const GraphNode& node = graph_.nodes[id];
      finite[id] = is_finite(*values[i], node.dtype, node.shape, backend_);
      auto is_clean = [&](NodeId input) { return finite[input]; };
      if (!finite[id] && std::all_of(node.inputs.begin(), node.inputs.end(), is_clean))
        return accuse(node);
    }
    return {};
  }

 private:
  Error accuse(const GraphNode& node) const {
    std::string name(name_of(node.op));
    if (node.scope) name = fmt::format("{} (in {})", name, node.scope);
    return Error(
        fmt::format("{} made a NaN or an infinity out of finite numbers; its result is {}{}", name,
                    name_of(node.dtype), node.shape.text()),
        node.location, "ENCORE_CHECK_NUMERICS is on; results are kept and may be looked at");
  }

  const Capture& capture_;
  jit::Backend& backend_;
  Graph graph_;
  std::vector<NodeId> computed_;
};

}  // namespace

std::optional<Error> find_culprit(const Capture& capture, const std::vector<Ref<Buffer>>& outputs,
                                  jit::Backend& backend, KernelStore& kernels,
                                  ReplayScratch& scratch, Location where) {
  bool clean = true;
  for (size_t i = 0; clean && i < outputs.size(); ++i)
    clean = is_finite(*capture.outputs[i], *outputs[i], backend);
  for (size_t i = 0; !clean && i < capture.leaves.size(); ++i)
    if (!is_finite(*capture.leaves[i], *capture.leaves[i]->buffer, backend)) return {};
  if (clean) return {};
  Unfused unfused;
  Search search(capture, backend);
  auto program = compile(search.whole(), capture, backend, kernels, where);
  return search.judge(replay(*program, capture, backend, scratch));
}

}  // namespace encore::trace
