// The one exception type of the library: what went wrong, where the user asked for it, what to do.
#pragma once
#include <encore/core/location.h>

#include <stdexcept>
#include <string>

namespace encore {

class Error : public std::runtime_error {
 public:
  Error(std::string what, Location where, std::string advice = {});

  const char* what() const noexcept override { return text_.c_str(); }
  /// The message without place and advice.
  const std::string& message() const noexcept { return message_; }
  Location where() const noexcept { return where_; }
  const std::string& advice() const noexcept { return advice_; }
  /// Gives an error that came from below, where no place is known, the user's. It keeps its first.
  void place(Location where);

 protected:
  void append(const std::string& more);

 private:
  std::string message_;
  Location where_;
  std::string advice_;
  std::string text_;
};

/// A device or the host had no memory for `requested` bytes; the runtime stays usable.
class OutOfMemory : public Error {
 public:
  /// `more` says what else is known of the memory.
  OutOfMemory(size_t requested, size_t held, Location where, const std::string& more = {});
  size_t requested() const noexcept { return requested_; }

 private:
  size_t requested_;
};

/// A device refused a call or failed in it; the message names the call and the device's reason.
class DeviceError : public Error {
 public:
  using Error::Error;
};

/// There is no such device in this process, or what is needed to use it is missing.
class DeviceUnavailable : public DeviceError {
 public:
  using DeviceError::DeviceError;
};

/// An earlier failure has ended all use of the device by this process; others are not affected.
class DeviceLost : public DeviceError {
 public:
  using DeviceError::DeviceError;
};

/// The buffer was donated to a program that failed; its values are lost.
class BufferLost : public Error {
 public:
  using Error::Error;
};

/// Kernels were needed that are in no cache, while the setting `compile` forbids to compile them;
/// the runtime stays usable.
class CompileForbidden : public Error {
 public:
  /// The first of the `missing` kernels, and why no cache has it.
  CompileForbidden(const std::string& kernel, size_t missing, const std::string& why);
  const std::string& kernel() const noexcept { return kernel_; }
  /// Says which trace needs it and why that was not known, and takes the line that differs.
  void needed_by(const std::string& trace, Location where);

 private:
  std::string kernel_;
};

/// An invariant of the library itself was broken: always a bug of Encore, never of its user.
[[noreturn]] void internal_error(const char* condition, std::source_location at);

#define ENCORE_ASSERT(condition) \
  ((condition) ? void() : ::encore::internal_error(#condition, std::source_location::current()))

}  // namespace encore
