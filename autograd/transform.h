// Functions out of functions: grad(f), value_and_grad(f), vjp(f, x...), jvp(f, x, tangents).
//
// `f` takes tensors and returns a Tensor. They nest: what `f` captures, and what its inputs came
// from, stays differentiable, so grad(grad(f)) is the second derivative.
#pragma once
#include <encore/autograd/backward.h>
#include <encore/lazy/create.h>
#include <encore/lazy/record.h>

#include <array>
#include <tuple>
#include <type_traits>
#include <utility>

namespace encore {
namespace detail {

template <size_t count>
using Gradients = std::conditional_t<count == 1, Tensor, std::array<Tensor, count>>;

template <size_t count>
Gradients<count> as_gradients(std::vector<Tensor> gradients) {
  if constexpr (count == 1) {
    return std::move(gradients[0]);
  } else {
    std::array<Tensor, count> all;
    std::move(gradients.begin(), gradients.end(), all.begin());
    return all;
  }
}

template <class F, class... X>
auto value_and_gradients(F& f, std::source_location at, const X&... x) {
  constexpr size_t count = sizeof...(X);
  static_assert(count > 0, "a function of at least one tensor");
  bool outer_gradient = gradient_enabled();
  WithGrad on;
  std::array<Tensor, count> inputs{variable(x, at)...};
  Tensor value = std::apply(f, inputs);
  std::vector<Target> targets(inputs.begin(), inputs.end());
  bool again = outer_gradient && depends_on_others(value, targets);
  auto gradients = grad(value, targets, {.create_graph = again, .allow_unused = true}, at);
  return std::pair(std::move(value), as_gradients<count>(std::move(gradients)));
}

}  // namespace detail

/// x... -> (f(x...), gradient): the gradient as `grad(f)` gives it.
template <class F>
  requires(!std::is_convertible_v<F, Tensor>)
auto value_and_grad(F f, std::source_location at = std::source_location::current()) {
  return [f = std::move(f), at](const auto&... x) mutable {
    return detail::value_and_gradients(f, at, Tensor(x)...);
  };
}

/// x... -> d(f)/d(x): a Tensor for one input, an array (for structured bindings) for several.
/// `f` returns one element; other sizes throw at `at`.
template <class F>
  requires(!std::is_convertible_v<F, Tensor>)
auto grad(F f, std::source_location at = std::source_location::current()) {
  return [f = std::move(f), at](const auto&... x) mutable {
    return detail::value_and_gradients(f, at, Tensor(x)...).second;
  };
}

/// (f(x...), pullback): the pullback takes the gradient of f's value, which may have any shape, to
/// the gradients of the inputs, and may be called any number of times.
template <class F, class... X>
auto vjp(F f, const X&... x) {
  constexpr size_t count = sizeof...(X);
  WithGrad on;
  std::array<Tensor, count> inputs{variable(x)...};
  Tensor value = std::apply(f, inputs);
  auto pullback = [value, inputs](const Tensor& gradient,
                                  std::source_location at = std::source_location::current()) {
    std::vector<Target> targets(inputs.begin(), inputs.end());
    bool again =
        gradient_enabled() && (depends_on_others(value, targets) || gradient.requires_grad());
    BackwardOptions options{.retain_graph = true, .create_graph = again, .allow_unused = true};
    return detail::as_gradients<sizeof...(X)>(grad({value}, {gradient}, targets, options, at));
  };
  return std::pair(std::move(value), std::move(pullback));
}

/// (f(x...), its change along the tangents): the Jacobian times a vector, each tangent of its
/// input's shape. The pullback J^T u is linear in u, and its own pullback is J: two reverse walks,
/// of which only the second's result is ever computed.
template <class F, size_t count>
auto jvp(F f, const std::array<Tensor, count>& x, const std::array<Tensor, count>& tangents,
         std::source_location at = std::source_location::current()) {
  bool outer_gradient = gradient_enabled();
  WithGrad on;
  std::array<Tensor, count> inputs;
  for (size_t i = 0; i < count; ++i) inputs[i] = variable(x[i], at);
  Tensor value = std::apply(f, inputs);
  std::vector<Target> targets(inputs.begin(), inputs.end());
  bool again = outer_gradient && depends_on_others(value, targets);
  for (const Tensor& tangent : tangents) again |= outer_gradient && tangent.requires_grad();
  Tensor u = variable(zeros(value.shape(), {value.dtype(), value.device()}), at);
  BackwardOptions first{.create_graph = true, .allow_unused = true};
  BackwardOptions second{.create_graph = again, .allow_unused = true};
  std::vector<Tensor> pulled = grad({value}, {u}, targets, first, at);
  std::vector<Tensor> along(tangents.begin(), tangents.end());
  Tensor change = grad(pulled, along, {u}, second, at)[0];
  return std::pair(again ? value : value.detach(), std::move(change));
}
/// The same for a function of one tensor.
template <class F>
auto jvp(F f, const Tensor& x, const Tensor& tangent,
         std::source_location at = std::source_location::current()) {
  return jvp(std::move(f), std::array{x}, std::array{tangent}, at);
}

}  // namespace encore
