// Dropout: while training, each element is zero with probability p and the others grow by
// 1 / (1 - p); outside training, the identity.
#pragma once
#include <encore/lazy/composite.h>
#include <encore/nn/module.h>

namespace encore {

class Dropout : public Module {
 public:
  explicit Dropout(double p = 0.5) : p_(p) {}
  Tensor forward(const Tensor& x) { return dropout(x, p_, training()); }
  ENCORE_MEMBERS()

 private:
  double p_;
};

}  // namespace encore
