#include <encore/lazy/elementwise.h>
#include <encore/optim/adam.h>

#include <cmath>

namespace encore {

Adam::Adam(const char* name, std::vector<ParameterRef> parameters, AdamOptions options,
           bool decoupled, Location where)
    : Optimizer(name, std::move(parameters), options.lr, where),
      options_(options),
      decoupled_(decoupled) {
  for (double beta : {options.beta1, options.beta2})
    require(beta >= 0 && beta < 1, "a beta", beta, "in [0, 1)", where);
  require(options.eps >= 0, "eps", options.eps, "at least 0", where);
  require(options.weight_decay >= 0, "the weight decay", options.weight_decay, "at least 0", where);
  first_ = zero_states(where);
  second_ = zero_states(where);
  counts_.resize(first_.size());
}

Adam::Adam(std::vector<ParameterRef> parameters, AdamOptions options, std::source_location at)
    : Adam("Adam", std::move(parameters), options, false, current_location(at)) {}

AdamW::AdamW(std::vector<ParameterRef> parameters, AdamWOptions o, std::source_location at)
    : Adam("AdamW", std::move(parameters), {o.lr, o.beta1, o.beta2, o.eps, o.weight_decay}, true,
           current_location(at)) {}

Tensor Adam::update(size_t i, const Tensor& value, const Tensor& gradient) {
  enum Slot { decay, first_share, keep, second_share, correction, epsilon, rate };
  const auto& [lr, beta1, beta2, eps, weight_decay] = options_;
  int64_t t = ++counts_[i];
  Tensor p = value, g = gradient;
  if (weight_decay != 0 && decoupled_) p = p * slot(decay, 1 - learning_rate() * weight_decay, p);
  if (weight_decay != 0 && !decoupled_) g = g + slot(decay, weight_decay, p) * p;
  Tensor& m = first_[i];
  Tensor& v = second_[i];
  m = m + slot(first_share, 1 - beta1, p) * (g - m);
  v = slot(keep, beta2, p) * v + slot(second_share, 1 - beta2, p) * g * g;
  // The corrections are computed in double on the host: a step count never enters the trace.
  double step_size = learning_rate() / (1 - std::pow(beta1, double(t)));
  double second_correction = std::sqrt(1 - std::pow(beta2, double(t)));
  Tensor denominator = sqrt(v) / slot(correction, second_correction, p, t) + slot(epsilon, eps, p);
  return p - slot(rate, step_size, p, t) * (m / denominator);
}

}  // namespace encore
