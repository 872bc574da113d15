#include <encore/core/hash.h>
#include <encore/lazy/no_sync_scope.h>
#include <encore/lazy/random.h>
#include <encore/trace/compiled_function.h>
#include <encore/trace/runtime.h>

#include <algorithm>
#include <map>
#include <mutex>

namespace encore {
namespace {

/// A recorded call: its trace, ready to run on other buffers.
struct Recording {
  trace::Recorded recorded;
  std::vector<Tensor> placeholders;  // by argument: a leaf, or a scalar
  std::vector<Tensor> results;       // what `body` returned
  std::vector<Node*> draws;          // draw indices of random tensors
};

std::vector<uint64_t> signature(const std::vector<Arg>& arguments) {
  std::vector<uint64_t> words;
  for (const Arg& arg : arguments) {
    if (arg.is_number()) {
      words.push_back(~uint64_t(0));
      continue;
    }
    const Node* node = arg.node();
    words.push_back(uint64_t(node->dtype) | uint64_t(node->device.kind) << 8 |
                    uint64_t(node->device.index) << 16 | uint64_t(node->shape.rank()) << 32);
    for (int64_t extent : node->shape) words.push_back(uint64_t(extent));
  }
  return words;
}

void check(const std::vector<Arg>& arguments, Location where) {
  for (const Arg& arg : arguments)
    if (!arg.is_number() && arg.node()->needs_gradient && gradient_enabled())
      throw Error("a compiled function was given an argument that needs a gradient", where,
                  "call grad inside the compiled function, or pass x.detach()");
}

}  // namespace

struct Recordings::State {
  std::mutex mutex;
  std::map<std::vector<uint64_t>, std::unique_ptr<Recording>> by_signature;
};

Recordings::Recordings() : state_(std::make_shared<State>()) {}

size_t Recordings::size() const {
  std::lock_guard lock(state_->mutex);
  return state_->by_signature.size();
}

namespace {

std::unique_ptr<Recording> record(const std::vector<Arg>& arguments, const Recordings::Body& body,
                                  Location where) {
  auto recording = std::make_unique<Recording>();
  auto tensor = std::find_if(arguments.begin(), arguments.end(),
                             [](const Arg& arg) { return !arg.is_number(); });
  Device device = tensor == arguments.end() ? default_device() : tensor->node()->device;
  for (const Arg& arg : arguments)
    recording->placeholders.push_back(
        arg.is_number()
            ? scalar_node(arg.number(), DType::f32, device)
            : leaf_node(arg.node()->buffer, arg.node()->dtype, arg.node()->shape, where));
  {
    // What it reads now would be a constant of all later calls.
    NoSyncScope off("a compiled function");
    recording->results = body(recording->placeholders);
  }
  for (const Tensor& result : recording->results)
    if (!result.defined())
      throw Error("a compiled function returned an empty Tensor", where,
                  "default-constructed and moved-from tensors hold no value; assign one first");
  std::vector<Node*> roots;
  for (const Tensor& result : recording->results) roots.push_back(result.node());
  trace::runtime().record(roots, where, recording->recorded);
  for (Node* node : recording->recorded.capture.nodes)
    if (node->op == OpId::random_bits) recording->draws.push_back(node->inputs[1]);
  return recording;
}

/// Puts this call's arguments in the placeholders' places while it lives.
class Bound {
 public:
  Bound(Recording& recording, const std::vector<Arg>& arguments) : recording_(recording) {
    for (size_t i = 0; i < arguments.size(); ++i) {
      Node* node = recording.placeholders[i].node();
      if (arguments[i].is_number())
        node->bits = arguments[i].number().bits_as(node->dtype);
      else
        node->buffer = arguments[i].node()->buffer;
    }
    for (Node* draw : recording.draws) draw->bits = uint64_t(next_draw_index());
  }
  ~Bound() {
    for (const Tensor& placeholder : recording_.placeholders) placeholder.node()->buffer = nullptr;
  }

 private:
  Recording& recording_;
};

}  // namespace

std::vector<Tensor> Recordings::call(const std::vector<Arg>& arguments, const Body& body,
                                     Location where) {
  check(arguments, where);
  std::vector<Node*> pending;
  for (const Arg& arg : arguments)
    if (!arg.is_number()) pending.push_back(arg.node());
  evaluator().evaluate(pending, SyncKind::read, where);
  std::lock_guard lock(state_->mutex);
  std::unique_ptr<Recording>& recording = state_->by_signature[signature(arguments)];
  if (!recording) recording = record(arguments, body, where);
  Bound bound(*recording, arguments);
  std::vector<Ref<Buffer>> buffers = trace::runtime().run(recording->recorded, where);
  std::vector<Tensor> results;
  for (const Tensor& result : recording->results) {
    const Node* node = result.node();
    int place = recording->recorded.output_of(node);
    Ref<Buffer> buffer = place >= 0 ? buffers[size_t(place)]
                                    : node->buffer;  // an argument or captured tensor itself
    results.push_back(leaf_node(std::move(buffer), node->dtype, node->shape, where));
  }
  return results;
}

}  // namespace encore
