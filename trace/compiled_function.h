// compile(f): f, but recorded only once per set of argument shapes.
//
//   auto step = encore::compile([](const Tensor& x, const Tensor& k) { return tanh(x * k); });
//   Tensor y = step(x, 0.5);
//
// A call whose argument shapes, dtypes and devices were seen before records nothing: the program
// runs at once on the new arguments. Numbers among the arguments reach f as rank-0 f32 tensors and
// stay runtime arguments. What f captures (tensors, parameters, numbers) is a constant of the first
// call with those shapes; f reads no values (that throws). Random tensors inside f are drawn anew
// each call. Results carry no gradient history: differentiate inside f, by `grad`. Calls may come
// from any thread; copies share recordings.
#pragma once
#include <encore/lazy/record.h>

#include <functional>
#include <memory>
#include <utility>
#include <vector>

namespace encore {

/// The programs of one compiled function, by argument shapes.
class Recordings {
 public:
  using Body = std::function<std::vector<Tensor>(const std::vector<Tensor>&)>;

  Recordings();
  /// Runs the program for these arguments; records `body` first where there is none. Throws Error
  /// where an argument needs a gradient while gradients are recorded.
  std::vector<Tensor> call(const std::vector<Arg>& arguments, const Body& body, Location where);
  size_t size() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

template <class F>
class Compiled {
 public:
  explicit Compiled(F f) : f_(std::move(f)) {}

  /// Tensors and numbers, as f takes tensors. Returns what f does: a Tensor or a vector of them.
  /// The first carries the caller's place.
  template <class... T>
  auto operator()(const Arg& first, const T&... more) {
    return call<1 + sizeof...(T)>({first, Arg(more)...}, current_location(first.location()));
  }
  auto operator()(std::source_location at = std::source_location::current()) {
    return call<0>({}, current_location(at));
  }

  /// Sets of argument shapes recorded so far.
  size_t recordings() const { return recordings_.size(); }

 private:
  template <size_t count>
  auto call(const std::vector<Arg>& arguments, Location where) {
    auto body = [&](const std::vector<Tensor>& tensors) {
      return spread(tensors, std::make_index_sequence<count>());
    };
    using Result = decltype(body({}));
    std::vector<Tensor> results =
        recordings_.call(arguments, [&](auto& tensors) { return listed(body(tensors)); }, where);
    if constexpr (std::is_same_v<Result, Tensor>) {
      return results[0];
    } else {
      return results;
    }
  }
  template <size_t... i>
  auto spread([[maybe_unused]] const std::vector<Tensor>& tensors, std::index_sequence<i...>) {
    return f_(tensors[i]...);
  }
  static std::vector<Tensor> listed(Tensor result) { return {std::move(result)}; }
  static std::vector<Tensor> listed(std::vector<Tensor> results) { return results; }

  F f_;
  Recordings recordings_;
};

template <class F>
Compiled<F> compile(F f) {
  return Compiled<F>(std::move(f));
}

}  // namespace encore
