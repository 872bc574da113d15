// How ops become nodes. Op functions and gradient rules are written against these few functions.
#pragma once
#include <encore/core/span.h>
#include <encore/lazy/tensor.h>

namespace encore {

/// Whose code runs inside a scope.
enum class Inside : uint8_t {
  library,  // what it records carries the scope's place, so that it points at the user's line
  user,     // whose own lines are meant: what it records carries its own places again
};

/// Everything recorded while a scope lives carries its name and, where it is the library's, its
/// place instead of the inner ones. Scopes nest; of places of the library the outermost wins (it is
/// the user's), names join as "a/b". Per thread.
class Scope {
 public:
  /// `name` must live for ever.
  Scope(const char* name, Location where, Inside inside = Inside::library);
  ~Scope();
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;

 private:
  const char* outer_name_;
  Location outer_location_;
  bool outer_active_;
  Span span_;
};

/// Nodes recorded under it carry exactly this place and name: gradient nodes carry their forward
/// node's.
class LocationOverride {
 public:
  LocationOverride(Location where, const char* scope);
  ~LocationOverride();

 private:
  const char* outer_name_;
  Location outer_location_;
  bool outer_active_;
};

/// While one lives, nothing recorded on this thread needs a gradient. Nests.
class NoGrad {
 public:
  NoGrad();
  ~NoGrad();

 private:
  bool outer_;
};
bool gradient_enabled();
/// Turns recording of gradients on again inside a NoGrad.
class WithGrad {
 public:
  WithGrad();
  ~WithGrad();

 private:
  bool outer_;
};

/// The place that a node recorded now would carry, given the caller's own.
Location current_location(Location innermost);

/// An elementwise op: promotes dtypes by the row's rule, broadcasts, checks devices.
Tensor record_elementwise(OpId op, std::initializer_list<const Arg*> args);
/// The same for Args that nobody reads afterwards: handles that they hold become users.
Tensor record_last(OpId op, Arg& a);
Tensor record_last(OpId op, Arg& a, Arg& b);
Tensor record_last(OpId op, Arg& a, Arg& b, Arg& c);

/// Any other op, its shape rule already applied by the caller.
struct NewNode {
  OpId op;
  DType dtype;
  Device device;
  Shape shape;
  std::vector<int64_t> attributes = {};
};
Tensor record(NewNode node, std::initializer_list<Node*> inputs, Location where);
Tensor record(NewNode node, std::span<Node* const> inputs, Location where);

/// A reduction over the axes in `mask`, which keep extent 1. Dtype rule: see reduction.def.
Tensor record_reduction(OpId op, const Tensor& x, uint32_t mask, Location where);

/// A rank-0 source: a runtime argument (`scalar_node`) or a constant of the program
/// (`literal_node`).
Tensor scalar_node(Scalar value, DType dtype, Device device);
Tensor literal_node(Scalar value, DType dtype, Device device);

/// A leaf over a buffer that holds `shape.numel()` elements of `dtype`.
Tensor leaf_node(Ref<Buffer> buffer, DType dtype, Shape shape, Location where);

/// `source` on the device of `buffer`, which holds its values; a gradient finds its way back.
Tensor moved_node(const Tensor& source, Ref<Buffer> buffer, Location where);

/// `value` under a new identity that gradients can be asked for: a parameter's use (`cell` names
/// its cell) or a plain variable. Inside NoGrad it needs no gradient.
Tensor variable_node(const Tensor& value, std::weak_ptr<void> cell, Location where);

/// An operand as a tensor: numbers become scalar (or literal) nodes of `dtype`.
Tensor as_tensor(const Arg& arg, DType dtype, Device device);

/// What a gradient rule may look at; `dy` has the node's shape and dtype. Rules return a tensor of
/// any shape that `in(i)`'s shape broadcasts to: the walker sums over broadcast axes and casts
/// back.
struct GradientOf {
  const Node& node;
  const Tensor& dy;
  Tensor y() const { return Tensor(const_cast<Node*>(&node)); }
  /// The operand; a new node for a number.
  Tensor in(int i) const;
};

}  // namespace encore
