// Activations and shape changes as modules, for Sequential.
#pragma once
#include <encore/lazy/composite.h>
#include <encore/lazy/elementwise.h>
#include <encore/lazy/movement.h>
#include <encore/nn/module.h>

namespace encore {

#define ENCORE_ACTIVATION(Name, expression)                \
  class Name : public Module {                             \
   public:                                                 \
    Tensor forward(const Tensor& x) { return expression; } \
    ENCORE_MEMBERS()                                       \
  };
ENCORE_ACTIVATION(Identity, x)
ENCORE_ACTIVATION(ReLU, relu(x))
ENCORE_ACTIVATION(SELU, selu(x))
ENCORE_ACTIVATION(SiLU, silu(x))
ENCORE_ACTIVATION(Mish, mish(x))
ENCORE_ACTIVATION(Hardswish, hardswish(x))
ENCORE_ACTIVATION(Sigmoid, sigmoid(x))
ENCORE_ACTIVATION(LogSigmoid, log_sigmoid(x))
ENCORE_ACTIVATION(Tanh, tanh(x))
ENCORE_ACTIVATION(Softplus, softplus(x))
#undef ENCORE_ACTIVATION

class GELU : public Module {
 public:
  explicit GELU(GeluForm form = GeluForm::erf) : form_(form) {}
  Tensor forward(const Tensor& x) { return gelu(x, form_); }
  ENCORE_MEMBERS()

 private:
  GeluForm form_;
};

class LeakyReLU : public Module {
 public:
  explicit LeakyReLU(double slope = 0.01) : slope_(slope) {}
  Tensor forward(const Tensor& x) { return leaky_relu(x, slope_); }
  ENCORE_MEMBERS()

 private:
  double slope_;
};

class ELU : public Module {
 public:
  explicit ELU(double alpha = 1) : alpha_(alpha) {}
  Tensor forward(const Tensor& x) { return elu(x, alpha_); }
  ENCORE_MEMBERS()

 private:
  double alpha_;
};

class Softmax : public Module {
 public:
  explicit Softmax(int64_t axis = -1) : axis_(axis) {}
  Tensor forward(const Tensor& x) { return softmax(x, axis_); }
  ENCORE_MEMBERS()

 private:
  int64_t axis_;
};

class LogSoftmax : public Module {
 public:
  explicit LogSoftmax(int64_t axis = -1) : axis_(axis) {}
  Tensor forward(const Tensor& x) { return log_softmax(x, axis_); }
  ENCORE_MEMBERS()

 private:
  int64_t axis_;
};

/// Merges the axes first to last, all but the batch unless told otherwise.
class Flatten : public Module {
 public:
  explicit Flatten(int64_t first = 1, int64_t last = -1) : first_(first), last_(last) {}
  Tensor forward(const Tensor& x) { return x.flatten(first_, last_); }
  ENCORE_MEMBERS()

 private:
  int64_t first_, last_;
};

}  // namespace encore
