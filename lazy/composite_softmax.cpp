#include <encore/lazy/composite_work.h>
#include <encore/lazy/movement.h>

#include <limits>

namespace encore {

Tensor shift_of(const Tensor& x, const Tensor::Axes& axes) {
  NoGrad guard;
  if (x.numel() == 0) return sum(x, axes, true);
  return max(x, axes, true);
}

Tensor softmax(const Arg& x, int64_t axis) {
  Scope scope("softmax", x.location());
  Operand in(x);
  axis = normalize_axis(axis, in.work.rank(), "softmax", current_location(x.location()));
  Tensor share = exp(in.work - shift_of(in.work, {axis}));
  // One division a row; the product rounds once more than a quotient would.
  return in.result(share * reciprocal(sum(share, {axis}, true)));
}

Tensor log_softmax(const Arg& x, int64_t axis) {
  Scope scope("log_softmax", x.location());
  Operand in(x);
  axis = normalize_axis(axis, in.work.rank(), "log_softmax", current_location(x.location()));
  Tensor shifted = in.work - shift_of(in.work, {axis});
  return in.result(shifted - log(sum(exp(shifted), {axis}, true)));
}

Tensor logsumexp(const Arg& x, Tensor::Axes axes, bool keepdim) {
  Scope scope("logsumexp", x.location());
  Operand in(x);
  Tensor shift = shift_of(in.work, axes);
  // inf - inf would be NaN.
  shift = where(isinf(shift), lit(0.0), shift);
  Tensor result = log(sum(exp(in.work - shift), axes, true)) + shift;
  return in.result(keepdim ? result : squeeze(result, axes));
}

}  // namespace encore
