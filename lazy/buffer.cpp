#include <encore/lazy/buffer.h>
#include <fmt/format.h>

namespace encore {

std::string name_of(Device device) {
  return device.kind == DeviceKind::cpu ? "cpu" : fmt::format("cuda:{}", device.index);
}

}  // namespace encore
