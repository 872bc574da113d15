// What the composites over axes share.
#pragma once
#include <encore/lazy/composite.h>
#include <encore/lazy/elementwise.h>
#include <encore/lazy/reduction.h>
#include <encore/lazy/refuse.h>

namespace encore {

/// The dtype that sums are formed in: f64 stays, everything else is f32.
inline DType work_dtype(DType dtype) { return dtype == DType::f64 ? DType::f64 : DType::f32; }
/// The dtype of a composite's result.
inline DType result_dtype(DType dtype) { return is_floating(dtype) ? dtype : DType::f32; }

/// An operand as it came, and as it is computed with.
struct Operand {
  explicit Operand(const Arg& arg)
      : given(as_tensor(arg, DType::f32, default_device())),
        work(given.to(work_dtype(given.dtype()))) {}
  Tensor result(const Tensor& computed) const { return computed.to(result_dtype(given.dtype())); }
  Tensor given;
  Tensor work;
};

/// The maximum over axes, which stay, as a constant: shifting by it changes neither the function
/// nor its gradient. 0 where there is nothing.
Tensor shift_of(const Tensor& x, const Tensor::Axes& axes);

/// sqrt(x) for x >= 0 whose gradient at 0 is 0.
Tensor flat_sqrt(const Tensor& x);

Tensor reduce_loss(const Tensor& loss, Reduction reduction);

}  // namespace encore
