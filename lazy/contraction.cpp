#include <encore/lazy/contraction.h>
#include <encore/lazy/elementwise.h>
#include <encore/lazy/families.h>
#include <encore/lazy/movement.h>
#include <encore/lazy/refuse.h>

namespace encore {
namespace {

using At = Tensor::At;

void check_operands(const Tensor& a, const Tensor& b, At at) {
  if (a.rank() == 0 || b.rank() == 0)
    refuse(at, "multiply with * instead", "matmul: shapes {} and {}: an operand has no axes",
           a.shape().text(), b.shape().text());
  int64_t left = a.shape()[a.rank() - 1], right = b.shape()[b.rank() == 1 ? 0 : b.rank() - 2];
  if (left != right)
    refuse(at,
           "the last axis of the left operand must equal the last but one of the right; transpose "
           "one?",
           "matmul: shapes {} and {} do not fit: {} against {}", a.shape().text(), b.shape().text(),
           left, right);
  if (a.dtype() == DType::boolean && b.dtype() == DType::boolean)
    refuse(at, "cast first: x.to(f32)", "matmul: bool operands are not allowed");
}

/// The axes in front of the last two.
Shape batch_of(const Shape& shape) { return Shape(shape.span().first(shape.rank() - 2)); }

Shape with_matrix(Shape batch, int64_t rows, int64_t columns) {
  batch.push_back(rows);
  batch.push_back(columns);
  return batch;
}

/// Both operands of one dtype with equal batch axes.
Tensor contract(const Tensor& a, const Tensor& b, At at) {
  int64_t rows = a.shape()[a.rank() - 2], columns = b.shape()[b.rank() - 1];
  return record(
      {OpId::matmul, a.dtype(), a.device(), with_matrix(batch_of(a.shape()), rows, columns)},
      {a.node(), b.node()}, at);
}

/// Operands of at least two axes.
Tensor multiply(const Tensor& a, const Tensor& b, At at) {
  int64_t rows = a.shape()[a.rank() - 2], inner = a.shape()[a.rank() - 1],
          columns = b.shape()[b.rank() - 1];
  if (b.rank() == 2 && a.rank() > 2) {  // one large product instead of many small ones
    Shape flat{batch_of(a.shape()).numel() * rows, inner};
    return reshape(contract(reshape(a, flat, at), b, at),
                   with_matrix(batch_of(a.shape()), rows, columns), at);
  }
  Shape batch = broadcast(batch_of(a.shape()), batch_of(b.shape()), "matmul: batch axes",
                          current_location(at));
  return contract(expand(a, with_matrix(batch, rows, inner), at),
                  expand(b, with_matrix(batch, inner, columns), at), at);
}

void check_vectors(const Tensor& a, const Tensor& b, const char* what, At at) {
  if (a.rank() != 1 || b.rank() != 1)
    refuse(at, "both operands have one axis; use matmul for others", "{}: shapes {} and {}", what,
           a.shape().text(), b.shape().text());
}

}  // namespace

Tensor matmul(const Tensor& a, const Tensor& b, At at) {
  require_value(a, at);
  require_value(b, at);
  check_operands(a, b, at);
  DType dtype = promote(a.dtype(), b.dtype());
  Tensor left = a.to(dtype, at), right = b.to(dtype, at);
  if (a.rank() == 1) left = unsqueeze(left, 0, at);
  if (b.rank() == 1) right = unsqueeze(right, 1, at);
  Tensor product = multiply(left, right, at);
  if (b.rank() == 1) product = squeeze(product, {-1}, at);
  if (a.rank() == 1) product = squeeze(product, {b.rank() == 1 ? -1 : -2}, at);
  return product;
}

Tensor linear(const Tensor& x, const Tensor& w, const Tensor& bias, At at) {
  require_value(x, at);
  require_value(w, at);
  if (w.rank() != 2 || x.rank() == 0 || x.shape()[x.rank() - 1] != w.shape()[1])
    refuse(at, "w is [out, in], and x's last axis is `in`", "linear: x {} and w {} do not fit",
           x.shape().text(), w.shape().text());
  int64_t outputs = w.shape()[0], inputs = w.shape()[1];
  if (bias.defined() && bias.shape() != Shape{outputs})
    refuse(at, fmt::format("the bias is [{}]", outputs), "linear: w {} and bias {} do not fit",
           w.shape().text(), bias.shape().text());
  Scope scope("linear", at);
  Shape shape = x.shape();
  int64_t rows = 1;
  for (int axis = 0; axis + 1 < x.rank(); ++axis) rows *= shape[axis];
  shape[x.rank() - 1] = outputs;
  // The bias joins before the shape is restored, as part of the product's epilogue.
  Tensor y = matmul(reshape(x, {rows, inputs}, at), transpose(w, 0, 1, at), at);
  return reshape(bias.defined() ? y + bias : y, shape, at);
}

Tensor dot(const Tensor& a, const Tensor& b, At at) {
  require_value(a, at);
  require_value(b, at);
  check_vectors(a, b, "dot", at);
  return matmul(a, b, at);
}

Tensor outer(const Tensor& a, const Tensor& b, At at) {
  require_value(a, at);
  require_value(b, at);
  check_vectors(a, b, "outer", at);
  Scope scope("outer", at);
  return unsqueeze(a, 1, at) * unsqueeze(b, 0, at);
}

Tensor matmul_gradient(const GradientOf& of, int input) {
  return input == 0 ? contract(of.dy, transpose(of.in(1)), At::current())
                    : contract(transpose(of.in(0)), of.dy, At::current());
}

}  // namespace encore
