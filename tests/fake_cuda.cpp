// Opens the driver without a device, and makes Encore open the same.
#include <dlfcn.h>
#include <encore/core/settings.h>

#include <cstdlib>
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

bool use_gpu_or_fake() {
  auto has_gpu = [] {
    void* library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!library) return false;
    auto init = reinterpret_cast<int (*)(unsigned)>(dlsym(library, "cuInit"));
    auto count = reinterpret_cast<int (*)(int*)>(dlsym(library, "cuDeviceGetCount"));
    int devices = 0;
    return init && count && init(0) == 0 && count(&devices) == 0 && devices > 0;
  };
  if (!std::getenv("ENCORE_TEST_EMULATE") && has_gpu()) return true;
  driver();
  return false;
}

}  // namespace encore::fake_cuda
