// x[{…}]: numbers and slices become one slice, a tensor becomes take; writing is where over pad.
#include <encore/lazy/elementwise.h>
#include <encore/lazy/indexing.h>
#include <encore/lazy/movement.h>
#include <encore/lazy/refuse.h>

namespace encore {
namespace {

/// An index laid over a tensor.
struct Selection {
  Window window;
  Shape kept;  // the window's shape without the axes that numbers drop
  const Tensor* positions = nullptr;
  int axis = 0;  // of `kept`, read at `positions`
};

Tensor::At place_of(const std::vector<IndexEntry>& index) {
  return index.empty() ? Tensor::At() : index[0].location;
}

Selection select_from(const Tensor& x, const std::vector<IndexEntry>& index) {
  if (int(index.size()) > x.rank())
    refuse(place_of(index), "give at most one entry an axis", "{} indices for a tensor of shape {}",
           index.size(), x.shape().text());
  Selection selection{Window::whole(x.shape())};
  for (int axis = 0; axis < x.rank(); ++axis) {
    int64_t extent = x.shape()[axis];
    const IndexEntry* entry = axis < int(index.size()) ? &index[axis] : nullptr;
    if (entry && entry->index) {
      int64_t position = *entry->index;
      if (position < -extent || position >= extent)
        refuse(entry->location,
               extent == 0 ? "the axis is empty"
                           : fmt::format("use an index in [{}, {}]", -extent, extent - 1),
               "index {} is out of range for axis {} of {}", position, axis, x.shape().text());
      selection.window.set(axis, position < 0 ? position + extent : position, 1, 1);
      continue;
    }
    if (entry && entry->positions.defined()) {
      if (selection.positions)
        refuse(entry->location, "index one axis after the other",
               "more than one index is a tensor");
      selection.positions = &entry->positions;
      selection.axis = selection.kept.rank();
    } else if (entry) {
      set_slice(selection.window, axis, entry->slice, extent, entry->location);
    }
    selection.kept.push_back(selection.window.shape[axis]);
  }
  return selection;
}

Tensor read_kept(const Tensor& x, const Selection& selection, Tensor::At at) {
  return reshape(read_window(x, selection.window, at), selection.kept, at);
}

Tensor read(const Tensor& x, const std::vector<IndexEntry>& index) {
  Tensor::At at = place_of(index);
  require_value(x, at);
  Selection selection = select_from(x, index);
  Tensor part = read_kept(x, selection, at);
  return selection.positions ? take(part, *selection.positions, selection.axis, at) : part;
}

/// `value` broadcast to the part that an index names.
Tensor fit(const Tensor& value, const Shape& part) {
  if (!broadcasts_to(value.shape(), part))
    refuse({}, "the value must broadcast to the part",
           "a value of shape {} does not fit the part {}", value.shape().text(), part.text());
  return expand(value, part);
}

/// `x` with the indexed part replaced.
Tensor written(const Tensor& x, const std::vector<IndexEntry>& index, const Shape& part,
               const Arg& value) {
  Selection selection = select_from(x, index);
  Tensor fresh = fit(stored_into(x, value, "assignment", {}), part);
  if (selection.positions) {
    int64_t count = selection.positions->numel();
    Shape rows = selection.kept;
    rows[selection.axis] = count;
    fresh = index_put(read_kept(x, selection, {}), reshape(*selection.positions, {count}),
                      reshape(fresh, rows), selection.axis);
  }
  const Window& window = selection.window;
  if (window.shape.numel() == 0) return x;
  fresh = spread_window(reshape(fresh, window.shape), window, x.shape());
  Tensor inside = expand(literal_node(1, DType::boolean, x.device()), window.shape);
  inside = spread_window(inside, window, x.shape());
  bool everything = window.shape == x.shape();
  return everything ? fresh : where(inside, fresh, x);
}

}  // namespace

ElementProxy Tensor::operator[](std::vector<IndexEntry> index) & {
  return {*this, std::move(index)};
}
Tensor Tensor::operator[](std::vector<IndexEntry> index) const& { return read(*this, index); }
Tensor Tensor::operator[](std::vector<IndexEntry> index) && { return read(*this, index); }

ElementProxy::ElementProxy(Tensor& target, std::vector<IndexEntry> index)
    : Tensor(read(target, index)), target_(target), index_(std::move(index)) {}

void ElementProxy::operator=(const Arg& value) && {
  Scope scope("assign", value.location());
  target_ = written(target_, index_, shape(), value);
}

void ElementProxy::operator=(const ElementProxy& other) && {
  std::move(*this) = Arg(other, place_of(index_));
}

#define ENCORE_COMPOUND(op)                                             \
  void ElementProxy::operator op##=(const Arg & value)&& {              \
    Scope scope("assign", value.location());                            \
    std::move(*this) = Arg(static_cast<const Tensor&>(*this) op value); \
  }
ENCORE_COMPOUND(+)
ENCORE_COMPOUND(-)
ENCORE_COMPOUND(*)
ENCORE_COMPOUND(/)
ENCORE_COMPOUND(%)
ENCORE_COMPOUND(&)
ENCORE_COMPOUND(|)
ENCORE_COMPOUND(^)
ENCORE_COMPOUND(<<)
ENCORE_COMPOUND(>>)
#undef ENCORE_COMPOUND

}  // namespace encore
