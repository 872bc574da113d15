// Bounds on gradients, as torch.nn.utils.clip_grad_norm_ and clip_grad_value_. Call between
// backward and step; nothing is computed before the step.
#pragma once
#include <encore/autograd/parameter.h>

#include <vector>

namespace encore {

struct NormOptions {
  double order = 2;  // of the norm; INFINITY: the largest magnitude
};

/// Scales all gradients so that their joint norm is at most `max_norm`; returns the norm before.
Tensor clip_grad_norm_(const std::vector<ParameterRef>& parameters, double max_norm,
                       NormOptions options = {},
                       std::source_location at = std::source_location::current());

/// Bounds each element of each gradient to [-bound, bound].
void clip_grad_value_(const std::vector<ParameterRef>& parameters, double bound,
                      std::source_location at = std::source_location::current());

}  // namespace encore
