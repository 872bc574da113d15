// Stochastic gradient descent with momentum, as torch.optim.SGD:
//   g += weight_decay * p;  b = momentum * b + (1 - dampening) * g  (first step: b = g)
//   p -= lr * (nesterov ? g + momentum * b : b)
#pragma once
#include <encore/optim/optimizer.h>

namespace encore {

struct SgdOptions {
  double lr = 1e-3;
  double momentum = 0;
  double dampening = 0;
  double weight_decay = 0;
  bool nesterov = false;  // needs momentum, and no dampening
};

class Sgd : public Optimizer {
 public:
  explicit Sgd(std::vector<ParameterRef> parameters, SgdOptions options = {},
               std::source_location at = std::source_location::current());
  void set_momentum(double momentum) override { options_.momentum = momentum; }

 private:
  Tensor update(size_t i, const Tensor& value, const Tensor& gradient) override;

  SgdOptions options_;
  std::vector<Tensor> momentum_;    // empty without momentum
  std::vector<bool> has_momentum_;  // whether a gradient has entered it
};

}  // namespace encore
