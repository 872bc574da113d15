// Losses as modules of (prediction, target); formulas and edge cases stand in lazy/composite.h.
#pragma once
#include <encore/lazy/composite.h>
#include <encore/nn/module.h>

namespace encore {

#define ENCORE_LOSS(Name, function)                                                 \
  class Name : public Module {                                                      \
   public:                                                                          \
    explicit Name(Reduction reduction = Reduction::mean) : reduction_(reduction) {} \
    Tensor forward(const Tensor& x, const Tensor& target) {                         \
      return function(x, target, reduction_);                                       \
    }                                                                               \
    ENCORE_MEMBERS()                                                                \
   private:                                                                         \
    Reduction reduction_;                                                           \
  };
ENCORE_LOSS(MSELoss, mse_loss)
ENCORE_LOSS(L1Loss, l1_loss)
ENCORE_LOSS(NLLLoss, nll_loss)
ENCORE_LOSS(BCELoss, binary_cross_entropy)
ENCORE_LOSS(KLDivLoss, kl_div)
#undef ENCORE_LOSS

class CrossEntropyLoss : public Module {
 public:
  explicit CrossEntropyLoss(CrossEntropyOptions options = {}) : options_(options) {}
  Tensor forward(const Tensor& logits, const Tensor& target) {
    return cross_entropy(logits, target, options_);
  }
  ENCORE_MEMBERS()

 private:
  CrossEntropyOptions options_;
};

class BCEWithLogitsLoss : public Module {
 public:
  explicit BCEWithLogitsLoss(Tensor pos_weight = {}, Reduction reduction = Reduction::mean)
      : pos_weight_(std::move(pos_weight)), reduction_(reduction) {}
  Tensor forward(const Tensor& logits, const Tensor& target) {
    return binary_cross_entropy_with_logits(logits, target, pos_weight_, reduction_);
  }
  ENCORE_MEMBERS(pos_weight_)

 private:
  Tensor pos_weight_;
  Reduction reduction_;
};

class HuberLoss : public Module {
 public:
  explicit HuberLoss(double delta = 1, Reduction reduction = Reduction::mean)
      : delta_(delta), reduction_(reduction) {}
  Tensor forward(const Tensor& x, const Tensor& target) {
    return huber_loss(x, target, delta_, reduction_);
  }
  ENCORE_MEMBERS()

 private:
  double delta_;
  Reduction reduction_;
};

class SmoothL1Loss : public Module {
 public:
  explicit SmoothL1Loss(double beta = 1, Reduction reduction = Reduction::mean)
      : beta_(beta), reduction_(reduction) {}
  Tensor forward(const Tensor& x, const Tensor& target) {
    return smooth_l1_loss(x, target, beta_, reduction_);
  }
  ENCORE_MEMBERS()

 private:
  double beta_;
  Reduction reduction_;
};

}  // namespace encore
