// Module: parameters plus a forward function.
//
//   struct Mlp : Module {
//     Linear fc1{784, 512}, fc2{512, 10};
//     Tensor forward(const Tensor& x) { return fc2(relu(fc1(x))); }
//     ENCORE_MEMBERS(fc1, fc2)
//   };
//
// That one line is all a class says: Parameters, modules, Tensors (buffers: they are moved and cast
// with the module but never trained) and vectors, optionals and smart pointers of these are found
// through it, under PyTorch's dotted names (`fc1.weight`). Every subclass has it, even if empty.
// Copying a module makes new parameter cells, moving keeps them. Calling a module opens a name
// scope; what it records carries the lines of its `forward`, or the caller's where it is a layer of
// the library. A module is used by one thread at a time.
#pragma once
#include <encore/autograd/parameter.h>
#include <encore/lazy/record.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace encore {

class Module;

/// Sees a module's direct members, in the order in which it lists them.
class MemberVisitor {
 public:
  virtual ~MemberVisitor() = default;
  virtual void parameter(const std::string& name, Parameter& parameter) = 0;
  virtual void buffer(const std::string& name, Tensor& buffer) = 0;
  virtual void module(const std::string& name, Module& module) = 0;
};

struct NamedParameter {
  std::string name;
  ParameterRef parameter;
};
struct NamedBuffer {
  std::string name;
  Tensor* buffer;  // valid while its module stays where it is
};

class Module {
 public:
  virtual ~Module() = default;

  /// All parameters below, in member order; each cell once. Also writes their dotted names into the
  /// cells, for messages.
  std::vector<ParameterRef> parameters();
  std::vector<NamedParameter> named_parameters();
  std::vector<NamedBuffer> named_buffers();
  /// Elements of all parameters.
  int64_t parameter_count();

  /// What Dropout and the like ask; all modules below follow.
  void train(bool on = true);
  void eval() { train(false); }
  bool training() const { return training_; }

  /// Casts floating parameters and buffers, to a floating dtype, or moves all. Gradients follow.
  void to(DType dtype, std::source_location at = std::source_location::current());
  void to(Device device, std::source_location at = std::source_location::current());
  void zero_grad();

  // Defined by ENCORE_MEMBERS.
  virtual void visit_members(MemberVisitor& visitor) = 0;
  /// Calls `forward` with one tensor; throws where it takes other arguments.
  virtual Tensor call(const Tensor& x,
                      std::source_location at = std::source_location::current()) = 0;

 protected:
  Module() = default;
  Module(const Module&) = default;
  Module(Module&&) = default;
  Module& operator=(const Module&) = default;
  Module& operator=(Module&&) = default;

  /// The scope of one call: the name under which the parent lists this module, else its type's.
  Scope enter(Location where, Inside inside);
  [[noreturn]] void refuse_single_call(Location where) const;

 private:
  const char* scope_name_ = nullptr;
  bool members_named_ = false;
  bool training_ = true;
};

namespace detail {

inline void visit_member(MemberVisitor& visitor, const std::string& name, Parameter& parameter) {
  visitor.parameter(name, parameter);
}
inline void visit_member(MemberVisitor& visitor, const std::string& name, Tensor& buffer) {
  visitor.buffer(name, buffer);
}
inline void visit_member(MemberVisitor& visitor, const std::string& name, Module& module) {
  visitor.module(name, module);
}
template <class T>
void visit_member(MemberVisitor& visitor, const std::string& name, std::optional<T>& member) {
  if (member) visit_member(visitor, name, *member);
}
template <class T>
void visit_member(MemberVisitor& visitor, const std::string& name, std::unique_ptr<T>& member) {
  if (member) visit_member(visitor, name, *member);
}
template <class T>
void visit_member(MemberVisitor& visitor, const std::string& name, std::shared_ptr<T>& member) {
  if (member) visit_member(visitor, name, *member);
}
template <class T>
void visit_member(MemberVisitor& visitor, const std::string& name, std::vector<T>& members) {
  for (size_t i = 0; i < members.size(); ++i)
    visit_member(visitor, name + "." + std::to_string(i), members[i]);
}

/// "fc1, fc2" -> {"fc1", "fc2"}
std::vector<std::string> split_names(const char* names);

template <class... Members>
void visit_all(MemberVisitor& visitor, const char* text, Members&... members) {
  std::vector<std::string> names = split_names(text);
  [[maybe_unused]] size_t i = 0;
  (visit_member(visitor, names[i++], members), ...);
}

/// Who wrote the module of a file: its `forward` has lines of the user's, or it is a layer of ours.
constexpr Inside writer_of(std::string_view file) {
  return file.find("encore/nn/") == file.npos ? Inside::user : Inside::library;
}

/// The tensor that an operand is; a number is refused.
Tensor tensor_of(const Arg& arg);

}  // namespace detail
}  // namespace encore

/// The one line of a module; `operator()` calls the class's `forward`, whose first argument is a
/// tensor, inside the module's scope.
#define ENCORE_MEMBERS(...)                                                                   \
 public:                                                                                      \
  void visit_members([[maybe_unused]] ::encore::MemberVisitor& visitor) override {            \
    ::encore::detail::visit_all(visitor, #__VA_ARGS__ __VA_OPT__(, ) __VA_ARGS__);            \
  }                                                                                           \
  template <class... More>                                                                    \
  auto operator()(const ::encore::Arg& first, More&&... more) {                               \
    auto scope = this->enter(first.location(), ::encore::detail::writer_of(__FILE__));        \
    return this->forward(::encore::detail::tensor_of(first), std::forward<More>(more)...);    \
  }                                                                                           \
  ::encore::Tensor call(const ::encore::Tensor& x,                                            \
                        std::source_location at = std::source_location::current()) override { \
    auto run = [&](auto& self) -> ::encore::Tensor {                                          \
      if constexpr (requires { ::encore::Tensor(self.forward(x)); })                          \
        return self.forward(x);                                                               \
      else                                                                                    \
        self.refuse_single_call(at);                                                          \
    };                                                                                        \
    auto scope = this->enter(at, ::encore::detail::writer_of(__FILE__));                      \
    return run(*this);                                                                        \
  }
