// Opens the driver without a device, and makes Encore open the same.
#include <dlfcn.h>
#include <encore/core/settings.h>

#include <stdexcept>

#include "fake_cuda_driver.h"

namespace encore::fake_cuda {

Driver& driver() {
  static Driver& opened = *[] {
    settings().cuda_path = ENCORE_FAKE_CUDA_FOLDER;
    void* library = dlopen(ENCORE_FAKE_CUDA_FOLDER "/libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    void* function = library ? dlsym(library, "fake_cuda_driver") : nullptr;
    if (!function) throw std::runtime_error("the fake driver cannot be opened");
    return reinterpret_cast<Driver* (*)()>(function)();
  }();
  return opened;
}

}  // namespace encore::fake_cuda
