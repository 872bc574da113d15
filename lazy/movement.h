// Functions that move elements and compute nothing: each records an index map, never a copy.
//
// Axes may be negative. What changes nothing (a reshape to the same shape, a slice of everything)
// returns its input. Shapes and axes that do not fit throw at the caller's line.
#pragma once
#include <encore/lazy/record.h>

namespace encore {

/// The same elements in row-major order; one extent may be -1: inferred.
Tensor reshape(const Tensor& x, Shape shape, Tensor::At at = Tensor::At::current());
/// Merges the axes `first` to `last`, both included.
Tensor flatten(const Tensor& x, int64_t first = 0, int64_t last = -1,
               Tensor::At at = Tensor::At::current());
/// Axis i of the result is axis order[i] of `x`.
Tensor permute(const Tensor& x, Tensor::Axes order, Tensor::At at = Tensor::At::current());
/// Swaps two axes.
Tensor transpose(const Tensor& x, int64_t a = -2, int64_t b = -1,
                 Tensor::At at = Tensor::At::current());
/// Moves axis `from` to place `to`; the others keep their order.
Tensor move_axis(const Tensor& x, int64_t from, int64_t to, Tensor::At at = Tensor::At::current());
/// Repeats axes of extent 1, and puts new axes in front; an extent of -1 keeps the input's.
Tensor expand(const Tensor& x, Shape shape, Tensor::At at = Tensor::At::current());
Tensor broadcast_to(const Tensor& x, Shape shape, Tensor::At at = Tensor::At::current());
/// Drops axes of extent 1: the given ones (others throw), or all of them.
Tensor squeeze(const Tensor& x, Tensor::Axes axes = {}, Tensor::At at = Tensor::At::current());
/// Adds an axis of extent 1, so that it becomes axis `axis` of the result.
Tensor unsqueeze(const Tensor& x, int64_t axis, Tensor::At at = Tensor::At::current());

/// The part of each axis, as Python slices; axes without an entry are kept whole.
Tensor slice(const Tensor& x, const std::vector<Slice>& parts,
             Tensor::At at = Tensor::At::current());
/// `length` positions of one axis from `start` on; both must lie inside it.
Tensor narrow(const Tensor& x, int64_t axis, int64_t start, int64_t length,
              Tensor::At at = Tensor::At::current());
/// One position of an axis, which the result lacks.
Tensor select(const Tensor& x, int64_t axis, int64_t index, Tensor::At at = Tensor::At::current());
/// Reverses the given axes, or all.
Tensor flip(const Tensor& x, Tensor::Axes axes = {}, Tensor::At at = Tensor::At::current());
/// Adds low[i] elements before and high[i] after axis i, all equal to `value` (a number or a rank-0
/// tensor, taken in x's dtype).
Tensor pad(const Tensor& x, std::vector<int64_t> low, std::vector<int64_t> high, Arg value = lit(0),
           Tensor::At at = Tensor::At::current());

/// Joins along an existing axis; dtypes promote.
Tensor concat(const std::vector<Tensor>& parts, int64_t axis = 0,
              Tensor::At at = Tensor::At::current());
/// Joins along a new axis; the shapes must be equal.
Tensor stack(const std::vector<Tensor>& parts, int64_t axis = 0,
             Tensor::At at = Tensor::At::current());
/// Parts of `size` along an axis, the last one shorter where it does not divide.
std::vector<Tensor> split(const Tensor& x, int64_t size, int64_t axis = 0,
                          Tensor::At at = Tensor::At::current());
/// Parts of the given sizes, which must add up to the extent.
std::vector<Tensor> split(const Tensor& x, const std::vector<int64_t>& sizes, int64_t axis = 0,
                          Tensor::At at = Tensor::At::current());
/// At most `count` parts of equal size (rounded up), as torch.chunk.
std::vector<Tensor> chunk(const Tensor& x, int64_t count, int64_t axis = 0,
                          Tensor::At at = Tensor::At::current());

/// The whole tensor `counts[i]` times along axis i; more counts than axes put new axes in front.
Tensor repeat(const Tensor& x, std::vector<int64_t> counts, Tensor::At at = Tensor::At::current());
/// As numpy.tile: fewer counts than axes belong to the last axes.
Tensor tile(const Tensor& x, std::vector<int64_t> counts, Tensor::At at = Tensor::At::current());
/// Each element `count` times in a row along an axis.
Tensor repeat_interleave(const Tensor& x, int64_t count, int64_t axis,
                         Tensor::At at = Tensor::At::current());
/// Rotates axis axes[i] by shifts[i]; without axes, the flattened tensor by one shift.
Tensor roll(const Tensor& x, std::vector<int64_t> shifts, Tensor::Axes axes = {},
            Tensor::At at = Tensor::At::current());

/// A lattice inside a tensor: position i of axis a lies at start[a] + i * step[a]. Always inside;
/// canonical: an empty axis has start 0, and one with fewer than two positions has step 1.
struct Window {
  Shape shape;
  Shape start;
  Shape step;
  /// All of a tensor of `shape`.
  static Window whole(const Shape& shape);
  void set(int axis, int64_t first, int64_t stride, int64_t count);
};

/// The positions that a Python slice of an axis of `extent` selects, put into axis `axis`.
void set_slice(Window& window, int axis, const Slice& part, int64_t extent, Location where);

/// What the window shows of `x`.
Tensor read_window(const Tensor& x, const Window& window, Tensor::At at = Tensor::At::current());
/// A tensor of shape `whole`: `part` seen through the window, 0 everywhere else.
Tensor spread_window(const Tensor& part, const Window& window, const Shape& whole,
                     Tensor::At at = Tensor::At::current());

}  // namespace encore
