// Reading and writing at positions that are themselves tensors.
//
// Index tensors have any integer dtype. A negative index counts from the end; one out of range
// reads 0 and writes nothing, for it is not known while recording. Everything but the index has a
// gradient.
#pragma once
#include <encore/lazy/record.h>

namespace encore {

/// x[:axis] + index.shape + x[axis+1:]: the positions that `index` names along an axis, as
/// numpy.take.
Tensor take(const Tensor& x, const Tensor& index, int64_t axis = 0,
            Tensor::At at = Tensor::At::current());
/// One position per element, as numpy.take_along_axis: `index` has x's rank, the axes other than
/// `axis` broadcast, and the result has index's extent on `axis`.
Tensor take_along(const Tensor& x, const Tensor& index, int64_t axis,
                  Tensor::At at = Tensor::At::current());
/// As torch.index_select: `take` by a 1-d index.
Tensor index_select(const Tensor& x, int64_t axis, const Tensor& index,
                    Tensor::At at = Tensor::At::current());
/// As torch.gather: `take_along` of the part of x that `index` reaches along the other axes, where
/// its extents are at most x's.
Tensor gather(const Tensor& x, int64_t axis, const Tensor& index,
              Tensor::At at = Tensor::At::current());

/// `x` with `source` added at the positions that the 1-d `index` names along an axis; a position
/// named twice receives both. `source` broadcasts to x's shape with extent index.numel() on `axis`,
/// and is taken in x's dtype.
Tensor index_add(const Tensor& x, const Tensor& index, const Arg& source, int64_t axis = 0,
                 Tensor::At at = Tensor::At::current());
/// `x` with `source` added at one position per element, in order of the index: the reverse of
/// take_along. `source` broadcasts to index's shape.
Tensor scatter_add(const Tensor& x, const Tensor& index, const Arg& source, int64_t axis,
                   Tensor::At at = Tensor::At::current());
/// `x` with the positions that the 1-d `index` names replaced by `source`; of equal positions the
/// last one stays. Compares every position of the axis with every index: meant for short indices.
Tensor index_put(const Tensor& x, const Tensor& index, const Arg& source, int64_t axis = 0,
                 Tensor::At at = Tensor::At::current());

/// `x` with `value` wherever `mask` is true.
Tensor masked_fill(const Tensor& x, const Tensor& mask, const Arg& value,
                   Tensor::At at = Tensor::At::current());
/// A new last axis of extent `classes`: 1 at the index, 0 elsewhere.
Tensor one_hot(const Tensor& index, int64_t classes, DType dtype = DType::f32,
               Tensor::At at = Tensor::At::current());

/// `value` as an operand that is stored into `x`: its dtype must not lose a kind (floating to
/// integer, number to bool), which throws.
Tensor stored_into(const Tensor& x, const Arg& value, const char* what, Tensor::At at);

}  // namespace encore
