// Functions made of ops: activations, softmax, normalization, losses.
//
// Nothing here is an op: a composite opens a name scope, so that its nodes read like the source and
// carry the caller's line, and is differentiated and fused as what it is made of. Names, argument
// order and edge cases are PyTorch's unless said. Results have the dtype that the tensor operands
// promote to (integers and bool: f32); sums over 16-bit floats are formed in f32. Numbers that the
// caller hands over are runtime arguments: changing one compiles nothing. Shapes and dtypes that do
// not fit throw at the caller's line.
#pragma once
#include <encore/lazy/tensor.h>

namespace encore {

// Elementwise helpers

/// x limited to [low, high]; a NaN stays, and where low > high the result is high. The gradient
/// passes where x lies strictly inside. Bounds are numbers or tensors that broadcast.
Tensor clamp(const Arg& x, const Arg& low, const Arg& high);
Tensor clamp_min(const Arg& x, const Arg& low);
Tensor clamp_max(const Arg& x, const Arg& high);
/// a + weight * (b - a), exactly a at weight 0 and b at weight 1.
Tensor lerp(const Arg& a, const Arg& b, const Arg& weight);
Tensor square(const Arg& x);
/// log(exp(a) + exp(b)) without overflow.
Tensor logaddexp(const Arg& a, const Arg& b);

// Activations

/// x where x > 0, else slope * x.
Tensor leaky_relu(const Arg& x, const Arg& slope = lit(0.01));
/// x where x > 0, else alpha * (exp(x) - 1). Clevert et al. 2015, arXiv:1511.07289.
Tensor elu(const Arg& x, const Arg& alpha = lit(1.0));
/// Klambauer et al. 2017, arXiv:1706.02515.
Tensor selu(const Arg& x);

enum class GeluForm : uint8_t { erf, tanh };
/// x * Phi(x), Phi the normal distribution function, or its tanh approximation. Hendrycks, Gimpel
/// 2016, arXiv:1606.08415.
Tensor gelu(const Arg& x, GeluForm form = GeluForm::erf);
/// x * sigmoid(x).
Tensor silu(const Arg& x);
/// x * tanh(softplus(x)). Misra 2019, arXiv:1908.08681.
Tensor mish(const Arg& x);
/// x * clamp(x + 3, 0, 6) / 6.
Tensor hardswish(const Arg& x);
/// log(1 + exp(x)), computed as max(x, 0) + log1p(exp(-|x|)).
Tensor softplus(const Arg& x);
/// log(1 + exp(beta * x)) / beta.
Tensor softplus(const Arg& x, const Arg& beta);
/// log(sigmoid(x)) without overflow.
Tensor log_sigmoid(const Arg& x);

/// Zeroes each element with probability `p` and scales the rest by 1 / (1 - p); returns x where not
/// training. Every call and every replay draws a new mask. Srivastava et al. 2014.
Tensor dropout(const Arg& x, double p = 0.5, bool training = true);

// Softmax; a row that is all -inf, or holds +inf or NaN, gives NaN

/// exp(x) / sum(exp(x)) along an axis.
Tensor softmax(const Arg& x, int64_t axis = -1);
/// log(softmax(x)) with one rounding less than taking the logarithm.
Tensor log_softmax(const Arg& x, int64_t axis = -1);
/// log(sum(exp(x))) over axes (none: all); -inf where everything is -inf, inf where anything is
/// inf.
Tensor logsumexp(const Arg& x, Tensor::Axes axes = {}, bool keepdim = false);

// Normalization; `weight` and `bias` may be empty tensors

/// (x - mean) / sqrt(var + eps) * weight + bias over the last axes, which must have the extents
/// `normalized`, as must weight and bias. Ba et al. 2016, arXiv:1607.06450.
Tensor layer_norm(const Arg& x, const Shape& normalized, const Tensor& weight = {},
                  const Tensor& bias = {}, double eps = 1e-5);
/// x / sqrt(mean(x^2) + eps) * weight over the last axes. Zhang, Sennrich 2019, arXiv:1910.07467.
/// Without eps: the machine epsilon of x's dtype.
Tensor rms_norm(const Arg& x, const Shape& normalized, const Tensor& weight = {},
                std::optional<double> eps = {});
/// Layer norm over each of `groups` groups of axis 1 and all axes behind it; weight and bias have
/// one element a channel. Wu, He 2018, arXiv:1803.08494.
Tensor group_norm(const Arg& x, int64_t groups, const Tensor& weight = {}, const Tensor& bias = {},
                  double eps = 1e-5);
/// Square root of the sum of squares over axes (none: all); gradient 0 at 0.
Tensor norm(const Arg& x, Tensor::Axes axes = {}, bool keepdim = false);
/// x / max(norm(x, axis), eps).
Tensor normalize(const Arg& x, int64_t axis = 1, double eps = 1e-12);
/// sum(a * b) / max(norm(a) * norm(b), eps) along an axis.
Tensor cosine_similarity(const Arg& a, const Arg& b, int64_t axis = 1, double eps = 1e-8);

// Losses

enum class Reduction : uint8_t { mean, sum, none };

struct CrossEntropyOptions {
  Reduction reduction = Reduction::mean;
  /// Mixes the target with the uniform distribution. Szegedy et al. 2015, arXiv:1512.00567.
  double label_smoothing = 0;
  /// Targets of this class count nothing, neither in the sum nor in the mean's divisor. PyTorch's
  /// default of -100 has to be asked for.
  std::optional<int64_t> ignore_index = {};
};
/// -log(softmax(logits))[target], classes on axis 1 (on axis 0 of a vector). `target` holds class
/// indices and has the shape of logits without that axis, or it is floating, has the shape of
/// logits and holds probabilities. Log-probabilities are never stored. A class out of range has
/// logit 0.
Tensor cross_entropy(const Arg& logits, const Arg& target, CrossEntropyOptions options = {});
/// -log_probabilities[target]; classes as in cross_entropy.
Tensor nll_loss(const Arg& log_probabilities, const Arg& target,
                Reduction reduction = Reduction::mean, std::optional<int64_t> ignore_index = {});

// The others compare elements; the shapes must be equal.

/// (x - target)^2
Tensor mse_loss(const Arg& x, const Arg& target, Reduction reduction = Reduction::mean);
/// |x - target|
Tensor l1_loss(const Arg& x, const Arg& target, Reduction reduction = Reduction::mean);
/// 0.5 d^2 where d = |x - target| < delta, else delta * (d - 0.5 delta). Huber 1964.
Tensor huber_loss(const Arg& x, const Arg& target, double delta = 1,
                  Reduction reduction = Reduction::mean);
/// 0.5 d^2 / beta where d = |x - target| < beta, else d - 0.5 beta. Girshick 2015,
/// arXiv:1504.08083.
Tensor smooth_l1_loss(const Arg& x, const Arg& target, double beta = 1,
                      Reduction reduction = Reduction::mean);
/// -(t log p + (1 - t) log(1 - p)), the logarithms bounded below by -100.
Tensor binary_cross_entropy(const Arg& probability, const Arg& target,
                            Reduction reduction = Reduction::mean);
/// The same of p = sigmoid(logits) without overflow; `pos_weight` (may be empty) scales the first
/// term and broadcasts.
Tensor binary_cross_entropy_with_logits(const Arg& logits, const Arg& target,
                                        const Tensor& pos_weight = {},
                                        Reduction reduction = Reduction::mean);
/// target * (log(target) - x) of log-probabilities x; 0 where target is 0.
Tensor kl_div(const Arg& x, const Arg& target, Reduction reduction = Reduction::mean);

}  // namespace encore
