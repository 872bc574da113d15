// The split of a number into its exponent and fraction, which the logarithms and pow share.
#pragma once
#include <encore/lazy/math_term.h>

namespace encore::math {

/// x = 2^k (1 + f), 1 + f in [sqrt(1/2), sqrt(2)); negated_k is -k, and +0 for 0.
struct Split {
  Term f, negated_k;
};

/// x is positive and normal; anything else gives some finite numbers.
Split split_exponent(const Term& x);

/// The same for subnormal x too.
Split split_any_exponent(const Term& x);

}  // namespace encore::math
