// Dropout: while training, each element is zero with probability p and the others grow by 1 / (1 -
// p).
#pragma once
#include <encore/nn/module.h>

namespace encore {

/// Draws a new mask at every call and every replay; p outside [0, 1] throws at the caller's line.
Tensor dropout(const Tensor& x, double p,
               std::source_location at = std::source_location::current());

class Dropout : public Module {
 public:
  explicit Dropout(double p = 0.5) : p_(p) {}
  Tensor forward(const Tensor& x) { return training() ? dropout(x, p_) : x; }
  ENCORE_MEMBERS()

 private:
  double p_;
};

}  // namespace encore
