#include <encore/nn/init.h>
#include <fmt/format.h>

#include <cmath>

namespace encore::init {
namespace {

double kaiming_deviation(const Shape& shape, const Kaiming& k, Location where) {
  Fans fans = fans_of(shape, where);
  return gain(k.nonlinearity, k.slope) / std::sqrt(double(k.fan == Fan::in ? fans.in : fans.out));
}

double xavier_deviation(const Shape& shape, double gain, Location where) {
  Fans fans = fans_of(shape, where);
  return gain * std::sqrt(2.0 / double(fans.in + fans.out));
}

/// Uniform with mean 0 and this standard deviation.
Tensor spread_uniform(const Shape& shape, double deviation, Options options, Tensor::At at) {
  double bound = std::sqrt(3.0) * deviation;
  return uniform(shape, -bound, bound, options, at);
}

}  // namespace

double gain(Nonlinearity nonlinearity, double slope) {
  switch (nonlinearity) {
    case Nonlinearity::linear:
    case Nonlinearity::sigmoid:
      return 1;
    case Nonlinearity::tanh:
      return 5.0 / 3;
    case Nonlinearity::relu:
      return std::sqrt(2.0);
    case Nonlinearity::leaky_relu:
      return std::sqrt(2 / (1 + slope * slope));
    case Nonlinearity::selu:
      return 3.0 / 4;
  }
  internal_error("a Nonlinearity was forgotten", std::source_location::current());
}

Fans fans_of(const Shape& shape, Location where) {
  if (shape.rank() < 2)
    throw Error(fmt::format("init: a weight of shape {} has no fan in and fan out", shape.text()),
                current_location(where), "they need two axes, [out, in, …]; use uniform or normal");
  int64_t receptive = 1;
  for (int axis = 2; axis < shape.rank(); ++axis) receptive *= shape[axis];
  return {shape[1] * receptive, shape[0] * receptive};
}

Tensor uniform(Shape shape, double low, double high, Options options, Tensor::At at) {
  Scope scope("uniform", current_location(at));
  return rand(shape, options) * (high - low) + low;
}

Tensor normal(Shape shape, double mean, double deviation, Options options, Tensor::At at) {
  Scope scope("normal", current_location(at));
  return randn(shape, options) * deviation + mean;
}

Tensor kaiming_uniform(Shape shape, Kaiming kaiming, Options options, Tensor::At at) {
  return spread_uniform(shape, kaiming_deviation(shape, kaiming, at), options, at);
}

Tensor kaiming_normal(Shape shape, Kaiming kaiming, Options options, Tensor::At at) {
  return normal(shape, 0, kaiming_deviation(shape, kaiming, at), options, at);
}

Tensor xavier_uniform(Shape shape, double gain, Options options, Tensor::At at) {
  return spread_uniform(shape, xavier_deviation(shape, gain, at), options, at);
}

Tensor xavier_normal(Shape shape, double gain, Options options, Tensor::At at) {
  return normal(shape, 0, xavier_deviation(shape, gain, at), options, at);
}

}  // namespace encore::init
