// Initial values, with PyTorch's formulas (torch.nn.init) and Encore's generator: the same after
// the same `manual_seed`, on every backend. They return new tensors: `layer.weight =
// init::xavier_normal(…)`.
#pragma once
#include <encore/lazy/create.h>
#include <encore/lazy/random.h>

namespace encore::init {

enum class Fan : uint8_t { in, out };
enum class Nonlinearity : uint8_t { linear, sigmoid, tanh, relu, leaky_relu, selu };

/// How much a nonlinearity shrinks its input's spread, inverted; `slope` is leaky_relu's.
double gain(Nonlinearity nonlinearity, double slope = 0.01);

struct Fans {
  int64_t in, out;
};
/// Of a weight [out, in, …]; the axes behind multiply both. Fewer than two axes throw at `where`.
Fans fans_of(const Shape& shape, Location where);

Tensor uniform(Shape shape, double low, double high, Options options = {},
               Tensor::At at = Tensor::At::current());
Tensor normal(Shape shape, double mean, double deviation, Options options = {},
              Tensor::At at = Tensor::At::current());

struct Kaiming {
  Fan fan = Fan::in;
  Nonlinearity nonlinearity = Nonlinearity::leaky_relu;
  double slope = 0;
};
/// Spread gain / sqrt(fan): He et al. 2015, arXiv:1502.01852.
Tensor kaiming_uniform(Shape shape, Kaiming kaiming = {}, Options options = {},
                       Tensor::At at = Tensor::At::current());
Tensor kaiming_normal(Shape shape, Kaiming kaiming = {}, Options options = {},
                      Tensor::At at = Tensor::At::current());

/// Spread gain * sqrt(2 / (fan in + fan out)): Glorot, Bengio 2010.
Tensor xavier_uniform(Shape shape, double gain = 1, Options options = {},
                      Tensor::At at = Tensor::At::current());
Tensor xavier_normal(Shape shape, double gain = 1, Options options = {},
                     Tensor::At at = Tensor::At::current());

}  // namespace encore::init
