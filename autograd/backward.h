// Gradients: a walk over the recorded graph that records more of it.
//
// The graph of nodes that need a gradient is the tape. A walk visits it in reverse record order,
// asks each op's rule for the gradients of its inputs, and sums what meets at a node; the new nodes
// carry their forward node's place and scope and join the same trace. A walk consumes the tape:
// what it visited needs no gradient afterwards, and a second walk over it throws, unless the first
// was told to retain it. On a throw no gradient has changed and nothing was consumed.
//
// Thread rule: a graph is walked by one thread at a time.
#pragma once
#include <encore/autograd/parameter.h>

#include <vector>

namespace encore {

struct BackwardOptions {
  bool retain_graph = false;  // keep the tape for another walk
  bool create_graph = false;  // record the gradients so that they can be differentiated; retains
  bool allow_unused = false;  // grad only: what the loss does not depend on has gradient zero
};

/// Adds d(loss)/d(parameter) to the gradient of every parameter that `loss` depends on. A loss with
/// other than one element, or that needs no gradient, or whose tape is consumed, throws at `at`.
void backward(const Tensor& loss, BackwardOptions options = {},
              std::source_location at = std::source_location::current());

/// Likewise from given output gradients: adds the vector-Jacobian product of `output` with
/// `output_gradient`, which broadcasts to its shape.
void backward(const Tensor& output, const Tensor& output_gradient, BackwardOptions options = {},
              std::source_location at = std::source_location::current());

/// What a gradient is asked for: a tensor on the tape (see `variable`) or a parameter's cell.
class Target {
 public:
  Target(const Tensor& tensor) : tensor_(tensor) {}
  Target(const ParameterRef& parameter)
      : tensor_(parameter.value()), cell_(parameter.cell().get()) {}
  const Tensor& tensor() const { return tensor_; }
  const ParameterRef::Cell* cell() const { return cell_; }

 private:
  Tensor tensor_;
  const ParameterRef::Cell* cell_ = nullptr;
};

/// d(loss)/d(target) for each target, of the target's shape and dtype; no parameter's grad changes.
/// A target that the loss does not depend on throws, or gives zeros with `allow_unused`.
std::vector<Tensor> grad(const Tensor& loss, const std::vector<Target>& of,
                         BackwardOptions options = {},
                         std::source_location at = std::source_location::current());

/// Likewise from given output gradients, one per output, each of its output's shape.
std::vector<Tensor> grad(const std::vector<Tensor>& outputs,
                         const std::vector<Tensor>& output_gradients, const std::vector<Target>& of,
                         BackwardOptions options = {},
                         std::source_location at = std::source_location::current());

/// Whether `output` depends on something that needs a gradient and is no descendant of `targets`.
bool depends_on_others(const Tensor& output, const std::vector<Target>& targets);

}  // namespace encore
