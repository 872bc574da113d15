// LayerNorm: mean 0 and variance 1 over the last axes, then a weight (ones) and a bias (zeros).
#pragma once
#include <encore/lazy/composite.h>
#include <encore/lazy/create.h>
#include <encore/nn/module.h>

namespace encore {

struct LayerNormOptions {
  double eps = 1e-5;
  bool affine = true;  // weight and bias
  bool bias = true;
  DType dtype = DType::f32;
  Device device = default_device();
};

class LayerNorm : public Module {
 public:
  explicit LayerNorm(Shape normalized, LayerNormOptions options = {},
                     std::source_location at = std::source_location::current())
      : normalized_(normalized), eps_(options.eps) {
    Options placed{options.dtype, options.device};
    if (options.affine) weight = ones(normalized, placed, at);
    if (options.affine && options.bias) bias = zeros(normalized, placed, at);
  }
  explicit LayerNorm(int64_t last, LayerNormOptions options = {},
                     std::source_location at = std::source_location::current())
      : LayerNorm(Shape{last}, options, at) {}

  Tensor forward(const Tensor& x) {
    return layer_norm(x, normalized_, weight.defined() ? weight.tensor() : Tensor(),
                      bias.defined() ? bias.tensor() : Tensor(), eps_);
  }

  Parameter weight, bias;
  ENCORE_MEMBERS(weight, bias)

 private:
  Shape normalized_;
  double eps_;
};

}  // namespace encore
