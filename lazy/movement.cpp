#include <encore/lazy/create.h>
#include <encore/lazy/elementwise.h>
#include <encore/lazy/extents.h>
#include <encore/lazy/families.h>
#include <encore/lazy/movement.h>
#include <encore/lazy/refuse.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>

namespace encore {
namespace {

using At = Tensor::At;

int axis_of(int64_t axis, int rank, const char* what, At at) {
  return normalize_axis(axis, rank, what, current_location(at));
}

Tensor moved(OpId op, const Tensor& x, const Shape& shape, std::vector<int64_t> attributes, At at) {
  return record({op, x.dtype(), x.device(), shape, std::move(attributes)}, {x.node()}, at);
}

/// The axes as flags; an empty list means all of them.
std::vector<bool> chosen_axes(const Tensor::Axes& axes, int rank, const char* what, At at) {
  std::vector<bool> chosen(rank, axes.empty());
  for (int64_t axis : axes) {
    int place = axis_of(axis, rank, what, at);
    if (chosen[place]) refuse(at, "name every axis once", "{}: axis {} is given twice", what, axis);
    chosen[place] = true;
  }
  return chosen;
}

int64_t product(const Shape& shape, int first, int last) {
  int64_t count = 1;
  for (int axis = first; axis < last; ++axis) count = saturating_multiply(count, shape[axis]);
  return count;
}

/// `shape` with one extent replaced.
Shape with_extent(Shape shape, int axis, int64_t extent) {
  shape[axis] = extent;
  return shape;
}

void check_rank(int rank, const char* what, At at) {
  if (rank > max_rank)
    refuse(at, "merge axes with reshape",
           "{}: the result would have {} axes; at most {} are supported", what, rank, max_rank);
}

/// Tensors that a kernel chooses among; more are joined group by group.
constexpr size_t most_joined = 48;

/// Tensors of one dtype, which differ in one extent at most.
Tensor join(std::span<const Tensor> parts, int place, At at) {
  Shape shape = with_extent(parts[0].shape(), place, 0);
  std::vector<Node*> inputs;
  for (const Tensor& part : parts) {
    shape[place] = saturating_add(shape[place], part.shape()[place]);
    inputs.push_back(part.node());
  }
  return record({OpId::concat, parts[0].dtype(), parts[0].device(), shape, {place}}, inputs, at);
}

/// Puts step - 1 zeros between the positions of an axis (none after the last).
Tensor dilate(const Tensor& x, int axis, int64_t step, At at) {
  int64_t outer = product(x.shape(), 0, axis), inner = product(x.shape(), axis + 1, x.rank());
  int64_t count = x.shape()[axis], length = (count - 1) * step + 1;
  Tensor cells =
      pad(reshape(x, {outer * count, 1, inner}, at), {0, 0, 0}, {0, step - 1, 0}, lit(0), at);
  Tensor row = narrow(reshape(cells, {outer, count * step, inner}, at), 1, 0, length, at);
  return reshape(row, with_extent(x.shape(), axis, length), at);
}

}  // namespace

Tensor reshape(const Tensor& x, Shape shape, At at) {
  require_value(x, at);
  const Shape& from = x.shape();
  int64_t known = 1;
  int inferred = -1;
  for (int axis = 0; axis < shape.rank(); ++axis) {
    if (shape[axis] >= 0) {
      known = saturating_multiply(known, shape[axis]);
    } else if (shape[axis] == -1 && inferred < 0) {
      inferred = axis;
    } else {
      refuse(at, "one extent may be -1; the others are zero or more",
             "reshape: shape {} is not valid", shape.text());
    }
  }
  if (inferred >= 0) {
    if (known == 0 || from.numel() % known != 0)
      refuse(at, "give all extents, or others whose product divides the element count",
             "reshape: {} ({} elements) leaves nothing to infer in {}", from.text(), from.numel(),
             shape.text());
    shape[inferred] = from.numel() / known;
  } else if (known != from.numel()) {
    refuse(at, "the element counts must be equal; use expand to repeat or slice to cut",
           "reshape: {} ({} elements) does not fit {} ({} elements)", from.text(), from.numel(),
           shape.text(), known);
  }
  return shape == from ? x : moved(OpId::reshape, x, shape, {}, at);
}

Tensor flatten(const Tensor& x, int64_t first, int64_t last, At at) {
  require_value(x, at);
  if (x.rank() == 0) return reshape(x, {1}, at);
  int begin = axis_of(first, x.rank(), "flatten", at), end = axis_of(last, x.rank(), "flatten", at);
  if (begin > end)
    refuse(at, "the first axis comes before the last", "flatten: axes {} to {} of {}", first, last,
           x.shape().text());
  Shape shape;
  for (int axis = 0; axis < begin; ++axis) shape.push_back(x.shape()[axis]);
  shape.push_back(product(x.shape(), begin, end + 1));
  for (int axis = end + 1; axis < x.rank(); ++axis) shape.push_back(x.shape()[axis]);
  return reshape(x, shape, at);
}

Tensor permute(const Tensor& x, Tensor::Axes order, At at) {
  require_value(x, at);
  if (int(order.size()) != x.rank())
    refuse(at, "name every axis once", "permute: order [{}] has {} axes, but the tensor is {}",
           fmt::join(order, ", "), order.size(), x.shape().text());
  std::vector<bool> seen(x.rank());
  Shape shape = x.shape();
  bool identity = true;
  for (int axis = 0; axis < x.rank(); ++axis) {
    int from = axis_of(order[axis], x.rank(), "permute", at);
    if (seen[from])
      refuse(at, "name every axis once", "permute: order [{}] names axis {} twice",
             fmt::join(order, ", "), from);
    seen[from] = true;
    identity &= from == axis;
    shape[axis] = x.shape()[from];
    order[axis] = from;
  }
  return identity ? x : moved(OpId::permute, x, shape, std::move(order), at);
}

Tensor transpose(const Tensor& x, int64_t a, int64_t b, At at) {
  require_value(x, at);
  Tensor::Axes order(x.rank());
  std::iota(order.begin(), order.end(), 0);
  int first = axis_of(a, x.rank(), "transpose", at), second = axis_of(b, x.rank(), "transpose", at);
  std::swap(order[first], order[second]);
  return permute(x, std::move(order), at);
}

Tensor move_axis(const Tensor& x, int64_t from, int64_t to, At at) {
  require_value(x, at);
  int source = axis_of(from, x.rank(), "move_axis", at),
      target = axis_of(to, x.rank(), "move_axis", at);
  Tensor::Axes order(x.rank());
  std::iota(order.begin(), order.end(), 0);
  order.erase(order.begin() + source);
  order.insert(order.begin() + target, source);
  return permute(x, std::move(order), at);
}

Tensor expand(const Tensor& x, Shape shape, At at) {
  require_value(x, at);
  const Shape& from = x.shape();
  int shift = shape.rank() - from.rank();
  for (int axis = 0; axis < shape.rank(); ++axis)
    if (shape[axis] == -1 && axis >= shift && shift >= 0) shape[axis] = from[axis - shift];
  if (std::any_of(shape.begin(), shape.end(), [](int64_t extent) { return extent < 0; }) ||
      !broadcasts_to(from, shape))
    refuse(at, "axes are aligned at the right; only extents of 1 can be repeated",
           "expand: {} does not broadcast to {}", from.text(), shape.text());
  return shape == from ? x : moved(OpId::expand, x, shape, {}, at);
}

Tensor broadcast_to(const Tensor& x, Shape shape, At at) { return expand(x, shape, at); }

Tensor squeeze(const Tensor& x, Tensor::Axes axes, At at) {
  require_value(x, at);
  std::vector<bool> chosen = chosen_axes(axes, x.rank(), "squeeze", at);
  Shape shape;
  for (int axis = 0; axis < x.rank(); ++axis) {
    int64_t extent = x.shape()[axis];
    if (chosen[axis] && extent != 1 && !axes.empty())
      refuse(at, "only axes of extent 1 can be dropped", "squeeze: axis {} of {} has extent {}",
             axis, x.shape().text(), extent);
    if (!chosen[axis] || extent != 1) shape.push_back(extent);
  }
  return reshape(x, shape, at);
}

Tensor unsqueeze(const Tensor& x, int64_t axis, At at) {
  require_value(x, at);
  check_rank(x.rank() + 1, "unsqueeze", at);
  int place = axis_of(axis, x.rank() + 1, "unsqueeze", at);
  Shape shape;
  for (int i = 0; i <= x.rank(); ++i)
    shape.push_back(i < place ? x.shape()[i] : i == place ? 1 : x.shape()[i - 1]);
  return reshape(x, shape, at);
}

Window Window::whole(const Shape& shape) {
  Window window{shape, shape, shape};
  for (int axis = 0; axis < shape.rank(); ++axis) window.set(axis, 0, 1, shape[axis]);
  return window;
}

void Window::set(int axis, int64_t first, int64_t stride, int64_t count) {
  shape[axis] = count;
  start[axis] = count == 0 ? 0 : first;
  step[axis] = count <= 1 ? 1 : stride;
}

void set_slice(Window& window, int axis, const Slice& part, int64_t extent, Location where) {
  if (part.step == 0)
    refuse(where, "use a step of 1 or more, or a negative one", "slice: the step is zero");
  bool forward = part.step > 0;
  int64_t lowest = forward ? 0 : -1, highest = forward ? extent : extent - 1;
  auto bound = [&](std::optional<int64_t> given, int64_t absent) {
    if (!given) return absent;
    return std::clamp(*given < 0 ? *given + extent : *given, lowest, highest);
  };
  int64_t start = bound(part.start, forward ? lowest : highest);
  int64_t stop = bound(part.stop, forward ? highest : lowest);
  int64_t distance = forward ? stop - start : start - stop;
  // A step that overflows the distance still selects the first position.
  int64_t stride = std::clamp(part.step, -extent - 1, extent + 1), size = std::abs(stride);
  window.set(axis, start, stride, distance <= 0 ? 0 : (distance - 1) / size + 1);
}

Tensor read_window(const Tensor& x, const Window& window, At at) {
  require_value(x, at);
  bool whole = window.shape == x.shape();
  for (int axis = 0; axis < x.rank() && whole; ++axis)
    whole = window.start[axis] == 0 && window.step[axis] == 1;
  if (whole) return x;
  std::vector<int64_t> attributes(window.start.begin(), window.start.end());
  attributes.insert(attributes.end(), window.step.begin(), window.step.end());
  return moved(OpId::slice, x, window.shape, std::move(attributes), at);
}

Tensor spread_window(const Tensor& part, const Window& window, const Shape& whole, At at) {
  require_value(part, at);
  Window backward = Window::whole(part.shape());
  Window ascending = window;
  for (int axis = 0; axis < part.rank(); ++axis) {
    int64_t count = part.shape()[axis], step = window.step[axis];
    if (step >= 0) continue;
    backward.set(axis, count - 1, -1, count);
    ascending.set(axis, window.start[axis] + (count - 1) * step, -step, count);
  }
  Tensor spread = read_window(part, backward, at);
  std::vector<int64_t> low(whole.rank()), high(whole.rank());
  for (int axis = 0; axis < whole.rank(); ++axis) {
    if (ascending.step[axis] > 1) spread = dilate(spread, axis, ascending.step[axis], at);
    low[axis] = ascending.start[axis];
    high[axis] = whole[axis] - low[axis] - spread.shape()[axis];
  }
  return pad(spread, std::move(low), std::move(high), lit(0), at);
}

Tensor slice(const Tensor& x, const std::vector<Slice>& parts, At at) {
  require_value(x, at);
  if (int(parts.size()) > x.rank())
    refuse(at, "give at most one slice an axis", "slice: {} slices for a tensor of shape {}",
           parts.size(), x.shape().text());
  Window window = Window::whole(x.shape());
  for (size_t axis = 0; axis < parts.size(); ++axis)
    set_slice(window, int(axis), parts[axis], x.shape()[int(axis)], at);
  return read_window(x, window, at);
}

Tensor narrow(const Tensor& x, int64_t axis, int64_t start, int64_t length, At at) {
  require_value(x, at);
  int place = axis_of(axis, x.rank(), "narrow", at);
  int64_t extent = x.shape()[place], first = start < 0 ? start + extent : start;
  if (first < 0 || length < 0 || length > extent - first)
    refuse(at, "stay inside the axis, or use slice, which clamps",
           "narrow: {} positions from {} on axis {} of {}", length, start, place, x.shape().text());
  Window window = Window::whole(x.shape());
  window.set(place, first, 1, length);
  return read_window(x, window, at);
}

Tensor select(const Tensor& x, int64_t axis, int64_t index, At at) {
  require_value(x, at);
  int place = axis_of(axis, x.rank(), "select", at);
  int64_t extent = x.shape()[place];
  if (index < -extent || index >= extent)
    refuse(at,
           extent == 0 ? "the axis is empty"
                       : fmt::format("use an index in [{}, {}]", -extent, extent - 1),
           "select: index {} is out of range for axis {} of {}", index, place, x.shape().text());
  return squeeze(narrow(x, place, index, 1, at), {place}, at);
}

Tensor flip(const Tensor& x, Tensor::Axes axes, At at) {
  require_value(x, at);
  std::vector<bool> chosen = chosen_axes(axes, x.rank(), "flip", at);
  Window window = Window::whole(x.shape());
  for (int axis = 0; axis < x.rank(); ++axis)
    if (chosen[axis]) window.set(axis, x.shape()[axis] - 1, -1, x.shape()[axis]);
  return read_window(x, window, at);
}

Tensor pad(const Tensor& x, std::vector<int64_t> low, std::vector<int64_t> high, Arg value, At at) {
  require_value(x, at);
  if (int(low.size()) != x.rank() || int(high.size()) != x.rank())
    refuse(at, "give one count an axis on either side",
           "pad: counts [{}] and [{}] for a tensor of shape {}", fmt::join(low, ", "),
           fmt::join(high, ", "), x.shape().text());
  Shape shape = x.shape();
  for (int axis = 0; axis < x.rank(); ++axis) {
    if (low[axis] < 0 || high[axis] < 0)
      refuse(at, "counts are zero or more; cut with slice", "pad: counts [{}] and [{}]",
             fmt::join(low, ", "), fmt::join(high, ", "));
    shape[axis] = saturating_add(shape[axis], saturating_add(low[axis], high[axis]));
  }
  Tensor fill = as_tensor(value, x.dtype(), x.device()).to(x.dtype(), at);
  if (fill.rank() != 0)
    refuse(at, "fill with a number or a tensor without axes", "pad: the filling value has shape {}",
           fill.shape().text());
  if (shape == x.shape()) return x;
  low.insert(low.end(), high.begin(), high.end());
  return record({OpId::pad, x.dtype(), x.device(), shape, std::move(low)}, {x.node(), fill.node()},
                at);
}

Tensor concat(const std::vector<Tensor>& parts, int64_t axis, At at) {
  for (const Tensor& part : parts) require_value(part, at);
  if (parts.empty()) refuse(at, "give at least one", "concat: no tensors");
  const Shape& first = parts[0].shape();
  if (first.rank() == 0) refuse(at, "use stack", "concat: tensors without axes cannot be joined");
  int place = axis_of(axis, first.rank(), "concat", at);
  DType dtype = parts[0].dtype();
  for (const Tensor& part : parts) {
    if (part.rank() != first.rank() ||
        with_extent(part.shape(), place, 0) != with_extent(first, place, 0))
      refuse(at, "all extents but the joined axis's must be equal",
             "concat: shapes {} and {} along axis {}", first.text(), part.shape().text(), place);
    dtype = promote(dtype, part.dtype());
  }
  if (parts.size() == 1) return parts[0];
  std::vector<Tensor> same;
  for (const Tensor& part : parts) same.push_back(part.to(dtype, at));
  while (same.size() > most_joined) {
    std::vector<Tensor> groups;
    for (size_t i = 0; i < same.size(); i += most_joined)
      groups.push_back(
          join(std::span(same).subspan(i, std::min(most_joined, same.size() - i)), place, at));
    same = std::move(groups);
  }
  return join(same, place, at);
}

Tensor stack(const std::vector<Tensor>& parts, int64_t axis, At at) {
  for (const Tensor& part : parts) require_value(part, at);
  if (parts.empty()) refuse(at, "give at least one", "stack: no tensors");
  std::vector<Tensor> rows;
  for (const Tensor& part : parts) {
    if (part.shape() != parts[0].shape())
      refuse(at, "the shapes must be equal", "stack: shapes {} and {}", parts[0].shape().text(),
             part.shape().text());
    rows.push_back(unsqueeze(part, axis, at));
  }
  return concat(rows, axis_of(axis, parts[0].rank() + 1, "stack", at), at);
}

std::vector<Tensor> split(const Tensor& x, const std::vector<int64_t>& sizes, int64_t axis, At at) {
  require_value(x, at);
  int place = axis_of(axis, x.rank(), "split", at);
  bool negative = std::any_of(sizes.begin(), sizes.end(), [](int64_t size) { return size < 0; });
  int64_t total = std::accumulate(sizes.begin(), sizes.end(), int64_t(0), saturating_add);
  if (negative || total != x.shape()[place])
    refuse(at, "the sizes are zero or more and add up to the extent",
           "split: sizes [{}] of axis {} of {}", fmt::join(sizes, ", "), place, x.shape().text());
  std::vector<Tensor> parts;
  int64_t start = 0;
  for (int64_t size : sizes) {
    parts.push_back(narrow(x, place, start, size, at));
    start += size;
  }
  return parts;
}

std::vector<Tensor> split(const Tensor& x, int64_t size, int64_t axis, At at) {
  require_value(x, at);
  int place = axis_of(axis, x.rank(), "split", at);
  if (size <= 0) refuse(at, "use a size of 1 or more", "split: parts of size {}", size);
  std::vector<int64_t> sizes;
  int64_t extent = x.shape()[place];
  for (int64_t start = 0; start < extent; start += size)
    sizes.push_back(std::min(size, extent - start));
  if (sizes.empty()) sizes.push_back(0);
  return split(x, sizes, place, at);
}

std::vector<Tensor> chunk(const Tensor& x, int64_t count, int64_t axis, At at) {
  require_value(x, at);
  int place = axis_of(axis, x.rank(), "chunk", at);
  if (count <= 0) refuse(at, "use a count of 1 or more", "chunk: {} parts", count);
  int64_t extent = x.shape()[place];
  return split(x, std::max<int64_t>(1, (extent - 1) / count + 1), place, at);
}

Tensor repeat_interleave(const Tensor& x, int64_t count, int64_t axis, At at) {
  require_value(x, at);
  int place = axis_of(axis, x.rank(), "repeat_interleave", at);
  if (count < 0) refuse(at, "use a count of zero or more", "repeat_interleave: {} times", count);
  if (count == 1) return x;
  int64_t outer = product(x.shape(), 0, place + 1), inner = product(x.shape(), place + 1, x.rank());
  Tensor rows = expand(reshape(x, {outer, 1, inner}, at), {outer, count, inner}, at);
  int64_t extent = saturating_multiply(x.shape()[place], count);
  return reshape(rows, with_extent(x.shape(), place, extent), at);
}

Tensor repeat(const Tensor& x, std::vector<int64_t> counts, At at) {
  require_value(x, at);
  if (int(counts.size()) < x.rank())
    refuse(at, "give a count for every axis, or use tile",
           "repeat: counts [{}] for a tensor of shape {}", fmt::join(counts, ", "),
           x.shape().text());
  check_rank(int(counts.size()), "repeat", at);
  Shape shape;
  for (size_t i = counts.size(); i > size_t(x.rank()); --i) shape.push_back(1);
  for (int64_t extent : x.shape()) shape.push_back(extent);
  Tensor result = reshape(x, shape, at);
  for (int axis = 0; axis < shape.rank(); ++axis) {
    int64_t count = counts[axis], extent = shape[axis];
    if (count < 0)
      refuse(at, "counts are zero or more", "repeat: counts [{}]", fmt::join(counts, ", "));
    if (count == 1) continue;
    int64_t outer = product(shape, 0, axis), inner = product(shape, axis, shape.rank());
    shape[axis] = saturating_multiply(extent, count);
    if (extent == 1) {
      result = expand(result, shape, at);
    } else {
      Tensor blocks = expand(reshape(result, {outer, 1, inner}, at), {outer, count, inner}, at);
      result = reshape(blocks, shape, at);
    }
  }
  return result;
}

Tensor tile(const Tensor& x, std::vector<int64_t> counts, At at) {
  require_value(x, at);
  if (int(counts.size()) < x.rank()) counts.insert(counts.begin(), x.rank() - counts.size(), 1);
  return repeat(x, std::move(counts), at);
}

Tensor roll(const Tensor& x, std::vector<int64_t> shifts, Tensor::Axes axes, At at) {
  require_value(x, at);
  if (axes.empty() && shifts.size() == 1)
    return reshape(roll(flatten(x, 0, -1, at), shifts, {0}, at), x.shape(), at);
  if (axes.size() != shifts.size())
    refuse(at, "give one shift an axis", "roll: {} shifts for {} axes", shifts.size(), axes.size());
  Tensor result = x;
  for (size_t i = 0; i < axes.size(); ++i) {
    int axis = axis_of(axes[i], x.rank(), "roll", at);
    int64_t extent = x.shape()[axis],
            shift = extent == 0 ? 0 : (shifts[i] % extent + extent) % extent;
    if (shift == 0) continue;
    Tensor head = narrow(result, axis, extent - shift, shift, at);
    result = concat({head, narrow(result, axis, 0, extent - shift, at)}, axis, at);
  }
  return result;
}

Tensor reshape_gradient(const GradientOf& of, int) {
  return reshape(of.dy, of.node.inputs[0]->shape);
}

Tensor permute_gradient(const GradientOf& of, int) {
  Tensor::Axes inverse(of.node.attributes.size());
  for (size_t axis = 0; axis < inverse.size(); ++axis)
    inverse[of.node.attributes[axis]] = int64_t(axis);
  return permute(of.dy, std::move(inverse));
}

Tensor slice_gradient(const GradientOf& of, int) {
  std::span attributes(of.node.attributes);
  size_t rank = attributes.size() / 2;
  Window window{of.node.shape, Shape(attributes.first(rank)), Shape(attributes.last(rank))};
  return spread_window(of.dy, window, of.node.inputs[0]->shape);
}

Tensor pad_gradient(const GradientOf& of, int input) {
  const Shape& inside = of.node.inputs[0]->shape;
  Window window = Window::whole(inside);
  for (int axis = 0; axis < inside.rank(); ++axis)
    window.set(axis, of.node.attributes[axis], 1, inside[axis]);
  if (input == 0) return read_window(of.dy, window);
  Tensor within = expand(literal_node(1, DType::boolean, of.node.device), inside);
  return where(spread_window(within, window, of.node.shape), lit(0.0), of.dy);
}

Tensor concat_gradient(const GradientOf& of, int input) {
  int axis = int(of.node.attributes[0]);
  int64_t start = 0;
  for (int i = 0; i < input; ++i) start += of.node.inputs[i]->shape[axis];
  return narrow(of.dy, axis, start, of.node.inputs[input]->shape[axis]);
}

Tensor Tensor::reshape(Shape shape, At at) const { return encore::reshape(*this, shape, at); }
Tensor Tensor::flatten(int64_t first, int64_t last, At at) const {
  return encore::flatten(*this, first, last, at);
}
Tensor Tensor::permute(Axes order, At at) const {
  return encore::permute(*this, std::move(order), at);
}
Tensor Tensor::transpose(int64_t a, int64_t b, At at) const {
  return encore::transpose(*this, a, b, at);
}
Tensor Tensor::squeeze(Axes axes, At at) const {
  return encore::squeeze(*this, std::move(axes), at);
}
Tensor Tensor::unsqueeze(int64_t axis, At at) const { return encore::unsqueeze(*this, axis, at); }
Tensor Tensor::expand(Shape shape, At at) const { return encore::expand(*this, shape, at); }
Tensor Tensor::flip(Axes axes, At at) const { return encore::flip(*this, std::move(axes), at); }

}  // namespace encore
