#include <encore/lazy/create.h>
#include <encore/lazy/random.h>
#include <encore/nn/dropout.h>
#include <fmt/format.h>

namespace encore {

Tensor dropout(const Tensor& x, double p, std::source_location at) {
  Location where = current_location(at);
  if (!(p >= 0 && p <= 1))
    throw Error(fmt::format("dropout: probability {}", p), where, "give one between 0 and 1");
  Scope scope("dropout", where);
  // What is zero or all is structure; any other p is a runtime argument.
  if (p == 0) return x;
  if (p == 1) return x * zeros(x.shape(), {x.dtype(), x.device()});
  Tensor kept = bernoulli(1 - p, x.shape(), {x.dtype(), x.device()});
  return x * kept * (1 / (1 - p));
}

}  // namespace encore
