// Parameter: the one mutable cell of the library, and the only thing that has a gradient.
//
// Tensors are values; a Parameter is a place: `p` used as a Tensor records a `variable` node that
// names the cell, and a later `backward` adds to the gradient found there. Copying a Parameter
// makes a new cell with the same value, moving keeps the cell, and a ParameterRef names it without
// owning a second one. A cell is used by one thread at a time, as a std::vector would be.
#pragma once
#include <encore/lazy/tensor.h>

#include <memory>
#include <string>

namespace encore {

/// Names a parameter's cell; copies name the same one. What modules hand to optimizers.
class ParameterRef {
 public:
  using StandsForTensor = void;

  struct Cell {
    Tensor value;
    Tensor gradient;  // empty: none yet
    std::string name;
  };

  /// The value with no link to the cell: nothing computed from it reaches `grad()`.
  const Tensor& value() const { return cell_->value; }
  /// The sum of what `backward` found since `zero_grad`; an empty Tensor: nothing yet.
  const Tensor& grad() const { return cell_->gradient; }
  void zero_grad() const { cell_->gradient = Tensor(); }
  void set_grad(Tensor gradient) const { cell_->gradient = std::move(gradient); }
  /// Rebinds the value, without its history. Nodes recorded earlier keep the old value.
  void set_value(const Tensor& value) const;

  /// PyTorch's dotted name once a module was asked for its parameters; else what was given.
  const std::string& name() const { return cell_->name; }
  void set_name(std::string name) const { cell_->name = std::move(name); }

  bool defined() const { return cell_ && cell_->value.defined(); }
  const Shape& shape() const { return value().shape(); }
  int64_t numel() const { return value().numel(); }
  DType dtype() const { return value().dtype(); }
  Device device() const { return value().device(); }

  /// The value as a gradient sees it. Outside NoGrad, a new node that names this cell.
  Tensor tensor(std::source_location at = std::source_location::current()) const;
  operator Tensor() const { return tensor(); }

  const std::shared_ptr<Cell>& cell() const { return cell_; }
  bool operator==(const ParameterRef& other) const { return cell_ == other.cell_; }

 protected:
  explicit ParameterRef(std::shared_ptr<Cell> cell) : cell_(std::move(cell)) {}
  std::shared_ptr<Cell> cell_;
};

class Parameter : public ParameterRef {
 public:
  /// An empty cell; using it throws until something is assigned.
  Parameter() : ParameterRef(std::make_shared<Cell>()) {}
  explicit Parameter(const Tensor& value, std::string name = {});

  /// A new cell with the other's value and name, and no gradient.
  Parameter(const Parameter& other) : Parameter(other, nullptr) {}
  Parameter(Parameter&& other) noexcept = default;
  /// Takes the other's value into this cell, so that whoever refers to this cell sees it.
  Parameter& operator=(const Parameter& other) { return *this = other.value(); }
  Parameter& operator=(Parameter&& other) noexcept = default;

  /// Rebinds the value, without its history.
  Parameter& operator=(const Tensor& value) {
    set_value(value);
    return *this;
  }

 private:
  Parameter(const Parameter& other, std::nullptr_t);
};

/// `x` as a tensor that gradients can be asked for: `Tensor v = variable(x); grad(f(v), {v})`.
Tensor variable(const Tensor& x, std::source_location at = std::source_location::current());

}  // namespace encore
