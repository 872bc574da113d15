#include <cxxabi.h>
#include <encore/nn/module.h>
#include <fmt/format.h>

#include <mutex>
#include <set>
#include <typeinfo>

namespace encore {
namespace {

/// Scope names live for ever; there are as many as distinct member names.
const char* intern(const std::string& name) {
  static auto& mutex = *new std::mutex;
  static auto& names = *new std::set<std::string>;
  std::lock_guard lock(mutex);
  return names.insert(name).first->c_str();
}

/// A class's own name, without its namespaces.
std::string type_name(const Module& module) {
  int status = 0;
  std::unique_ptr<char, void (*)(void*)> readable(
      abi::__cxa_demangle(typeid(module).name(), nullptr, nullptr, &status), std::free);
  std::string name = readable ? readable.get() : typeid(module).name();
  size_t end = name.find('<');
  size_t colon = name.rfind(':', end);
  return colon == std::string::npos ? name : name.substr(colon + 1);
}

/// Visits members of members too, with dotted names; what to do with each is given as functions.
template <class OnParameter, class OnBuffer, class OnModule>
class DeepVisitor : public MemberVisitor {
 public:
  DeepVisitor(OnParameter on_parameter, OnBuffer on_buffer, OnModule on_module)
      : on_parameter_(on_parameter), on_buffer_(on_buffer), on_module_(on_module) {}

  void parameter(const std::string& name, Parameter& parameter) override {
    if (parameter.defined()) on_parameter_(prefix_ + name, parameter);
  }
  void buffer(const std::string& name, Tensor& buffer) override {
    if (buffer.defined()) on_buffer_(prefix_ + name, buffer);
  }
  void module(const std::string& name, Module& module) override {
    on_module_(module);
    std::string outer = prefix_;
    prefix_ += name + ".";
    module.visit_members(*this);
    prefix_ = outer;
  }

 private:
  OnParameter on_parameter_;
  OnBuffer on_buffer_;
  OnModule on_module_;
  std::string prefix_;
};

constexpr auto skip = [](auto&&...) {};

template <class OnParameter, class OnBuffer>
void visit_deep(Module& module, OnParameter on_parameter, OnBuffer on_buffer) {
  DeepVisitor visitor(on_parameter, on_buffer, skip);
  module.visit_members(visitor);
}

/// Applies `change` to parameters, their gradients and buffers.
template <class Change>
void change_all(Module& module, Change change) {
  NoGrad off;
  visit_deep(
      module,
      [&](const std::string&, Parameter& parameter) {
        parameter.set_value(change(parameter.value()));
        if (parameter.grad().defined()) parameter.set_grad(change(parameter.grad()));
      },
      [&](const std::string&, Tensor& buffer) { buffer = change(buffer); });
}

}  // namespace

std::vector<NamedParameter> Module::named_parameters() {
  std::vector<NamedParameter> found;
  std::set<const void*> seen;
  auto add = [&](const std::string& name, Parameter& parameter) {
    if (!seen.insert(parameter.cell().get()).second) return;
    parameter.set_name(name);
    found.push_back({name, parameter});
  };
  visit_deep(*this, add, skip);
  return found;
}

std::vector<ParameterRef> Module::parameters() {
  std::vector<ParameterRef> found;
  for (NamedParameter& named : named_parameters()) found.push_back(named.parameter);
  return found;
}

std::vector<NamedBuffer> Module::named_buffers() {
  std::vector<NamedBuffer> found;
  visit_deep(*this, skip,
             [&](const std::string& name, Tensor& buffer) { found.push_back({name, &buffer}); });
  return found;
}

int64_t Module::parameter_count() {
  int64_t count = 0;
  for (const ParameterRef& parameter : parameters()) count += parameter.numel();
  return count;
}

void Module::train(bool on) {
  training_ = on;
  DeepVisitor visitor(skip, skip, [on](Module& module) { module.training_ = on; });
  visit_members(visitor);
}

void Module::to(DType dtype, std::source_location at) {
  if (!is_floating(dtype))
    throw Error(fmt::format("a module cannot be cast to {}", name_of(dtype)), current_location(at),
                "parameters are floating: give f16, bf16, f32 or f64");
  change_all(*this, [&](const Tensor& x) { return is_floating(x.dtype()) ? x.to(dtype, at) : x; });
}

void Module::to(Device device, std::source_location at) {
  change_all(*this, [&](const Tensor& x) { return x.to(device, at); });
}

void Module::zero_grad() {
  for (const ParameterRef& parameter : parameters()) parameter.zero_grad();
}

Scope Module::enter(Location where, Inside inside) {
  struct Namer : MemberVisitor {
    void parameter(const std::string&, Parameter&) override {}
    void buffer(const std::string&, Tensor&) override {}
    void module(const std::string& name, Module& module) override {
      module.scope_name_ = intern(name);
    }
  };
  if (!members_named_) {
    Namer namer;
    visit_members(namer);
    members_named_ = true;
  }
  if (!scope_name_) scope_name_ = intern(type_name(*this));
  return Scope(scope_name_, where, inside);
}

void Module::refuse_single_call(Location where) const {
  throw Error(fmt::format("{}: its forward function does not take one tensor", type_name(*this)),
              where, "call the module itself with all its arguments");
}

namespace detail {

std::vector<std::string> split_names(const char* names) {
  std::vector<std::string> split;
  std::string name;
  for (const char* at = names;; ++at) {
    if (*at == ',' || *at == '\0') {
      split.push_back(std::move(name));
      name.clear();
    } else if (*at != ' ' && *at != '\n') {
      name += *at;
    }
    if (*at == '\0') return split;
  }
}

Tensor tensor_of(const Arg& arg) {
  if (!arg.is_number()) return Tensor(arg.node());
  throw Error("a module was called with a number", current_location(arg.location()),
              "its first argument is a tensor");
}

}  // namespace detail
}  // namespace encore
