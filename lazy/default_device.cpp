#include <encore/core/settings.h>
#include <encore/lazy/default_device.h>
#include <encore/lazy/evaluator.h>
#include <fmt/format.h>

#include <atomic>
#include <charconv>

namespace encore {
namespace {

std::atomic<Device>& chosen() {
  static std::atomic<Device> device{[] {
    try {
      return parse_device(settings().device);
    } catch (const Error& error) {  // whoever makes a tensor first: the place says nothing
      throw Error("ENCORE_DEVICE: " + error.message(), {}, error.advice());
    }
  }()};
  return device;
}

}  // namespace

Device default_device() { return chosen().load(std::memory_order_relaxed); }

void set_default_device(Device device, std::source_location at) {
  evaluator().check_device(device, at);
  chosen() = device;
}

Device parse_device(std::string_view text, std::source_location at) {
  if (text.empty() || text == "cpu") return cpu;
  if (text == "cuda") return cuda(0);
  uint8_t index = 0;
  if (text.starts_with("cuda:")) {
    auto [end, error] = std::from_chars(text.data() + 5, text.data() + text.size(), index);
    if (error == std::errc() && end == text.data() + text.size()) return cuda(index);
  }
  throw Error(fmt::format("'{}' names no device", text), at, "write cpu, cuda or cuda:N");
}

}  // namespace encore
