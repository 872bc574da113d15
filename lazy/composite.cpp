// Elementwise composites: helpers and activations.
#include <encore/lazy/composite.h>
#include <encore/lazy/elementwise.h>
#include <encore/lazy/random.h>
#include <encore/lazy/refuse.h>

#include <numbers>

namespace encore {
namespace {

Tensor value_of(const Arg& x) { return as_tensor(x, DType::f32, default_device()); }

/// max(x, 0) + log1p(exp(-|x|)). The maximum's shared gradient at 0 is softplus' own, 1/2.
Tensor stable_softplus(const Tensor& x) { return maximum(x, lit(0.0)) + log1p(exp(-abs(x))); }

Tensor elu_of(const Tensor& x, const Arg& alpha) {
  Tensor above = x > lit(0.0);
  // The side that is not chosen must stay finite, or its zero gradient would turn into NaN.
  Tensor below = where(above, lit(0.0), x);
  return where(above, x, alpha * expm1(below));
}

}  // namespace

// Comparisons, not minimum and maximum: x gets no gradient at a bound, instead of half of it.
Tensor clamp_min(const Arg& x, const Arg& low) {
  Scope scope("clamp_min", x.location());
  return where(x <= low, low, x);
}

Tensor clamp_max(const Arg& x, const Arg& high) {
  Scope scope("clamp_max", x.location());
  return where(x >= high, high, x);
}

Tensor clamp(const Arg& x, const Arg& low, const Arg& high) {
  Scope scope("clamp", x.location());
  Tensor raised = where(x <= low, low, x);
  return where(raised >= high, high, raised);
}

Tensor lerp(const Arg& a, const Arg& b, const Arg& weight) {
  Scope scope("lerp", a.location());
  Tensor distance = b - a, share = as_tensor(weight, distance.dtype(), distance.device());
  return where(share < lit(0.5), a + share * distance, b - distance * (lit(1.0) - share));
}

Tensor square(const Arg& x) { return mul(x, x); }

Tensor logaddexp(const Arg& a, const Arg& b) {
  Scope scope("logaddexp", a.location());
  // Equal infinities have no difference.
  Tensor distance = where(a == b, lit(0.0), a - b);
  return maximum(a, b) + log1p(exp(-abs(distance)));
}

Tensor leaky_relu(const Arg& x, const Arg& slope) {
  Scope scope("leaky_relu", x.location());
  return where(x > lit(0.0), x, x * slope);
}

Tensor elu(const Arg& x, const Arg& alpha) {
  Scope scope("elu", x.location());
  return elu_of(value_of(x), alpha);
}

Tensor selu(const Arg& x) {
  Scope scope("selu", x.location());
  return elu_of(value_of(x), lit(1.6732632423543772848170429916717)) *
         lit(1.0507009873554804934193349852946);
}

Tensor gelu(const Arg& x, GeluForm form) {
  Scope scope("gelu", x.location());
  if (form == GeluForm::erf) {
    Tensor half = x * lit(0.5);
    return half * (erf(x * lit(1 / std::numbers::sqrt2)) + lit(1.0));
  }
  // x (1 + tanh(t)) / 2 = x sigmoid(2 t): cheaper, and nothing cancels left of 0.
  Tensor value = value_of(x);
  constexpr double twice = 2 * std::numbers::sqrt2 * std::numbers::inv_sqrtpi;
  return value * sigmoid(value * (value * value * lit(twice * 0.044715) + lit(twice)));
}

Tensor silu(const Arg& x) {
  Scope scope("silu", x.location());
  return x * sigmoid(x);
}

Tensor mish(const Arg& x) {
  Scope scope("mish", x.location());
  Tensor value = value_of(x);
  return value * tanh(stable_softplus(value));
}

Tensor hardswish(const Arg& x) {
  Scope scope("hardswish", x.location());
  return x * clamp(x + lit(3.0), lit(0.0), lit(6.0)) * lit(1.0 / 6);
}

Tensor softplus(const Arg& x) {
  Scope scope("softplus", x.location());
  return stable_softplus(value_of(x));
}

Tensor softplus(const Arg& x, const Arg& beta) {
  Scope scope("softplus", x.location());
  return stable_softplus(x * beta) / beta;
}

Tensor log_sigmoid(const Arg& x) {
  Scope scope("log_sigmoid", x.location());
  return -stable_softplus(-x);
}

Tensor dropout(const Arg& x, double p, bool training) {
  Scope scope("dropout", x.location());
  if (!(p >= 0 && p <= 1))
    refuse(Tensor::At{}, "a probability lies in [0, 1]", "dropout: p = {}", p);
  Tensor value = value_of(x);
  if (!training) return value;
  Tensor keep = bernoulli(1 - p, value.shape(), {DType::boolean, value.device()});
  // Scaled last: at p = 1 nothing is kept, and 0 * (1 / 0) would be NaN.
  return where(keep, value, lit(0.0)) * (p < 1 ? 1 / (1 - p) : 0.0);
}

}  // namespace encore
