// Matrix products and what is made of them.
#pragma once
#include <encore/lazy/record.h>

namespace encore {

/// [.., m, k] x [.., k, n] gives [.., m, n]; the axes in front broadcast. A 1-d operand is a row on
/// the left, a column on the right, and its axis is dropped from the result. Dtypes promote; bool
/// is refused. Throws where the inner extents differ.
Tensor matmul(const Tensor& a, const Tensor& b, Tensor::At at = Tensor::At::current());
/// x w^T + bias with w [out, in], x [.., in] and bias [out] (or none), as
/// torch.nn.functional.linear.
Tensor linear(const Tensor& x, const Tensor& w, const Tensor& bias = {},
              Tensor::At at = Tensor::At::current());
/// The sum of products of two 1-d tensors.
Tensor dot(const Tensor& a, const Tensor& b, Tensor::At at = Tensor::At::current());
/// All products of two 1-d tensors: [m] and [n] give [m, n].
Tensor outer(const Tensor& a, const Tensor& b, Tensor::At at = Tensor::At::current());
/// Einstein's summation over named axes, as numpy.einsum without "...": einsum("bij,bjk->bik", {a,
/// b}). Without "->" the result has the letters that occur once, in alphabetical order. Operands
/// are contracted from left to right. A letter may not occur twice in one operand.
Tensor einsum(std::string_view formula, const std::vector<Tensor>& operands,
              Tensor::At at = Tensor::At::current());

}  // namespace encore
