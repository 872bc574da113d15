#include <encore/autograd/backward.h>
#include <encore/autograd/walk.h>
#include <encore/lazy/create.h>
#include <encore/lazy/record.h>
#include <fmt/format.h>

#include <limits>
#include <unordered_set>

namespace encore {
namespace {

/// Whether the rules' own nodes can be differentiated again.
class GradientMode {
 public:
  explicit GradientMode(bool record) {
    if (record)
      on_.emplace();
    else
      off_.emplace();
  }

 private:
  std::optional<WithGrad> on_;
  std::optional<NoGrad> off_;
};

void check_scalar(const Tensor& loss, const char* what, Location where) {
  if (loss.numel(where) == 1) return;
  throw Error(fmt::format("{}: the loss has shape {}, not one element", what, loss.shape().text()),
              where, "reduce it first, as in loss.mean(), or pass the output's gradient");
}

Tensor one_like(const Tensor& loss) {
  return fit_gradient(literal_node(1.0, loss.dtype(), loss.device()), loss.shape(), loss.dtype());
}

void accumulate(Walk& walk) {
  for (auto& [cell, gradient] : walk.cell_gradients())
    cell->gradient = cell->gradient.defined() ? cell->gradient + gradient : std::move(gradient);
}

}  // namespace

void backward(const Tensor& loss, BackwardOptions options, std::source_location at) {
  Location where = current_location(at);
  check_scalar(loss, "backward", where);
  GradientMode mode(options.create_graph);
  Scope scope("backward", where);
  Walk walk({}, options, where);
  walk.start(loss, one_like(loss));
  walk.run();
  accumulate(walk);
  walk.consume();
}

void backward(const Tensor& output, const Tensor& output_gradient, BackwardOptions options,
              std::source_location at) {
  Location where = current_location(at);
  if (!broadcasts_to(output_gradient.shape(where), output.shape(where)))
    throw Error(fmt::format("backward: an output gradient of shape {} for an output of shape {}",
                            output_gradient.shape().text(), output.shape().text()),
                where, "give a gradient that broadcasts to the output");
  GradientMode mode(options.create_graph);
  Scope scope("backward", where);
  Walk walk({}, options, where);
  walk.start(output, fit_gradient(output_gradient, output.shape(), output.dtype()));
  walk.run();
  accumulate(walk);
  walk.consume();
}

std::vector<Tensor> grad(const Tensor& loss, const std::vector<Target>& of, BackwardOptions options,
                         std::source_location at) {
  check_scalar(loss, "grad", current_location(at));
  return grad({loss}, {one_like(loss)}, of, options, at);
}

std::vector<Tensor> grad(const std::vector<Tensor>& outputs,
                         const std::vector<Tensor>& output_gradients, const std::vector<Target>& of,
                         BackwardOptions options, std::source_location at) {
  Location where = current_location(at);
  if (outputs.size() != output_gradients.size())
    throw Error(fmt::format("grad: {} outputs but {} output gradients", outputs.size(),
                            output_gradients.size()),
                where, "give one gradient for each output");
  for (size_t i = 0; i < outputs.size(); ++i)
    if (!(output_gradients[i].shape() == outputs[i].shape()))
      throw Error(fmt::format("grad: an output gradient of shape {} for an output of shape {}",
                              output_gradients[i].shape().text(), outputs[i].shape().text()),
                  where, "give each output a gradient of its shape");
  for (const Target& target : of)
    if (!target.cell() && !target.tensor().requires_grad())
      throw Error("grad: a tensor that needs no gradient was asked for one", where,
                  "compute the loss from v = variable(x) and ask for v, or use grad(f)");
  GradientMode mode(options.create_graph);
  Scope scope("grad", where);
  Walk walk(of, options, where);
  for (size_t i = 0; i < outputs.size(); ++i)
    if (outputs[i].requires_grad() || outputs[i].node()->tape_consumed || !options.allow_unused)
      walk.start(outputs[i],
                 fit_gradient(output_gradients[i], outputs[i].shape(), outputs[i].dtype()));
  walk.run();
  std::vector<Tensor> gradients = std::move(walk.target_gradients());
  for (size_t i = 0; i < of.size(); ++i) {
    if (gradients[i].defined()) continue;
    const Tensor& target = of[i].tensor();
    if (!options.allow_unused)
      throw Error(fmt::format("grad: the loss does not depend on target {} (of shape {})", i,
                              target.shape().text()),
                  where, "pass {.allow_unused = true} to get zeros");
    gradients[i] = zeros(target.shape(), {.dtype = target.dtype(), .device = target.device()});
  }
  walk.consume();
  return gradients;
}

void Tensor::backward(std::source_location at) const { encore::backward(*this, {}, at); }

bool depends_on_others(const Tensor& output, const std::vector<Target>& targets) {
  uint64_t lowest = std::numeric_limits<uint64_t>::max();
  std::unordered_set<const Node*> seen;
  for (const Target& target : targets) {
    seen.insert(target.tensor().node());
    lowest = std::min(lowest, target.tensor().node()->sequence);
    for (const Node* input : target.tensor().node()->input_span())
      if (input->needs_gradient) return true;
  }
  std::vector<const Node*> open;
  auto visit = [&](const Node* node) {
    if (node->needs_gradient && seen.insert(node).second) open.push_back(node);
  };
  visit(output.node());
  while (!open.empty()) {
    const Node* node = open.back();
    open.pop_back();
    if (node->sequence < lowest || node->op == OpId::variable) return true;
    for (const Node* input : node->input_span()) visit(input);
  }
  return false;
}

}  // namespace encore
