// Sequential: modules of any types, each called with the result of the one before.
#pragma once
#include <encore/nn/module.h>

namespace encore {

/// A module of any type with the meaning of a value: copying copies the module inside.
class AnyModule {
 public:
  template <class M>
    requires std::derived_from<M, Module>
  AnyModule(M module)
      : module_(std::make_unique<M>(std::move(module))), clone_([](const Module& from) {
          return std::unique_ptr<Module>(std::make_unique<M>(static_cast<const M&>(from)));
        }) {}
  AnyModule(const AnyModule& other) : module_(other.clone_(*other.module_)), clone_(other.clone_) {}
  AnyModule(AnyModule&&) noexcept = default;
  AnyModule& operator=(AnyModule other) noexcept {
    std::swap(module_, other.module_);
    std::swap(clone_, other.clone_);
    return *this;
  }

  Module& operator*() const { return *module_; }
  Module* operator->() const { return module_.get(); }

 private:
  std::unique_ptr<Module> module_;
  std::unique_ptr<Module> (*clone_)(const Module&);
};

/// `Sequential{Linear(784, 512), ReLU(), Linear(512, 10)}`; its members are named 0, 1, 2 …
class Sequential : public Module {
 public:
  /// A member's number and the line that asked for it.
  struct Number {
    Number(size_t number, Location place = std::source_location::current())
        : value(number), at(place) {}
    size_t value;
    Location at;
  };

  Sequential() = default;
  Sequential(std::initializer_list<AnyModule> modules) : modules_(modules) {}
  template <class First, class... More>
    requires std::derived_from<std::remove_cvref_t<First>, Module> &&
             (sizeof...(More) > 0 || !std::derived_from<std::remove_cvref_t<First>, Sequential>)
  explicit Sequential(First&& first, More&&... more) {
    append(std::forward<First>(first));
    (append(std::forward<More>(more)), ...);
  }

  void append(AnyModule module) { modules_.push_back(std::move(module)); }
  size_t size() const { return modules_.size(); }
  /// The module of that name; a number that names none throws.
  Module& operator[](Number number);

  Tensor forward(const Tensor& x) {
    Tensor y = x;
    for (AnyModule& module : modules_) y = module->call(y);
    return y;
  }

  void visit_members(MemberVisitor& visitor) override {
    for (size_t i = 0; i < modules_.size(); ++i) visitor.module(std::to_string(i), *modules_[i]);
  }
  Tensor operator()(const Arg& x) {
    Scope scope = enter(x.location(), Inside::library);
    return forward(detail::tensor_of(x));
  }
  Tensor call(const Tensor& x, std::source_location at = std::source_location::current()) override {
    Scope scope = enter(at, Inside::library);
    return forward(x);
  }

 private:
  std::vector<AnyModule> modules_;
};

}  // namespace encore
