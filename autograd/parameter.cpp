#include <encore/autograd/parameter.h>
#include <encore/lazy/record.h>

namespace encore {

Tensor ParameterRef::tensor(std::source_location at) const {
  if (!defined())
    throw Error("an empty Parameter was used", current_location(at),
                "default-constructed and moved-from parameters hold no value; assign one first");
  if (!gradient_enabled() || !is_floating(dtype())) return cell_->value;
  return variable_node(cell_->value, cell_, current_location(at));
}

void ParameterRef::set_value(const Tensor& value) const {
  cell_->value = value.defined() ? value.detach() : value;
}

Parameter::Parameter(const Tensor& value, std::string name) : Parameter() {
  set_value(value);
  set_name(std::move(name));
}

Parameter::Parameter(const Parameter& other, std::nullptr_t) : Parameter() {
  if (!other.cell_) return;
  cell_->value = other.value();
  cell_->name = other.name();
}

Tensor variable(const Tensor& x, std::source_location at) {
  return variable_node(x, {}, current_location(at));
}

}  // namespace encore
