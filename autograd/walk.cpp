#include <encore/autograd/walk.h>
#include <encore/lazy/evaluator.h>
#include <encore/lazy/record.h>

#include <algorithm>
#include <limits>

namespace encore {
namespace {

Tensor reshape_to(const Tensor& x, const Shape& shape) {
  return record({OpId::reshape, x.dtype(), x.device(), shape}, {x.node()}, {});
}

/// Sums the axes of `x` along which something of `shape` was broadcast.
Tensor sum_to(const Tensor& x, const Shape& shape) {
  int leading = x.rank() - shape.rank();
  uint32_t mask = 0;
  for (int axis = 0; axis < x.rank(); ++axis) {
    bool was_broadcast = axis < leading || (shape[axis - leading] == 1 && x.shape()[axis] != 1);
    mask |= uint32_t(was_broadcast) << axis;
  }
  Tensor sum = mask ? record_reduction(OpId::reduce_sum, x, mask, {}) : x;
  if (leading == 0) return sum;
  return reshape_to(sum, Shape(sum.shape().span().subspan(leading)));
}

/// A tape node that has no tape below it: gradients end here.
bool is_tape_leaf(const Node* node) {
  return node->op == OpId::variable && !node->inputs[0]->needs_gradient;
}

}  // namespace

Tensor fit_gradient(Tensor gradient, const Shape& shape, DType dtype) {
  if (!(gradient.shape() == shape)) {
    if (gradient.rank() >= shape.rank()) gradient = sum_to(gradient, shape);
    if (!(gradient.shape() == shape))
      gradient =
          record({OpId::expand, gradient.dtype(), gradient.device(), shape}, {gradient.node()}, {});
  }
  return gradient.to(dtype);
}

Walk::Walk(std::span<const Target> targets, BackwardOptions options, Location where)
    : targets_(targets), options_(options), where_(where), found_(targets.size()) {
  options_.retain_graph |= options_.create_graph;
  if (targets.empty()) return;
  lowest_target_ = std::numeric_limits<uint64_t>::max();
  for (const Target& target : targets)
    lowest_target_ = std::min(lowest_target_, target.cell() ? 0 : target.tensor().node()->sequence);
}

Walk::~Walk() {
  for (Arrival& arrival : heap_) release(arrival.node, Node::one_user);
  for (Node* node : visited_) release(node, Node::one_user);
}

void Walk::start(const Tensor& output, Tensor gradient) {
  Node* node = output.node();
  if (!node->needs_gradient) {
    refuse_consumed(node);
    throw Error("backward: the tensor depends on nothing that needs a gradient", where_,
                "compute it from a Parameter or from variable(x), outside NoGrad");
  }
  arrive(node, std::move(gradient));
}

void Walk::refuse_consumed(const Node* node) const {
  if (!node->tape_consumed) return;
  throw Error("backward: an earlier backward has consumed this graph", where_,
              "pass {.retain_graph = true} to the earlier one, or detach() what the two share");
}

void Walk::arrive(Node* node, Tensor gradient) {
  heap_.push_back({node, arrivals_++, std::move(gradient)});
  retain(node, Node::one_user);
  std::push_heap(heap_.begin(), heap_.end());
}

Walk::Arrival Walk::take() {
  std::pop_heap(heap_.begin(), heap_.end());
  Arrival arrival = std::move(heap_.back());
  heap_.pop_back();
  return arrival;
}

void Walk::run() {
  while (!heap_.empty()) {
    Arrival arrival = take();
    Node* node = arrival.node;
    visited_.push_back(node);  // takes over the arrival's use
    LocationOverride place(node->location, node->scope);
    Tensor gradient = std::move(arrival.gradient);
    while (!heap_.empty() && heap_.front().node == node) {
      Arrival next = take();
      release(node, Node::one_user);
      gradient = gradient + next.gradient;
    }
    if (deliver(node, gradient)) {
      differentiate(node, gradient);
    } else {
      visited_.pop_back();
      release(node, Node::one_user);
    }
  }
}

/// Hands the gradient of `node` to whoever asked for it; says whether the walk goes on below it.
bool Walk::deliver(Node* node, const Tensor& gradient) {
  std::shared_ptr<ParameterRef::Cell> cell;
  if (node->op == OpId::variable)
    cell = std::static_pointer_cast<ParameterRef::Cell>(node->cell.lock());
  for (size_t i = 0; i < targets_.size(); ++i) {
    const Target& target = targets_[i];
    bool asked = target.cell() ? target.cell() == cell.get() : target.tensor().node() == node;
    if (asked) found_[i] = found_[i].defined() ? found_[i] + gradient : gradient;
  }
  if (targets_.empty() && cell) cells_.push_back({cell, gradient});
  return !is_tape_leaf(node) && node->sequence > lowest_target_;
}

void Walk::differentiate(Node* node, const Tensor& gradient) {
  GradientRule rule = info(node->op).gradient;
  for (uint32_t i = 0; i < node->input_count; ++i) {
    Node* input = node->inputs[i];
    if (!input->needs_gradient) {
      refuse_consumed(input);
      continue;
    }
    if (input->sequence < lowest_target_) continue;
    Tensor part = rule({*node, gradient}, int(node->place_of_input(i)));
    if (part.defined()) arrive(input, fit_gradient(std::move(part), input->shape, input->dtype));
  }
}

void Walk::consume() {
  if (!options_.retain_graph) evaluator().consume_tape(visited_);
}

}  // namespace encore
