// The one exception type of the library: what went wrong, where the user asked for it, what to do.
#pragma once
#include <stdexcept>
#include <string>

#include <encore/core/location.h>

namespace encore {

class Error : public std::runtime_error {
 public:
  Error(std::string what, Location where, std::string advice = {});

  /// The message without place and advice.
  const std::string& message() const noexcept { return message_; }
  Location where() const noexcept { return where_; }
  const std::string& advice() const noexcept { return advice_; }

 private:
  std::string message_;
  Location where_;
  std::string advice_;
};

/// A device or the host had no memory for `requested` bytes; the runtime stays usable.
class OutOfMemory : public Error {
 public:
  OutOfMemory(size_t requested, size_t held, Location where);
  size_t requested() const noexcept { return requested_; }

 private:
  size_t requested_;
};

/// The buffer was donated to a program that failed; its values are lost.
class BufferLost : public Error {
 public:
  using Error::Error;
};

/// An invariant of the library itself was broken: always a bug of Encore, never of its user.
[[noreturn]] void internal_error(const char* condition, std::source_location at);

#define ENCORE_ASSERT(condition) \
  ((condition) ? void() : ::encore::internal_error(#condition, std::source_location::current()))

}  // namespace encore
