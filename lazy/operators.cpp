// C++ operators as elementwise ops.
#include <encore/lazy/elementwise.h>

namespace encore {

Tensor operator+(const Arg& a, const Arg& b) { return add(a, b); }
Tensor operator*(const Arg& a, const Arg& b) { return mul(a, b); }
Tensor operator<(const Arg& a, const Arg& b) { return less(a, b); }
Tensor operator>(const Arg& a, const Arg& b) { return less(b, a); }

}  // namespace encore
