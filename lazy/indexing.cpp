#include <encore/lazy/create.h>
#include <encore/lazy/elementwise.h>
#include <encore/lazy/families.h>
#include <encore/lazy/indexing.h>
#include <encore/lazy/movement.h>
#include <encore/lazy/refuse.h>

namespace encore {
namespace {

using At = Tensor::At;

int axis_of(int64_t axis, const Tensor& x, const char* what, At at) {
  return normalize_axis(axis, x.rank(), what, current_location(at));
}

void check_index(const Tensor& index, const char* what, At at) {
  if (!is_integer(index.dtype()))
    refuse(
        at,
        index.dtype() == DType::boolean ? "use where or masked_fill" : "cast first: index.to(i64)",
        "{}: the index has dtype {}", what, name_of(index.dtype()));
}

void check_vector_index(const Tensor& index, const char* what, At at) {
  check_index(index, what, at);
  if (index.rank() != 1)
    refuse(at, "flatten it", "{}: the index has shape {}, not one axis", what,
           index.shape().text());
}

/// Without negative positions, for comparing with `iota`.
Tensor wrapped(const Tensor& index, int64_t extent) {
  if (!is_signed(index.dtype())) return index;
  Tensor wide = index.to(DType::i64);  // the extent need not fit a narrower dtype
  // The extent is a runtime argument: kernels serve other extents too.
  return where(wide < lit(0), wide + extent, wide);
}

Shape with_extent(Shape shape, int axis, int64_t extent) {
  shape[axis] = extent;
  return shape;
}

Tensor broadcast_source(const Tensor& source, const Shape& shape, const char* what, At at) {
  if (!broadcasts_to(source.shape(), shape))
    refuse(at, "the source must broadcast to the indexed part", "{}: source {} does not fit {}",
           what, source.shape().text(), shape.text());
  return expand(source, shape, at);
}

/// x's shape with one axis replaced by the axes of `index`.
Shape taken_shape(const Shape& x, const Shape& index, int axis, At at) {
  if (x.rank() - 1 + index.rank() > max_rank)
    refuse(at, "flatten the index", "take: {} taken by {} has more than {} axes", x.text(),
           index.text(), max_rank);
  Shape shape;
  for (int i = 0; i < axis; ++i) shape.push_back(x[i]);
  for (int64_t extent : index) shape.push_back(extent);
  for (int i = axis + 1; i < x.rank(); ++i) shape.push_back(x[i]);
  return shape;
}

Tensor index_node(OpId op, const Tensor& x, const Shape& shape, int axis,
                  std::initializer_list<Node*> inputs, At at) {
  return record({op, x.dtype(), x.device(), shape, {axis}}, inputs, at);
}

Tensor zeros_like_input(const GradientOf& of) {
  return expand(literal_node(0, of.node.dtype, of.node.device), of.node.inputs[0]->shape);
}

}  // namespace

Tensor take(const Tensor& x, const Tensor& index, int64_t axis, At at) {
  require_value(x, at);
  require_value(index, at);
  int place = axis_of(axis, x, "take", at);
  Shape shape = taken_shape(x.shape(), index.shape(), place, at);
  check_index(index, "take", at);
  return index_node(OpId::take, x, shape, place, {x.node(), index.node()}, at);
}

Tensor take_along(const Tensor& x, const Tensor& index, int64_t axis, At at) {
  require_value(x, at);
  require_value(index, at);
  int place = axis_of(axis, x, "take_along", at);
  if (index.rank() != x.rank())
    refuse(at, "unsqueeze the index", "take_along: x {} and index {} differ in rank",
           x.shape().text(), index.shape().text());
  Shape common = broadcast(with_extent(x.shape(), place, 1), with_extent(index.shape(), place, 1),
                           "take_along", current_location(at));
  Shape shape = with_extent(common, place, index.shape()[place]);
  Tensor from = expand(x, with_extent(common, place, x.shape()[place]), at);
  check_index(index, "take_along", at);
  Tensor positions = expand(index, shape, at);
  return index_node(OpId::take_along, from, shape, place, {from.node(), positions.node()}, at);
}

Tensor index_select(const Tensor& x, int64_t axis, const Tensor& index, At at) {
  require_value(x, at);
  require_value(index, at);
  check_vector_index(index, "index_select", at);
  return take(x, index, axis, at);
}

Tensor gather(const Tensor& x, int64_t axis, const Tensor& index, At at) {
  require_value(x, at);
  require_value(index, at);
  int place = axis_of(axis, x, "gather", at);
  Window reached = Window::whole(x.shape());
  bool fits = index.rank() == x.rank();
  for (int i = 0; fits && i < x.rank(); ++i) {
    if (i == place) continue;
    fits = index.shape()[i] <= x.shape()[i];
    reached.set(i, 0, 1, index.shape()[i]);
  }
  if (!fits)
    refuse(at, "the index has x's rank, and no axis but the gathered one is longer than x's",
           "gather: x {} and index {} do not fit", x.shape().text(), index.shape().text());
  return take_along(read_window(x, reached, at), index, place, at);
}

Tensor index_add(const Tensor& x, const Tensor& index, const Arg& source, int64_t axis, At at) {
  require_value(x, at);
  require_value(index, at);
  int place = axis_of(axis, x, "index_add", at);
  check_vector_index(index, "index_add", at);
  Tensor added = broadcast_source(stored_into(x, source, "index_add", at),
                                  with_extent(x.shape(), place, index.numel()), "index_add", at);
  return index_node(OpId::index_add, x, x.shape(), place, {x.node(), index.node(), added.node()},
                    at);
}

Tensor scatter_add(const Tensor& x, const Tensor& index, const Arg& source, int64_t axis, At at) {
  require_value(x, at);
  require_value(index, at);
  int place = axis_of(axis, x, "scatter_add", at);
  check_index(index, "scatter_add", at);
  if (index.rank() != x.rank() ||
      !broadcasts_to(with_extent(index.shape(), place, 1), with_extent(x.shape(), place, 1)))
    refuse(at, "all axes but the indexed one must be equal, or 1 in the index",
           "scatter_add: x {} and index {} do not fit", x.shape().text(), index.shape().text());
  Shape shape = with_extent(x.shape(), place, index.shape()[place]);
  Tensor added =
      broadcast_source(stored_into(x, source, "scatter_add", at), shape, "scatter_add", at);
  Tensor positions = expand(index, shape, at);
  return index_node(OpId::scatter_add, x, x.shape(), place,
                    {x.node(), positions.node(), added.node()}, at);
}

Tensor index_put(const Tensor& x, const Tensor& index, const Arg& source, int64_t axis, At at) {
  require_value(x, at);
  require_value(index, at);
  int place = axis_of(axis, x, "index_put", at);
  check_vector_index(index, "index_put", at);
  int64_t extent = x.shape()[place], count = index.numel();
  Tensor values = broadcast_source(stored_into(x, source, "index_put", at),
                                   with_extent(x.shape(), place, count), "index_put", at);
  if (count == 0 || extent == 0) return x;
  Scope scope("index_put", at);
  // For each position the last index that names it, or -1.
  Tensor named = iota({extent, count}, 0, x.device(), at) == wrapped(index, extent);
  Tensor last = where(named, iota({extent, count}, 1, x.device(), at), lit(-1)).max({1}, false, at);
  Shape column;
  for (int i = 0; i < x.rank(); ++i) column.push_back(i == place ? extent : 1);
  Tensor replaced = reshape(last >= lit(0), column, at);
  return where(replaced, take(values, last, place, at), x);
}

Tensor masked_fill(const Tensor& x, const Tensor& mask, const Arg& value, At at) {
  require_value(x, at);
  require_value(mask, at);
  if (mask.dtype() != DType::boolean || !broadcasts_to(mask.shape(), x.shape()))
    refuse(at, "the mask is bool and broadcasts to the tensor",
           "masked_fill: x {} and mask {} ({})", x.shape().text(), mask.shape().text(),
           name_of(mask.dtype()));
  Scope scope("masked_fill", at);
  Tensor filling = stored_into(x, value, "masked_fill", at);
  return where(mask, broadcast_source(filling, x.shape(), "masked_fill", at), x);
}

Tensor one_hot(const Tensor& index, int64_t classes, DType dtype, At at) {
  require_value(index, at);
  if (classes < 0) refuse(at, "give zero or more", "one_hot: {} classes", classes);
  Scope scope("one_hot", at);
  check_index(index, "one_hot", at);
  Tensor column = unsqueeze(index, -1, at);
  return (column == iota({classes}, 0, index.device(), at)).to(dtype, at);
}

Tensor stored_into(const Tensor& x, const Arg& value, const char* what, At at) {
  require_value(x, at);
  Kind kind = kind_of(x.dtype());
  bool fits;
  if (value.is_number()) {
    fits = value.is_literal() || value.is_boolean() || kind == Kind::floating ||
           (kind != Kind::boolean && !value.number().floating);
  } else {
    Kind given = kind_of(value.node()->dtype);
    fits = given == kind || given == Kind::boolean || kind == Kind::floating ||
           (given != Kind::floating && kind != Kind::boolean);
  }
  if (!fits)
    refuse(at, fmt::format("cast first: value.to({})", name_of(x.dtype())),
           "{}: {} values would lose their kind in a tensor of {}", what,
           value.is_number() ? "number" : name_of(value.node()->dtype), name_of(x.dtype()));
  return as_tensor(value, x.dtype(), x.device()).to(x.dtype(), at);
}

Tensor take_gradient(const GradientOf& of, int input) {
  if (input != 0) return {};
  int axis = int(of.node.attributes[0]);
  Tensor index = of.in(1);
  Tensor rows = reshape(of.dy, with_extent(of.node.inputs[0]->shape, axis, index.numel()));
  return index_add(zeros_like_input(of), reshape(index, {index.numel()}), rows, axis);
}

Tensor take_along_gradient(const GradientOf& of, int input) {
  if (input != 0) return {};
  int axis = int(of.node.attributes[0]);
  Tensor index = of.in(1);
  const Shape& shape = of.node.inputs[0]->shape;
  if (of.node.shape[axis] != 1) return scatter_add(zeros_like_input(of), index, of.dy, axis);
  // One position a row: a comparison fuses where a scatter would not.
  return where(iota(shape, axis, of.node.device) == wrapped(index, shape[axis]), of.dy, lit(0.0));
}

Tensor index_add_gradient(const GradientOf& of, int input) {
  if (input == 0) return of.dy;
  return input == 2 ? take(of.dy, of.in(1), of.node.attributes[0]) : Tensor();
}

Tensor scatter_add_gradient(const GradientOf& of, int input) {
  if (input == 0) return of.dy;
  return input == 2 ? take_along(of.dy, of.in(1), of.node.attributes[0]) : Tensor();
}

}  // namespace encore
