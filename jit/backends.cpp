#include <encore/core/error.h>
#include <encore/core/settings.h>
#include <encore/jit/backend.h>
#include <encore/jit/reference/interpreter.h>

namespace encore::jit {

Backend& backend(Device device) {
  if (device.kind == DeviceKind::cuda)
    throw Error("this build has no CUDA backend", {}, "use the device encore::cpu");
  return interpreter();
}

}  // namespace encore::jit
