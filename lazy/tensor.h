// Tensor: a handle on a node, with the meaning of a value.
//
// Copying shares, assignment rebinds, and no operation on one handle is ever seen through another.
// Handles may be used from any thread, but one handle object by one thread at a time, as with
// std::shared_ptr. Shape, dtype and device errors throw encore::Error at the line that records.
#pragma once
#include <encore/lazy/default_device.h>
#include <encore/lazy/node.h>

#include <concepts>
#include <iosfwd>
#include <optional>
#include <utility>
#include <vector>

namespace encore {

struct Options {
  DType dtype = DType::f32;
  Device device = default_device();
};

class Tensor;

/// A tensor or a C++ number as an operand, with the place in the source where it was written. A
/// number becomes a scalar slot; one wrapped in `lit` is part of the program instead.
class Arg {
 public:
  Arg(const Tensor& tensor, Location at = std::source_location::current());
  /// A temporary: this Arg holds its handle from now on.
  Arg(Tensor&& tensor, Location at = std::source_location::current());
  template <class T>
    requires std::is_arithmetic_v<T>
  Arg(T number, std::source_location at = std::source_location::current())
      : scalar_(number), boolean_(std::is_same_v<T, bool>), location_(at) {}
  /// What stands for a tensor (a Parameter) says so by a member type `StandsForTensor`
  /// and a method `tensor(at)`, whose result this Arg keeps alive.
  template <class T>
    requires requires { typename T::StandsForTensor; }
  Arg(const T& stand_in, std::source_location at = std::source_location::current());
  Arg(const Arg& other)
      : node_(other.node_),
        scalar_(other.scalar_),
        literal_(other.literal_),
        boolean_(other.boolean_),
        owned_(other.owned_),
        location_(other.location_) {
    if (owned_) retain(node_, Node::one_handle);
  }
  Arg& operator=(const Arg&) = delete;
  ~Arg() {
    if (owned_) release(node_, Node::one_handle);
  }
  static Arg literal(Scalar value, std::source_location at) {
    Arg arg(0.0, at);
    arg.scalar_ = value;
    arg.literal_ = true;
    return arg;
  }

  Node* node() const { return node_; }  // null for a number
  /// Whether this Arg has a handle, which then is the caller's.
  bool take_handle() { return std::exchange(owned_, false); }
  bool is_number() const { return node_ == nullptr; }
  bool is_literal() const { return literal_; }
  bool is_boolean() const { return boolean_; }
  Scalar number() const { return scalar_; }
  Location location() const { return location_; }

 private:
  Node* node_ = nullptr;
  Scalar scalar_;
  bool literal_ = false;
  bool boolean_ = false;
  bool owned_ = false;  // holds a handle on node_; otherwise the caller's Tensor does
  Location location_;
};

/// A number that is part of the program (and its key), for the library's own composites.
template <class T>
Arg lit(T value, std::source_location at = std::source_location::current()) {
  return Arg::literal(Scalar(value), at);
}

/// A half-open range with a step; absent bounds mean "from the start" and "to the end", negative
/// ones count from the end, as in Python.
struct Slice {
  std::optional<int64_t> start = {};
  std::optional<int64_t> stop = {};
  int64_t step = 1;
};

struct IndexEntry;
class ElementProxy;

class Tensor {
 public:
  Tensor() = default;  // empty: no value; using it throws
  explicit Tensor(Node* node) : node_(node) {
    if (node_) retain(node_, Node::one_handle);
  }
  /// Takes over one handle that the caller has.
  static Tensor adopt(Node* node) {
    Tensor tensor;
    tensor.node_ = node;
    return tensor;
  }
  Tensor(const Tensor& other) : Tensor(other.node_) {}
  Tensor(Tensor&& other) noexcept : node_(std::exchange(other.node_, nullptr)) {}
  // Not of a temporary: `x[{0}][{1}] = y` would be lost, so it does not compile.
  Tensor& operator=(const Tensor& other) & {
    Tensor copy(other);
    std::swap(node_, copy.node_);
    return *this;
  }
  Tensor& operator=(Tensor&& other) & noexcept {
    std::swap(node_, other.node_);
    return *this;
  }
  ~Tensor() {
    if (node_) release(node_, Node::one_handle);
  }

  bool defined() const { return node_ != nullptr; }  // no conversion to bool: `!x` is an op
  Node* node() const { return node_; }

  const Shape& shape(Location at = std::source_location::current()) const {
    return checked(at)->shape;
  }
  int rank(Location at = std::source_location::current()) const { return shape(at).rank(); }
  int64_t size(int64_t axis, std::source_location at = std::source_location::current()) const;
  int64_t numel(Location at = std::source_location::current()) const { return shape(at).numel(); }
  DType dtype(Location at = std::source_location::current()) const { return checked(at)->dtype; }
  Device device(Location at = std::source_location::current()) const { return checked(at)->device; }

  /// Waits for the value of a one-element tensor; other sizes throw. Casts to T as `to` does.
  template <Element T>
  T item(std::source_location at = std::source_location::current()) const;
  /// Waits for all values, row-major. Casts to T as `to` does.
  template <Element T>
  std::vector<T> to_vector(std::source_location at = std::source_location::current()) const;

  Tensor to(DType dtype, std::source_location at = std::source_location::current()) const;
  /// A copy on another device; reads this tensor, that is, waits for its value. Gradients move
  /// back.
  Tensor to(Device device, std::source_location at = std::source_location::current()) const;
  /// The same value with no gradient history.
  Tensor detach(std::source_location at = std::source_location::current()) const;
  bool requires_grad(Location at = std::source_location::current()) const {
    return checked(at)->needs_gradient;
  }
  /// Defined in autograd/: adds d(this)/d(parameter) to every parameter's grad. A scalar only.
  void backward(std::source_location at = std::source_location::current()) const;

#include <encore/lazy/tensor_methods.inc>

