#include <encore/lazy/create.h>
#include <encore/lazy/elementwise.h>
#include <encore/lazy/evaluator.h>
#include <encore/lazy/extents.h>
#include <fmt/format.h>

#include <cmath>

namespace encore {
namespace {

void check_shape(const Shape& shape, const char* what, Location where) {
  for (int64_t extent : shape)
    if (extent < 0)
      throw Error(fmt::format("{}: shape {} has a negative extent", what, shape.text()), where,
                  "extents count elements: they are zero or more");
  check_count(shape, what, where);
}

/// ceil((stop - start) / step), at least 0; the largest number where that has no i64.
int64_t count_of_steps(Scalar start, Scalar stop, Scalar step) {
  if (!start.floating && !stop.floating && !step.floating) {  // exact beyond 2^53 too
    __int128 span = __int128(stop.integer) - start.integer, size = step.integer;
    if (size < 0) span = -span, size = -size;
    return int64_t(std::min<__int128>(span <= 0 ? 0 : (span - 1) / size + 1, INT64_MAX));
  }
  double steps = std::ceil((stop.as_double() - start.as_double()) / step.as_double());
  return steps < 0x1p62 ? std::max<int64_t>(0, int64_t(steps)) : INT64_MAX;
}

}  // namespace

Tensor full(Shape shape, Arg value, Options options, std::source_location at) {
  check_shape(shape, "full", at);
  evaluator().check_device(options.device, at);
  Tensor number = as_tensor(value, options.dtype, options.device);
  if (shape.rank() == 0) return number;
  return record({OpId::expand, options.dtype, options.device, shape}, {number.node()}, at);
}

Tensor zeros(Shape shape, Options options, std::source_location at) {
  return full(shape, lit(0, at), options, at);
}
Tensor ones(Shape shape, Options options, std::source_location at) {
  return full(shape, lit(1, at), options, at);
}

Tensor iota(Shape shape, int64_t axis, Device device, std::source_location at) {
  check_shape(shape, "iota", at);
  int place = normalize_axis(axis, shape.rank(), "iota", at);
  return record({OpId::iota, DType::i64, device, shape, {place}}, std::initializer_list<Node*>{},
                at);
}

Tensor arange(Scalar start, Scalar stop, Scalar step, Options options, std::source_location at) {
  double span = stop.as_double() - start.as_double(), stride = step.as_double();
  if (stride == 0 || !std::isfinite(span) || std::isnan(stride))
    throw Error("arange: the step is zero or a bound is not finite", current_location(at),
                "use a step that leads from start to stop");
  int64_t count = count_of_steps(start, stop, step);
  Scope scope("arange", at);
  Tensor position = iota({count}, 0, options.device, at);
  bool whole = !start.floating && !step.floating;
  DType work = whole ? DType::i64 : DType::f64;
  Tensor first = scalar_node(start, work, options.device),
         by = scalar_node(step, work, options.device);
  return (position.to(work, at) * by + first).to(options.dtype, at);
}

// Counted from the nearer end, so that both ends are exact.
Tensor linspace(Scalar start, Scalar stop, int64_t count, Options options,
                std::source_location at) {
  if (count < 0)
    throw Error(fmt::format("linspace: {} numbers", count), current_location(at),
                "give zero or more");
  Scope scope("linspace", at);
  Tensor position = iota({count}, 0, options.device, at).to(DType::f64, at);
  double last = double(count - 1),
         step = count > 1 ? (stop.as_double() - start.as_double()) / last : 0;
  Tensor up = position * step + start.as_double();
  if (count < 2) return up.to(options.dtype, at);
  Tensor down = (position - last) * step + stop.as_double();
  return where(position * lit(2) < last, up, down).to(options.dtype, at);
}

Tensor eye(int64_t rows, std::optional<int64_t> columns, Options options, std::source_location at) {
  Shape shape{rows, columns.value_or(rows)};
  Scope scope("eye", at);
  Tensor row = iota(shape, 0, options.device, at), column = iota(shape, 1, options.device, at);
  return (row == column).to(options.dtype, at);
}

Tensor from_bytes(const void* data, DType dtype, Shape shape, Device device,
                  std::source_location at) {
  check_shape(shape, "from_bytes", at);
  size_t bytes = size_t(shape.numel()) * size_of(dtype);
  evaluator().check_device(device, at);
  Ref<Buffer> buffer = evaluator().allocate(device, bytes, at);
  evaluator().copy_to_device(*buffer, data, bytes, at);
  return leaf_node(std::move(buffer), dtype, shape, at);
}

template <Element T>
Tensor from_vector(const std::vector<T>& values, Shape shape, Device device,
                   std::source_location at) {
  check_shape(shape, "from_vector", at);
  if (int64_t(values.size()) != shape.numel())
    throw Error(fmt::format("from_vector: {} values do not fill shape {} ({} elements)",
                            values.size(), shape.text(), shape.numel()),
                at, "give as many values as the shape has elements");
  if constexpr (std::is_same_v<T, bool>) {
    std::vector<uint8_t> bytes(values.begin(), values.end());
    return from_bytes(bytes.data(), DType::boolean, shape, device, at);
  } else {
    return from_bytes(values.data(), dtype_of<T>, shape, device, at);
  }
}

#define DTYPE(name, bytes, kind, type) \
  template Tensor from_vector<type>(const std::vector<type>&, Shape, Device, std::source_location);
ENCORE_DTYPES(DTYPE)
#undef DTYPE

Tensor from_blob(void* data, DType dtype, Shape shape, std::function<void(void*)> free,
                 std::source_location at) {
  check_shape(shape, "from_blob", at);
  if (!data && shape.numel() != 0)
    throw Error(fmt::format("from_blob: no memory was given for shape {}", shape.text()),
                current_location(at), "the pointer is null");
  size_t bytes = size_t(shape.numel()) * size_of(dtype);
  Ref<Buffer> buffer(new Buffer(data, bytes, cpu, [free = std::move(free)](void* memory, size_t) {
    if (free) free(memory);
  }));
  buffer->mark_foreign();
  return leaf_node(std::move(buffer), dtype, shape, at);
}

}  // namespace encore
