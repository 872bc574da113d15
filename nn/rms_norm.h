// RMSNorm: root mean square 1 over the last axes, then a weight (ones).
#pragma once
#include <encore/lazy/composite.h>
#include <encore/lazy/create.h>
#include <encore/nn/module.h>

namespace encore {

struct RMSNormOptions {
  std::optional<double> eps = {};  // else the machine epsilon of the input's dtype
  bool affine = true;
  DType dtype = DType::f32;
  Device device = default_device();
};

class RMSNorm : public Module {
 public:
  explicit RMSNorm(Shape normalized, RMSNormOptions options = {},
                   std::source_location at = std::source_location::current())
      : normalized_(normalized), eps_(options.eps) {
    if (options.affine) weight = ones(normalized, {options.dtype, options.device}, at);
  }
  explicit RMSNorm(int64_t last, RMSNormOptions options = {},
                   std::source_location at = std::source_location::current())
      : RMSNorm(Shape{last}, options, at) {}

  Tensor forward(const Tensor& x) {
    return rms_norm(x, normalized_, weight.defined() ? weight.tensor() : Tensor(), eps_);
  }

  Parameter weight;
  ENCORE_MEMBERS(weight)

 private:
  Shape normalized_;
  std::optional<double> eps_;
};

}  // namespace encore
