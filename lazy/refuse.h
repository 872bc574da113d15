// Throwing with a formatted message at the user's line.
#pragma once
#include <encore/lazy/record.h>
#include <fmt/format.h>

namespace encore {

/// `at` is the caller's own place; inside a scope the scope's place is reported instead.
template <class... Values>
[[noreturn]] void refuse(Location at, std::string advice, fmt::format_string<Values...> message,
                         Values&&... values) {
  throw Error(fmt::format(message, std::forward<Values>(values)...), current_location(at),
              std::move(advice));
}

/// Functions of a `const Tensor&` begin with it: an empty one throws at the caller's line.
inline void require_value(const Tensor& x, Tensor::At at) { (void)x.shape(at); }

}  // namespace encore
