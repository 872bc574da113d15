#include <encore/lazy/create.h>
#include <encore/lazy/elementwise.h>
#include <encore/lazy/reduction.h>
#include <encore/optim/clip.h>
#include <fmt/format.h>

#include <cmath>

namespace encore {
namespace {

/// What one gradient adds to the joint norm: a sum of powers, or the largest magnitude.
Tensor part_of_norm(const Tensor& gradient, double order) {
  Tensor g = gradient.to(compute_dtype(gradient.dtype()));
  if (std::isinf(order)) return abs(g).max();
  if (order == 2) return (g * g).sum();
  if (order == 1) return abs(g).sum();
  return pow(abs(g), lit(order)).sum();
}

void check_bound(const char* what, double bound, Location where) {
  if (!(bound >= 0))
    throw Error(fmt::format("{}: a bound of {}", what, bound), where, "bounds are zero or more");
}

Tensor join(const Tensor& a, const Tensor& b, double order) {
  return std::isinf(order) ? maximum(a, b) : a + b;
}

}  // namespace

Tensor clip_grad_norm_(const std::vector<ParameterRef>& parameters, double max_norm,
                       NormOptions options, std::source_location at) {
  NoGrad off;
  check_bound("clip_grad_norm_", max_norm, current_location(at));
  Scope scope("clip_grad_norm_", current_location(at));
  Tensor norm;
  for (const ParameterRef& parameter : parameters) {
    if (!parameter.grad().defined()) continue;
    Tensor part = part_of_norm(parameter.grad(), options.order);
    norm = norm.defined() ? join(norm, part, options.order) : part;
  }
  if (!norm.defined()) return zeros({});
  if (options.order == 2)
    norm = sqrt(norm);
  else if (options.order != 1 && !std::isinf(options.order))
    norm = pow(norm, lit(1 / options.order));
  Tensor factor = minimum(max_norm / (norm + lit(1e-6)), lit(1.0));
  for (const ParameterRef& parameter : parameters) {
    const Tensor& gradient = parameter.grad();
    if (gradient.defined()) parameter.set_grad(gradient * factor.to(gradient.dtype()));
  }
  return norm;
}

void clip_grad_value_(const std::vector<ParameterRef>& parameters, double bound,
                      std::source_location at) {
  NoGrad off;
  check_bound("clip_grad_value_", bound, current_location(at));
  Scope scope("clip_grad_value_", current_location(at));
  for (const ParameterRef& parameter : parameters) {
    if (!parameter.grad().defined()) continue;
    const Tensor& gradient = parameter.grad();
    Tensor limit = scalar_node(bound, gradient.dtype(), gradient.device());
    parameter.set_grad(maximum(minimum(gradient, limit), -limit));
  }
}

}  // namespace encore
