#include <encore/lazy/elementwise.h>
#include <encore/lazy/evaluator.h>
#include <encore/lazy/tensor.h>
#include <fmt/format.h>

namespace encore {
namespace {

template <class T>
double widen(T value) {
  return double(value);
}
double widen(Half value) { return float(value); }
double widen(BFloat16 value) { return float(value); }

/// `count` elements of `dtype` at `from`, each as bits of `To`'s dtype through the cast rule.
template <class To>
void convert(const void* from, DType dtype, size_t count, To* to) {
  auto each = [&]<class From>(const From* values) {
    for (size_t i = 0; i < count; ++i) {
      Scalar value;
      if constexpr (std::is_integral_v<From>)
        value = Scalar(values[i]);
      else
        value = Scalar(widen(values[i]));
      uint64_t bits = value.bits_as(dtype_of<To>);
      std::memcpy(static_cast<void*>(to + i), &bits, sizeof(To));
    }
  };
  switch (dtype) {
#define DTYPE(name, bytes, kind, type) \
  case DType::name:                    \
    return each(static_cast<const type*>(from));
    ENCORE_DTYPES(DTYPE)
#undef DTYPE
  }
}

Ref<Buffer> copy_of(const Buffer& from, Device to, Location where) {
  Ref<Buffer> copy = evaluator().allocate(to, from.bytes(), where);
  if (to == cpu) {
    evaluator().copy_to_host(copy->data(), from, 0, from.bytes(), where);
  } else if (from.device() == cpu) {
    evaluator().copy_to_device(*copy, from.data(), from.bytes(), where);
  } else {
    std::vector<std::byte> between(from.bytes());
    evaluator().copy_to_host(between.data(), from, 0, between.size(), where);
    evaluator().copy_to_device(*copy, between.data(), between.size(), where);
  }
  return copy;
}

[[noreturn]] void refuse_empty(Location at) {
  throw Error("an empty Tensor was used", current_location(at),
              "default-constructed and moved-from tensors hold no value; assign one first");
}

}  // namespace

void Tensor::throw_empty(Location at) { refuse_empty(at); }

int64_t Tensor::size(int64_t axis, std::source_location at) const {
  return shape(at)[normalize_axis(axis, rank(), "size", at)];
}

template <Element T>
T Tensor::item(std::source_location at) const {
  if (!node_) refuse_empty(at);
  if (numel() != 1)
    throw Error(
        fmt::format("item: a tensor of shape {} has {} elements, not one", shape().text(), numel()),
        at, "reduce it first, or use to_vector");
  return to_vector<T>(at)[0];
}

template <Element T>
std::vector<T> Tensor::to_vector(std::source_location at) const {
  if (!node_) refuse_empty(at);
  evaluator().evaluate({&node_, 1}, SyncKind::read, at);
  std::vector<std::byte> raw(size_t(numel()) * size_of(dtype()));
  evaluator().copy_to_host(raw.data(), *node_->buffer, 0, raw.size(), at);
  std::vector<T> values(numel());
  if constexpr (std::is_same_v<T, bool>) {
    std::unique_ptr<bool[]> flags(new bool[values.size()]);
    convert(raw.data(), dtype(), values.size(), flags.get());
    std::copy_n(flags.get(), values.size(), values.begin());
  } else if (dtype() == dtype_of<T>) {
    if (!raw.empty()) std::memcpy(static_cast<void*>(values.data()), raw.data(), raw.size());
  } else {
    convert(raw.data(), dtype(), values.size(), values.data());
  }
  return values;
}

#define DTYPE(name, bytes, kind, type)                          \
  template type Tensor::item<type>(std::source_location) const; \
  template std::vector<type> Tensor::to_vector<type>(std::source_location) const;
ENCORE_DTYPES(DTYPE)
#undef DTYPE

Tensor Tensor::to(DType to, std::source_location at) const {
  if (!node_) refuse_empty(at);
  if (dtype() == to) return *this;
  return record({OpId::cast, to, device(), shape()}, {node_}, at);
}

Tensor Tensor::to(Device to, std::source_location at) const {
  if (!node_) refuse_empty(at);
  if (device() == to) return *this;
  Location where = current_location(at);
  evaluator().check_device(to, where);
  evaluator().evaluate({&node_, 1}, SyncKind::read, where);
  return moved_node(*this, copy_of(*node_->buffer, to, where), where);
}

Tensor Tensor::detach(std::source_location at) const {
  if (!requires_grad(at)) return *this;
  NoGrad guard;
  return record({OpId::variable, dtype(), device(), shape()}, {node_}, node_->location);
}

void eval(std::initializer_list<Tensor> tensors, std::source_location at) {
  std::vector<Node*> roots;
  for (const Tensor& tensor : tensors)
    if (tensor.defined()) roots.push_back(tensor.node());
  evaluator().evaluate(roots, SyncKind::step, at);
}

void sync(std::source_location at) {
  evaluator().evaluate({}, SyncKind::step, at);
  evaluator().synchronize(at);
}

}  // namespace encore
