// C++ operators as elementwise ops.
#include <encore/lazy/elementwise.h>

namespace encore {

Tensor operator-(Arg a) { return record_last(OpId::neg, a); }
Tensor operator~(Arg a) { return record_last(OpId::bitwise_not, a); }
Tensor operator!(Arg a) { return record_last(OpId::logical_not, a); }

// OPERATOR(symbol, op); an ASSIGNING one has a compound assignment too, at the place of its
// operand.
#define OPERATOR(symbol, op) \
  Tensor operator symbol(Arg a, Arg b) { return record_last(OpId::op, a, b); }
#define ASSIGNING(symbol, op)                          \
  OPERATOR(symbol, op)                                 \
  Tensor& Tensor::operator symbol##=(const Arg & b)& { \
    return *this = op(Arg(*this, b.location()), b);    \
  }

ASSIGNING(+, add)
ASSIGNING(-, sub)
ASSIGNING(*, mul)
ASSIGNING(/, div)
ASSIGNING(%, remainder)
ASSIGNING(&, bitwise_and)
ASSIGNING(|, bitwise_or)
ASSIGNING(^, bitwise_xor)
ASSIGNING(<<, shift_left)
ASSIGNING(>>, shift_right)
OPERATOR(==, equal)
OPERATOR(!=, not_equal)
OPERATOR(<, less)
OPERATOR(<=, less_equal)
Tensor operator>(Arg a, Arg b) { return record_last(OpId::less, b, a); }
Tensor operator>=(Arg a, Arg b) { return record_last(OpId::less_equal, b, a); }
OPERATOR(&&, logical_and)
OPERATOR(||, logical_or)

#undef OPERATOR
#undef ASSIGNING

}  // namespace encore
