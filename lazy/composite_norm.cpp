#include <encore/lazy/composite_work.h>
#include <encore/lazy/movement.h>

namespace encore {
namespace {

/// The last axes of x, which must have the extents `normalized`.
Tensor::Axes last_axes(const Tensor& x, const Shape& normalized, const char* what, Location at) {
  int first = x.rank() - normalized.rank();
  bool fits = first >= 0 && normalized.rank() > 0;
  Tensor::Axes axes;
  for (int i = 0; fits && i < normalized.rank(); ++i) {
    fits = x.shape()[first + i] == normalized[i];
    axes.push_back(first + i);
  }
  if (!fits)
    throw Error(fmt::format("{}: the last axes of {} are not {}", what, x.shape().text(),
                            normalized.text()),
                at, "normalize over the last axes of the input");
  return axes;
}

void check_affine(const Tensor& parameter, const Shape& wanted, const char* what, Location at) {
  if (parameter.defined() && parameter.shape() != wanted)
    throw Error(
        fmt::format("{} has shape {}, not {}", what, parameter.shape().text(), wanted.text()), at,
        "weight and bias have the extents that are normalized");
}

Tensor affine(Tensor x, const Tensor& weight, const Tensor& bias) {
  if (weight.defined()) x = x * weight;
  if (bias.defined()) x = x + bias;
  return x;
}

Tensor standardized(const Tensor& x, const Tensor::Axes& axes, double eps) {
  Tensor centered = x - mean(x, axes, true);
  return centered * rsqrt(mean(centered * centered, axes, true) + eps);
}

double machine_epsilon(DType dtype) {
  return dtype == DType::f64    ? 0x1p-52
         : dtype == DType::f16  ? 0x1p-10
         : dtype == DType::bf16 ? 0x1p-7
                                : 0x1p-23;
}

}  // namespace

Tensor flat_sqrt(const Tensor& x) {
  Tensor flat = x == lit(0.0);
  return where(flat, lit(0.0), sqrt(where(flat, lit(1.0), x)));
}

Tensor layer_norm(const Arg& x, const Shape& normalized, const Tensor& weight, const Tensor& bias,
                  double eps) {
  Scope scope("layer_norm", x.location());
  Operand in(x);
  Location at = current_location({});
  Tensor::Axes axes = last_axes(in.given, normalized, "layer_norm", at);
  check_affine(weight, normalized, "layer_norm: weight", at);
  check_affine(bias, normalized, "layer_norm: bias", at);
  return in.result(affine(standardized(in.work, axes, eps), weight, bias));
}

Tensor rms_norm(const Arg& x, const Shape& normalized, const Tensor& weight,
                std::optional<double> eps) {
  Scope scope("rms_norm", x.location());
  Operand in(x);
  Location at = current_location({});
  Tensor::Axes axes = last_axes(in.given, normalized, "rms_norm", at);
  check_affine(weight, normalized, "rms_norm: weight", at);
  double added = eps.value_or(machine_epsilon(in.given.dtype()));
  Tensor scale = rsqrt(mean(in.work * in.work, axes, true) + added);
  return in.result(affine(in.work * scale, weight, {}));
}

Tensor group_norm(const Arg& x, int64_t groups, const Tensor& weight, const Tensor& bias,
                  double eps) {
  Scope scope("group_norm", x.location());
  Operand in(x);
  Location at = current_location({});
  const Shape& shape = in.given.shape();
  if (shape.rank() < 2 || groups <= 0 || shape[1] % groups != 0)
    throw Error(
        fmt::format("group_norm: {} groups do not divide axis 1 of {}", groups, shape.text()), at,
        "the number of channels must be a multiple of the number of groups");
  check_affine(weight, {shape[1]}, "group_norm: weight", at);
  check_affine(bias, {shape[1]}, "group_norm: bias", at);
  int64_t members = shape[1] / groups;
  Shape grouped = {shape[0], groups, members}, per_channel = {1, groups, members};
  Tensor::Axes axes = {2};
  for (int axis = 2; axis < shape.rank(); ++axis) {
    grouped.push_back(shape[axis]);
    per_channel.push_back(1);
    axes.push_back(axis + 1);
  }
  // Scaled in the grouped shape, so that one row holds all that a group needs.
  Tensor result = affine(standardized(reshape(in.work, grouped), axes, eps),
                         weight.defined() ? reshape(weight, per_channel) : weight,
                         bias.defined() ? reshape(bias, per_channel) : bias);
  return in.result(reshape(result, shape));
}

Tensor norm(const Arg& x, Tensor::Axes axes, bool keepdim) {
  Scope scope("norm", x.location());
  Operand in(x);
  return in.result(flat_sqrt(sum(in.work * in.work, axes, keepdim)));
}

Tensor normalize(const Arg& x, int64_t axis, double eps) {
  Scope scope("normalize", x.location());
  Operand in(x);
  Tensor length = flat_sqrt(sum(in.work * in.work, {axis}, true));
  return in.result(in.work / clamp_min(length, eps));
}

Tensor cosine_similarity(const Arg& a, const Arg& b, int64_t axis, double eps) {
  Scope scope("cosine_similarity", a.location());
  Operand x(a), y(b);
  Tensor lengths =
      flat_sqrt(sum(x.work * x.work, {axis})) * flat_sqrt(sum(y.work * y.work, {axis}));
  return x.result(sum(x.work * y.work, {axis}) / clamp_min(lengths, eps));
}

}  // namespace encore
