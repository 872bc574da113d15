// The CUDA driver, opened at run time: every function of driver.def as a checked call.
//
//   driver().cuStreamSynchronize(stream);            throws a DeviceError that names the function,
//                                                    or OutOfMemory where that is the reason
//   driver().cuMemAlloc.status(&pointer, bytes);     hands the result back instead
//
// A failure after which a context is unusable marks the device that this thread has entered as
// lost: the call throws, and `enter` throws DeviceLost from then on. May be used from any thread.
#pragma once
#include <encore/core/shared_library.h>
#include <encore/jit/cuda/driver_types.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace encore::jit::cuda {

/// For tests: the n-th call from now on (to `function`, if given) returns `code` instead of being
/// made, the next one being number 1; with `stays` so do all that follow, but those that give
/// something back. 0: none.
void fail_call(int64_t n, CUresult code, std::string_view function = {}, bool stays = false);

/// What a test wants `function` to return instead of being called; CUDA_SUCCESS: call it.
CUresult injected_result(const char* function);
inline std::atomic<bool> injection_armed{false};

/// Throws what a failed call means; see above.
[[noreturn]] void throw_failed(CUresult result, const char* function);

template <class... Parameters>
class DriverFunction {
 public:
  explicit DriverFunction(const char* name) : name_(name) {}

  CUresult status(Parameters... parameters) const {
    if (injection_armed.load(std::memory_order_relaxed))
      if (CUresult result = injected_result(name_)) return result;
    return address_(parameters...);
  }
  void operator()(Parameters... parameters) const {
    if (CUresult result = status(parameters...)) throw_failed(result, name_);
  }
  void bind(void* address) { address_ = reinterpret_cast<CUresult (*)(Parameters...)>(address); }

 private:
  const char* name_;
  CUresult (*address_)(Parameters...) = nullptr;
};

class Driver {
 public:
#define DRIVER(name, symbol, ...) DriverFunction<__VA_ARGS__> name{#name};
#include <encore/jit/cuda/driver.def>
#undef DRIVER

  /// Throws DeviceUnavailable: no driver, one too old, or one that does not start.
  Driver();

  /// As the API counts: 12040 is 12.4.
  int version() const { return version_; }
  int device_count() const { return device_count_; }
  /// "CUDA_ERROR_INVALID_VALUE (invalid argument)"
  std::string describe(CUresult result) const;

  /// Makes `context`, of device number `device`, this thread's; throws DeviceLost.
  void enter(int device, CUcontext context);
  void mark_lost(CUresult result);

 private:
  static constexpr size_t most_devices = 256;  // a Device's number is a byte

  SharedLibrary library_;
  int version_ = 0;
  int device_count_ = 0;
  std::array<std::atomic<CUresult>, most_devices> lost_{};
};

/// The one driver of the process, leaked. Throws DeviceUnavailable, each time alike.
Driver& driver();

/// The folders of ENCORE_CUDA_PATH, then those where toolkits are installed.
std::vector<std::string> search_folders();

}  // namespace encore::jit::cuda
