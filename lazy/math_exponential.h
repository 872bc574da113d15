// The reduction and the core that exp, expm1, tanh and erf share.
#pragma once
#include <encore/lazy/math_term.h>

namespace encore::math {

/// e^r = 1 + r + r^2 q(r), f64; from tests/reference/minimax.py.
inline constexpr double exp_tail_f64[] = {0x1p-1,
                                          0x1.5555555555559p-3,
                                          0x1.555555555553fp-5,
                                          0x1.111111110f6dap-7,
                                          0x1.6c16c16c1f065p-10,
                                          0x1.a01a01afd4057p-13,
                                          0x1.a01a017bccf55p-16,
                                          0x1.71ddf87e5bc68p-19,
                                          0x1.27e5361def537p-22,
                                          0x1.af5e75ab36597p-26,
                                          0x1.1ee89de1960f0p-29};

/// x = k ln2 + r, r = head - k low, |r| <= ln2 / 2; k is an integer and never -0, `head` is exact.
struct Reduced {
  Term k, head;
  double low;
};

/// |x| < 2^20; a NaN makes both NaN.
Reduced reduce_by_ln2(const Term& x);

/// factor (e^x - 1) for scale = factor 2^k; keeps the sign of zero and is accurate near it.
Term expm1_times(const Reduced& x, const Term& scale, double factor);

}  // namespace encore::math
