// Powers by a C++ integer, which never reach a slot.
#include <encore/lazy/create.h>
#include <encore/lazy/elementwise.h>

namespace encore {

Tensor integer_power(const Arg& x, int64_t n) {
  Scope scope("pow", x.location());
  Tensor base = as_tensor(x, DType::f32, default_device());
  if (n == 0)
    return record({OpId::expand, base.dtype(), base.device(), base.shape()},
                  {literal_node(1, base.dtype(), base.device()).node()}, x.location());
  bool by_hand = n >= -8 && n <= 8 && base.dtype() != DType::boolean;
  if (!by_hand || (n < 0 && !is_floating(base.dtype()))) return pow(base, lit(n));
  Tensor result, power = base;
  for (int64_t rest = n < 0 ? -n : n; rest != 0; rest /= 2) {
    if (rest % 2) result = result.defined() ? power * result : power;
    if (rest > 1) power = power * power;
  }
  return n < 0 ? reciprocal(result) : result;
}

}  // namespace encore
