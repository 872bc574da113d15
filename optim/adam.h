// Adam and AdamW, as torch.optim.Adam and AdamW, with t the parameter's own step count:
//   Adam:  g += weight_decay * p;       AdamW:  p *= 1 - lr * weight_decay
//   m += (1 - beta1) * (g - m);  v = beta2 * v + (1 - beta2) * g * g
//   p -= lr / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + eps)
#pragma once
#include <encore/optim/optimizer.h>

namespace encore {

struct AdamOptions {
  double lr = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0;
};

struct AdamWOptions {
  double lr = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 1e-2;
};

class Adam : public Optimizer {
 public:
  explicit Adam(std::vector<ParameterRef> parameters, AdamOptions options = {},
                std::source_location at = std::source_location::current());
  void set_momentum(double beta1) override { options_.beta1 = beta1; }

 protected:
  Adam(const char* name, std::vector<ParameterRef> parameters, AdamOptions options, bool decoupled,
       Location where);

 private:
  Tensor update(size_t i, const Tensor& value, const Tensor& gradient) override;

  AdamOptions options_;
  bool decoupled_;  // AdamW: the decay acts on the parameter, not on its gradient
  std::vector<Tensor> first_, second_;
  std::vector<int64_t> counts_;
};

class AdamW : public Adam {
 public:
  explicit AdamW(std::vector<ParameterRef> parameters, AdamWOptions options = {},
                 std::source_location at = std::source_location::current());
};

}  // namespace encore
