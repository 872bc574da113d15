#include <encore/lazy/record.h>
#include <encore/optim/sgd.h>

namespace encore {

Sgd::Sgd(std::vector<ParameterRef> parameters, SgdOptions options, std::source_location at)
    : Optimizer("Sgd", std::move(parameters), options.lr, current_location(at)), options_(options) {
  Location where = current_location(at);
  require(options_.momentum >= 0, "the momentum", options_.momentum, "at least 0", where);
  require(options_.weight_decay >= 0, "the weight decay", options_.weight_decay, "at least 0",
          where);
  require(true, "the dampening", options_.dampening, "any number", where);
  if (options_.nesterov && (options_.momentum <= 0 || options_.dampening != 0))
    throw Error("Sgd: Nesterov momentum needs momentum and no dampening", where,
                "set .momentum above 0 and .dampening to 0");
  if (options_.momentum == 0) return;
  momentum_ = zero_states(where);
  has_momentum_.resize(momentum_.size());
}

Tensor Sgd::update(size_t i, const Tensor& value, const Tensor& gradient) {
  enum Slot { decay, momentum, share, rate };
  Tensor g = gradient;
  if (options_.weight_decay != 0) g = g + slot(decay, options_.weight_decay, value) * value;
  if (!momentum_.empty()) {
    // The state is zero before its first gradient, which enters undampened.
    bool first = !has_momentum_[i];
    has_momentum_[i] = true;
    const Tensor& keep = slot(momentum, options_.momentum, value);
    const Tensor& take = slot(share, first ? 1 : 1 - options_.dampening, value, first);
    momentum_[i] = keep * momentum_[i] + take * g;
    g = options_.nesterov ? g + keep * momentum_[i] : momentum_[i];
  }
  return value - slot(rate, learning_rate(), value) * g;
}

}  // namespace encore
