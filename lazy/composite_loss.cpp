#include <encore/lazy/composite_work.h>
#include <encore/lazy/indexing.h>
#include <encore/lazy/movement.h>

namespace encore {
namespace {

/// PyTorch only warns here, and then broadcasts [n, 1] against [n].
void check_same_shape(const Tensor& x, const Tensor& target, const char* what,
                      const char* advice = "reshape or expand one of them first") {
  if (x.shape() != target.shape())
    throw Error(fmt::format("{}: input {} and target {} have different shapes", what,
                            x.shape().text(), target.shape().text()),
                current_location({}), advice);
}

/// Both operands of a loss that compares elements.
struct Pair {
  Pair(const Arg& x, const Arg& target, const char* what) : input(x), other(target) {
    check_same_shape(input.given, other.given, what);
  }
  Tensor result(const Tensor& loss, Reduction reduction) const {
    DType dtype = result_dtype(promote(input.given.dtype(), other.given.dtype()));
    return reduce_loss(loss, reduction).to(dtype);
  }
  Operand input, other;
};

int class_axis(const Tensor& logits, const char* what) {
  if (logits.rank() == 0)
    throw Error(fmt::format("{}: a scalar has no axis of classes", what), current_location({}),
                "classes are on axis 1, or on axis 0 of a vector");
  return logits.rank() == 1 ? 0 : 1;
}

/// The class indices with an axis for the classes; checks shapes.
Tensor labels_of(const Tensor& logits, const Tensor& target, int axis, const char* what) {
  Shape wanted;
  for (int i = 0; i < logits.rank(); ++i)
    if (i != axis) wanted.push_back(logits.shape()[i]);
  if (target.shape() != wanted || !is_integer(target.dtype()))
    throw Error(fmt::format("{}: logits {} want targets of shape {}, not {} {}", what,
                            logits.shape().text(), wanted.text(), name_of(target.dtype()),
                            target.shape().text()),
                current_location({}),
                "targets hold one class index for each element without the class axis");
  return unsqueeze(target, axis);
}

/// Reduces a loss with one element a target; `ignore` names the class that counts nothing.
Tensor reduce_targets(const Tensor& loss, const Tensor& target, std::optional<int64_t> ignore,
                      Reduction reduction) {
  if (!ignore) return reduce_loss(loss, reduction);
  Tensor counts = target != lit(*ignore);
  Tensor kept = where(counts, loss, lit(0.0));
  if (reduction != Reduction::mean) return reduce_loss(kept, reduction);
  return sum(kept) / sum(counts.to(loss.dtype()));
}

/// -sum(target * log(softmax(x))) of target probabilities.
Tensor soft_target_loss(const Tensor& x, const Tensor& target, int axis, double smoothing) {
  check_same_shape(x, target, "cross_entropy",
                   "floating targets are probabilities of all classes; indices of classes are "
                   "integers: target.to(i64)");
  Tensor shifted = x - shift_of(x, {axis});
  Tensor total = log(sum(exp(shifted), {axis}, true));
  Tensor wanted = target.to(x.dtype());
  if (smoothing != 0) wanted = wanted * (1 - smoothing) + smoothing / double(x.shape()[axis]);
  return sum(wanted * (total - shifted), {axis});
}

/// -log(softmax(x))[label], the class axis dropped.
Tensor label_loss(const Tensor& x, const Tensor& label, int axis, double smoothing) {
  Tensor shift = shift_of(x, {axis});
  Tensor total = log(sum(exp(x - shift), {axis}, true));
  Tensor loss = total + (shift - take_along(x, label, axis));
  if (smoothing != 0)
    loss = loss * (1 - smoothing) + (total + (shift - mean(x, {axis}, true))) * smoothing;
  return squeeze(loss, {axis});
}

/// max(log(x), -100), flat at 0.
Tensor bounded_log(const Tensor& x) {
  Tensor zero = x == lit(0.0);
  return where(zero, lit(-100.0), clamp_min(log(where(zero, lit(1.0), x)), lit(-100.0)));
}

}  // namespace

Tensor reduce_loss(const Tensor& loss, Reduction reduction) {
  switch (reduction) {
    case Reduction::mean:
      return mean(loss);
    case Reduction::sum:
      return sum(loss);
    case Reduction::none:
      return loss;
  }
  return loss;
}

Tensor cross_entropy(const Arg& logits, const Arg& target, CrossEntropyOptions options) {
  Scope scope("cross_entropy", logits.location());
  Operand in(logits);
  if (!(options.label_smoothing >= 0 && options.label_smoothing <= 1))
    refuse(logits.location(), "give a share in [0, 1]", "cross_entropy: a label smoothing of {}",
           options.label_smoothing);
  Tensor wanted = as_tensor(target, DType::i64, default_device());
  int axis = class_axis(in.given, "cross_entropy");
  if (is_floating(wanted.dtype())) {
    Tensor loss = soft_target_loss(in.work, wanted, axis, options.label_smoothing);
    return in.result(reduce_loss(loss, options.reduction));
  }
  Tensor label = labels_of(in.given, wanted, axis, "cross_entropy");
  Tensor loss = label_loss(in.work, label, axis, options.label_smoothing);
  return in.result(reduce_targets(loss, wanted, options.ignore_index, options.reduction));
}

Tensor nll_loss(const Arg& log_probabilities, const Arg& target, Reduction reduction,
                std::optional<int64_t> ignore_index) {
  Scope scope("nll_loss", log_probabilities.location());
  Operand in(log_probabilities);
  Tensor wanted = as_tensor(target, DType::i64, default_device());
  int axis = class_axis(in.given, "nll_loss");
  Tensor label = labels_of(in.given, wanted, axis, "nll_loss");
  Tensor loss = -squeeze(take_along(in.work, label, axis), {axis});
  return in.result(reduce_targets(loss, wanted, ignore_index, reduction));
}

Tensor mse_loss(const Arg& x, const Arg& target, Reduction reduction) {
  Scope scope("mse_loss", x.location());
  Pair pair(x, target, "mse_loss");
  Tensor distance = pair.input.work - pair.other.work;
  return pair.result(distance * distance, reduction);
}

Tensor l1_loss(const Arg& x, const Arg& target, Reduction reduction) {
  Scope scope("l1_loss", x.location());
  Pair pair(x, target, "l1_loss");
  return pair.result(abs(pair.input.work - pair.other.work), reduction);
}

Tensor huber_loss(const Arg& x, const Arg& target, double delta, Reduction reduction) {
  Scope scope("huber_loss", x.location());
  Pair pair(x, target, "huber_loss");
  Tensor distance = abs(pair.input.work - pair.other.work);
  Tensor near = distance * distance * lit(0.5), far = (distance - 0.5 * delta) * delta;
  return pair.result(where(distance < delta, near, far), reduction);
}

Tensor smooth_l1_loss(const Arg& x, const Arg& target, double beta, Reduction reduction) {
  Scope scope("smooth_l1_loss", x.location());
  Pair pair(x, target, "smooth_l1_loss");
  Tensor distance = abs(pair.input.work - pair.other.work);
  if (beta == 0) return pair.result(distance, reduction);
  Tensor near = distance * distance * (0.5 / beta), far = distance - 0.5 * beta;
  return pair.result(where(distance < beta, near, far), reduction);
}

Tensor binary_cross_entropy(const Arg& probability, const Arg& target, Reduction reduction) {
  Scope scope("binary_cross_entropy", probability.location());
  Pair pair(probability, target, "binary_cross_entropy");
  const Tensor &p = pair.input.work, &t = pair.other.work;
  Tensor hit = bounded_log(p), miss = bounded_log(lit(1.0) - p);
  return pair.result((t - lit(1.0)) * miss - t * hit, reduction);
}

Tensor binary_cross_entropy_with_logits(const Arg& logits, const Arg& target,
                                        const Tensor& pos_weight, Reduction reduction) {
  Scope scope("binary_cross_entropy_with_logits", logits.location());
  Pair pair(logits, target, "binary_cross_entropy_with_logits");
  const Tensor &x = pair.input.work, &t = pair.other.work;
  Tensor miss = (lit(1.0) - t) * x;
  Tensor surprise = softplus(-x);
  if (pos_weight.defined()) surprise = surprise * ((pos_weight - lit(1.0)) * t + lit(1.0));
  return pair.result(miss + surprise, reduction);
}

Tensor kl_div(const Arg& x, const Arg& target, Reduction reduction) {
  Scope scope("kl_div", x.location());
  Pair pair(x, target, "kl_div");
  const Tensor& t = pair.other.work;
  Tensor safe = where(t == lit(0.0), lit(1.0), t);
  return pair.result(t * log(safe) - t * pair.input.work, reduction);
}

}  // namespace encore
