#include <encore/core/error.h>
#include <encore/core/settings.h>
#include <encore/jit/backend.h>
#include <encore/jit/cpu/cpu_backend.h>
#include <encore/jit/reference/interpreter.h>
#include <fmt/format.h>

namespace encore::jit {

Backend& backend(Device device) {
  if (device.kind == DeviceKind::cuda)
    throw Error("this build has no CUDA backend", {}, "use the device encore::cpu");
  const std::string& wanted = settings().backend;
  if (wanted == "reference") return interpreter();
  if (wanted.empty()) return cpu_backend();
  throw Error(fmt::format("ENCORE_BACKEND={} is no backend", wanted), {},
              "use 'reference', or leave it empty");
}

}  // namespace encore::jit
