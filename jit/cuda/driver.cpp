#include <encore/core/error.h>
#include <encore/core/settings.h>
#include <encore/jit/cuda/driver.h>
#include <fmt/format.h>

#include <memory>
#include <mutex>
#include <optional>
#include <sstream>

namespace encore::jit::cuda {
namespace {

/// The first whose graphs can be patched node by node the way sequence.cpp does it.
constexpr int oldest_version = 12000;

/// The device whose context this thread entered last.
thread_local constinit int entered_device = -1;

struct Injection {
  std::mutex mutex;
  int64_t remaining = 0;
  CUresult code = CUDA_SUCCESS;
  std::string function;
  bool stays = false;
};

Injection& injection() {
  static auto& instance = *new Injection;
  return instance;
}

/// After these a context answers every call with the same error.
bool ends_context(CUresult result) {
  switch (result) {
    case 214:  // uncorrectable ECC error
    case 220:  // uncorrectable NVLink error
    case 226:  // contained error
    case CUDA_ERROR_ILLEGAL_ADDRESS:
    case 702:  // launch timeout
    case 709:  // context is destroyed
    case 710:  // assert
    case 714:  // hardware stack error
    case 715:  // illegal instruction
    case 716:  // misaligned address
    case 717:  // invalid address space
    case 718:  // invalid program counter
    case 719:  // launch failed
    case 999:  // unknown
      return true;
    default:
      return false;
  }
}

std::string advice_for(CUresult result) {
  if (result == CUDA_ERROR_NOT_INITIALIZED)
    return "a process that was forked cannot use CUDA: start it by exec, or touch CUDA only there";
  return {};
}

[[noreturn]] void throw_lost(int device, CUresult result) {
  throw DeviceLost(
      fmt::format("CUDA device {} was lost to an earlier {}", device, driver().describe(result)),
      {}, "programs on the CPU go on; start the process anew to use the device again");
}

std::string version_text(int version) {
  return fmt::format("{}.{}", version / 1000, version % 1000 / 10);
}

bool gives_back(std::string_view function) {
  return function.find("Free") != function.npos || function.find("Destroy") != function.npos ||
         function.find("Unload") != function.npos;
}

}  // namespace

void fail_call(int64_t n, CUresult code, std::string_view function, bool stays) {
  std::lock_guard lock(injection().mutex);
  injection().remaining = n;
  injection().code = code;
  injection().function = function;
  injection().stays = stays;
  injection_armed = n > 0;
}

CUresult injected_result(const char* function) {
  Injection& wanted = injection();
  std::lock_guard lock(wanted.mutex);
  if (wanted.remaining <= 0 || (!wanted.function.empty() && wanted.function != function))
    return CUDA_SUCCESS;
  if (wanted.remaining > 1) {
    --wanted.remaining;
    return CUDA_SUCCESS;
  }
  if (wanted.function.empty() && wanted.stays && gives_back(function)) return CUDA_SUCCESS;
  if (!wanted.stays) wanted.remaining = 0;
  return wanted.code;
}

void throw_failed(CUresult result, const char* function) {
  Driver& all = driver();
  if (ends_context(result)) all.mark_lost(result);
  if (result == CUDA_ERROR_OUT_OF_MEMORY)
    throw OutOfMemory(0, 0, {},
                      fmt::format("CUDA: {} failed with {}", function, all.describe(result)));
  throw DeviceError(fmt::format("CUDA: {} failed with {}", function, all.describe(result)), {},
                    advice_for(result));
}

Driver::Driver() {
  const std::string names[] = {"libcuda.so.1", "libcuda.so"};
  library_ = SharedLibrary(names, search_folders());
  const char* install = "install NVIDIA's driver, or use the device encore::cpu";
  if (!library_.is_open())
    throw DeviceUnavailable("there is no CUDA driver: " + library_.failure(), {}, install);
  std::string missing;
#define DRIVER(name, symbol, ...)            \
  if (void* address = library_.find(symbol)) \
    name.bind(address);                      \
  else                                       \
    missing += std::string(missing.empty() ? "" : ", ") + symbol;
#include <encore/jit/cuda/driver.def>
#undef DRIVER
  const char* update = "update NVIDIA's driver, or use the device encore::cpu";
  if (!missing.empty())
    throw DeviceUnavailable(
        fmt::format("the CUDA driver {} is too old: it has no {}", library_.name(), missing), {},
        update);
  if (cuDriverGetVersion.status(&version_) || version_ < oldest_version)
    throw DeviceUnavailable(
        fmt::format("the CUDA driver is too old: it is for CUDA {}, and {} or later is needed",
                    version_text(version_), version_text(oldest_version)),
        {}, update);
  CUresult result = cuInit.status(0);
  if (result == CUDA_SUCCESS) result = cuDeviceGetCount.status(&device_count_);
  if (result == CUDA_ERROR_NO_DEVICE) return;
  if (result != CUDA_SUCCESS)
    throw DeviceUnavailable("the CUDA driver does not start: " + describe(result), {}, install);
}

std::string Driver::describe(CUresult result) const {
  const char* name = nullptr;
  const char* text = nullptr;
  bool known = cuGetErrorName.status(result, &name) == CUDA_SUCCESS && name;
  known = known && cuGetErrorString.status(result, &text) == CUDA_SUCCESS && text;
  return known ? fmt::format("{} ({})", name, text) : fmt::format("error {}", result);
}

void Driver::enter(int device, CUcontext context) {
  if (CUresult lost = lost_[size_t(device)].load(std::memory_order_relaxed))
    throw_lost(device, lost);
  entered_device = device;
  cuCtxSetCurrent(context);
}

void Driver::mark_lost(CUresult result) {
  if (entered_device >= 0) lost_[size_t(entered_device)] = result;
}

Driver& driver() {
  struct Opened {
    std::unique_ptr<Driver> driver;
    std::optional<DeviceUnavailable> failure;
  };
  static Opened& opened = *[] {
    auto* made = new Opened;
    try {
      made->driver = std::make_unique<Driver>();
    } catch (const DeviceUnavailable& failure) {
      made->failure = failure;
    }
    return made;
  }();
  if (opened.failure) throw *opened.failure;
  return *opened.driver;
}

std::vector<std::string> search_folders() {
  std::vector<std::string> folders;
  std::istringstream given(settings().cuda_path);
  for (std::string folder; std::getline(given, folder, ':');)
    if (!folder.empty()) folders.push_back(folder);
  for (const char* usual : {"/usr/local/cuda/lib64", "/usr/local/cuda/targets/x86_64-linux/lib"})
    folders.push_back(usual);
  return folders;
}

}  // namespace encore::jit::cuda