  // `x += y` is `x = x + y`: it rebinds this handle, to the promoted dtype and the broadcast shape.
  Tensor& operator+=(const Arg& b) &;
  Tensor& operator-=(const Arg& b) &;
  Tensor& operator*=(const Arg& b) &;
  Tensor& operator/=(const Arg& b) &;
  Tensor& operator%=(const Arg& b) &;
  Tensor& operator&=(const Arg& b) &;
  Tensor& operator|=(const Arg& b) &;
  Tensor& operator^=(const Arg& b) &;
  Tensor& operator<<=(const Arg& b) &;
  Tensor& operator>>=(const Arg& b) &;

  /// `x[{0, Slice{2, 5}}]` reads; assigning to it rebinds `x` to a value with that part replaced.
  ElementProxy operator[](std::vector<IndexEntry> index) &;
  Tensor operator[](std::vector<IndexEntry> index) const&;
  Tensor operator[](std::vector<IndexEntry> index) &&;

 private:
  Node* checked(Location at) const {
    if (!node_) throw_empty(at);
    return node_;
  }
  [[noreturn]] static void throw_empty(Location at);
  friend class Arg;
  Node* node_ = nullptr;
};

/// One entry of `x[{…}]`: a number (drops the axis), a slice (keeps it), or a tensor of integers
/// whose axes take the axis's place (at most one of those). Carries the user's line, which
/// operator[] cannot.
struct IndexEntry {
  using At = std::source_location;
  template <class T>
    requires(std::is_integral_v<T> && !std::is_same_v<T, bool>)
  IndexEntry(T index, At at = At::current()) : index(int64_t(index)), location(at) {}
  IndexEntry(Slice slice, At at = At::current()) : slice(slice), location(at) {}
  IndexEntry(const Tensor& positions, At at = At::current()) : positions(positions), location(at) {}

  std::optional<int64_t> index;
  Slice slice;
  Tensor positions;
  At location;
};

/// What `x[{…}]` reads, as a tensor; assigning through it rebinds `x`. Only temporaries can be
/// assigned, so a stored proxy cannot write behind anyone's back.
class ElementProxy : public Tensor {
 public:
  ElementProxy(Tensor& target, std::vector<IndexEntry> index);
  ElementProxy(const ElementProxy&) = default;
  void operator=(const Arg& value) &&;
  void operator=(const ElementProxy& other) &&;
  void operator+=(const Arg& value) &&;
  void operator-=(const Arg& value) &&;
  void operator*=(const Arg& value) &&;
  void operator/=(const Arg& value) &&;
  void operator%=(const Arg& value) &&;
  void operator&=(const Arg& value) &&;
  void operator|=(const Arg& value) &&;
  void operator^=(const Arg& value) &&;
  void operator<<=(const Arg& value) &&;
  void operator>>=(const Arg& value) &&;

 private:
  Tensor& target_;
  std::vector<IndexEntry> index_;
};

inline Arg::Arg(const Tensor& tensor, Location at) : node_(tensor.node()), location_(at) {
  if (!node_) Tensor::throw_empty(at);
}

inline Arg::Arg(Tensor&& tensor, Location at) : Arg(std::as_const(tensor), at) {
  tensor.node_ = nullptr;
  owned_ = true;
}

template <class T>
  requires requires { typename T::StandsForTensor; }
Arg::Arg(const T& stand_in, std::source_location at) : owned_(true), location_(at) {
  Tensor tensor = stand_in.tensor(at);
  node_ = (void(tensor.shape(at)), tensor.node());
  retain(node_, Node::one_handle);
}

// By value: the handle of a temporary becomes its user.
Tensor operator-(Arg a);
Tensor operator~(Arg a);
Tensor operator!(Arg a);
Tensor operator+(Arg a, Arg b);
Tensor operator-(Arg a, Arg b);
Tensor operator*(Arg a, Arg b);
Tensor operator/(Arg a, Arg b);
Tensor operator%(Arg a, Arg b);
Tensor operator==(Arg a, Arg b);
Tensor operator!=(Arg a, Arg b);
Tensor operator<(Arg a, Arg b);
Tensor operator<=(Arg a, Arg b);
Tensor operator>(Arg a, Arg b);
Tensor operator>=(Arg a, Arg b);
Tensor operator&(Arg a, Arg b);
Tensor operator|(Arg a, Arg b);
Tensor operator^(Arg a, Arg b);
Tensor operator<<(Arg a, Arg b);
Tensor operator>>(Arg a, Arg b);
Tensor operator&&(Arg a, Arg b);
Tensor operator||(Arg a, Arg b);

/// Computes the given tensors, and everything else pending on this thread, in one step.
void eval(std::initializer_list<Tensor> tensors,
          std::source_location at = std::source_location::current());
/// A tensor with the caller's place, where a pack or an operator leaves no room for one.
struct TensorAt {
  template <class T>
    requires std::convertible_to<const T&, Tensor>
  TensorAt(const T& tensor, std::source_location at = std::source_location::current())
      : tensor(tensor), at(at) {}
  Tensor tensor;
  std::source_location at;
};
/// Prints like NumPy; waits for the value.
std::ostream& operator<<(std::ostream& to, const TensorAt& printed);

template <class... T>
void eval(const TensorAt& first, const T&... more) {
  eval(std::initializer_list<Tensor>{first.tensor, more...}, first.at);
}
/// Computes everything pending on this thread and waits.
void sync(std::source_location at = std::source_location::current());

}  // namespace encore
