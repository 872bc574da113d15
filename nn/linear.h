// Linear: x [.., in] to x w^T + b [.., out], with PyTorch's layout (weight [out, in]) and initial
// values: both uniform in +-1 / sqrt(in).
#pragma once
#include <encore/lazy/contraction.h>
#include <encore/nn/module.h>

namespace encore {

struct LinearOptions {
  bool bias = true;
  DType dtype = DType::f32;
  Device device = default_device();
};

class Linear : public Module {
 public:
  Linear(int64_t in, int64_t out, LinearOptions options = {},
         std::source_location at = std::source_location::current());

  Tensor forward(const Tensor& x) {
    return linear(x, weight, bias.defined() ? bias.tensor() : Tensor());
  }

  Parameter weight, bias;
  ENCORE_MEMBERS(weight, bias)
};

}  // namespace encore
