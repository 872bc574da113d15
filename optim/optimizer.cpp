#include <encore/autograd/backward.h>
#include <encore/lazy/create.h>
#include <encore/lazy/evaluator.h>
#include <encore/lazy/record.h>
#include <encore/optim/optimizer.h>
#include <fmt/format.h>

#include <cmath>
#include <set>

namespace encore {
namespace {

void compute(const std::vector<ParameterRef>& parameters, Location where) {
  std::vector<Node*> roots;
  for (const ParameterRef& parameter : parameters) roots.push_back(parameter.value().node());
  evaluator().evaluate(roots, SyncKind::step, where);
}

/// Parameters that were made alike are one value in one memory, which a step cannot overwrite for
/// each: all but the first get memory of their own, so that the first step is every step.
void separate(const std::vector<ParameterRef>& parameters, Location where) {
  std::set<const Buffer*> taken;
  for (const ParameterRef& parameter : parameters) {
    const Buffer* shared = parameter.value().node()->buffer.get();  // none: a view, computed later
    if (!shared || taken.insert(shared).second) continue;
    std::vector<std::byte> values(size_t(parameter.numel()) * size_of(parameter.dtype()));
    evaluator().copy_to_host(values.data(), *shared, 0, values.size(), where);
    Ref<Buffer> own = evaluator().allocate(parameter.device(), values.size(), where);
    evaluator().copy_to_device(*own, values.data(), values.size(), where);
    parameter.set_value(leaf_node(std::move(own), parameter.dtype(), parameter.shape(), where));
  }
}

std::string described(const ParameterRef& parameter) {
  return parameter.name().empty() ? "a parameter" : fmt::format("parameter {}", parameter.name());
}

}  // namespace

Optimizer::Optimizer(const char* name, std::vector<ParameterRef> parameters, double learning_rate,
                     Location where)
    : name_(name), parameters_(std::move(parameters)), learning_rate_(learning_rate) {
  if (parameters_.empty())
    throw Error(fmt::format("{}: no parameters were given", name_), where,
                "pass model.parameters(); does its class list them in ENCORE_MEMBERS?");
  require(learning_rate >= 0, "the learning rate", learning_rate, "at least 0", where);
  std::set<const ParameterRef::Cell*> cells;
  for (const ParameterRef& parameter : parameters_) {
    if (!parameter.defined())
      throw Error(fmt::format("{}: {} is empty", name_, described(parameter)), where,
                  "assign it a value first");
    if (!cells.insert(parameter.cell().get()).second)
      throw Error(fmt::format("{}: {} is given twice", name_, described(parameter)), where,
                  "each would be updated twice a step; pass a parameter once");
    if (!is_floating(parameter.dtype()))
      throw Error(fmt::format("{}: {} has dtype {}", name_, described(parameter),
                              name_of(parameter.dtype())),
                  where, "only floating parameters can be trained");
  }
  compute(parameters_, where);
  separate(parameters_, where);
}

void Optimizer::require(bool holds, const char* what, double value, const char* range,
                        Location where) const {
  if (holds && std::isfinite(value)) return;
  throw Error(fmt::format("{}: {} is {}", name_, what, value), where,
              fmt::format("it is finite and {}", range));
}

void Optimizer::step(std::source_location at) { update_all(current_location(at), true); }

void Optimizer::minimize(const Tensor& loss, std::source_location at) {
  zero_grad();
  backward(loss, {}, at);
  update_all(current_location(at), false);
}

void Optimizer::update_all(Location where, bool keep_gradients) {
  NoGrad off;
  Scope scope(name_, where);
  for (const ParameterRef& parameter : parameters_) check_gradient(parameter, where);
  ++steps_;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const ParameterRef& parameter = parameters_[i];
    if (parameter.grad().defined())
      parameter.set_value(update(i, parameter.value(), parameter.grad().detach()));
  }
  slots_.clear();
  if (!keep_gradients) zero_grad();
  compute(parameters_, where);
}

void Optimizer::zero_grad() {
  for (const ParameterRef& parameter : parameters_) parameter.zero_grad();
}

void Optimizer::check_gradient(const ParameterRef& parameter, Location where) const {
  const Tensor& gradient = parameter.grad();
  if (!gradient.defined()) return;
  if (gradient.shape() == parameter.shape() && gradient.dtype() == parameter.dtype() &&
      gradient.device() == parameter.device())
    return;
  throw Error(fmt::format("{}: {} is {}{} but its gradient is {}{}", name_, described(parameter),
                          name_of(parameter.dtype()), parameter.shape().text(),
                          name_of(gradient.dtype()), gradient.shape().text()),
              where, "call zero_grad after a parameter got another shape, dtype or device");
}

std::vector<Tensor> Optimizer::zero_states(Location where) const {
  std::vector<Tensor> states;
  for (const ParameterRef& parameter : parameters_) {
    size_t bytes = size_t(parameter.numel()) * size_of(parameter.dtype());
    Ref<Buffer> buffer = evaluator().allocate(parameter.device(), bytes, where);
    std::vector<std::byte> zeros(bytes);
    evaluator().copy_to_device(*buffer, zeros.data(), bytes, where);
    states.push_back(leaf_node(std::move(buffer), parameter.dtype(), parameter.shape(), where));
  }
  return states;
}

const Tensor& Optimizer::slot(int which, double number, const Tensor& like, int64_t variant) {
  Device device = like.device();
  Tensor& held = slots_[{which, variant, like.dtype(), device.kind, device.index}];
  if (!held.defined()) held = scalar_node(number, like.dtype(), device);
  return held;
}

}  // namespace encore
