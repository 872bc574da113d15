#include <encore/core/error.h>
#include <encore/core/shared_library.h>
#include <encore/core/span.h>
#include <encore/jit/cuda/driver.h>
#include <encore/jit/cuda/nvrtc.h>
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <memory>
#include <optional>
#include <system_error>
#include <thread>

namespace encore::jit::cuda {
namespace {

using Program = struct _nvrtcProgram*;

// NVRTC(function, parameter types …): every function that is called. All return a result code.
#define ENCORE_NVRTC(NVRTC)                                                              \
  NVRTC(nvrtcVersion, int*, int*)                                                        \
  NVRTC(nvrtcCreateProgram, Program*, const char*, const char*, int, const char* const*, \
        const char* const*)                                                              \
  NVRTC(nvrtcDestroyProgram, Program*)                                                   \
  NVRTC(nvrtcCompileProgram, Program, int, const char* const*)                           \
  NVRTC(nvrtcGetCUBINSize, Program, size_t*)                                             \
  NVRTC(nvrtcGetCUBIN, Program, char*)                                                   \
  NVRTC(nvrtcGetPTXSize, Program, size_t*)                                               \
  NVRTC(nvrtcGetPTX, Program, char*)                                                     \
  NVRTC(nvrtcGetProgramLogSize, Program, size_t*)                                        \
  NVRTC(nvrtcGetProgramLog, Program, char*)

/// A driver loads what a compiler of its own major version made, or an older one.
int newest_major() {
  try {
    return driver().version() / 1000;
  } catch (const DeviceUnavailable&) {
    return 99;  // whatever there is
  }
}

struct Nvrtc {
#define NVRTC(function, ...) int (*function)(__VA_ARGS__) = nullptr;
  ENCORE_NVRTC(NVRTC)
#undef NVRTC

  Nvrtc() {
    std::vector<std::string> names;
    for (int major = std::min(newest_major(), 13); major >= 12; --major)
      names.push_back(fmt::format("libnvrtc.so.{}", major));
    names.push_back("libnvrtc.so");
    library_ = SharedLibrary(names, search_folders());
    const char* advice =
        "install CUDA's NVRTC library, or name its folder in ENCORE_CUDA_PATH; or use encore::cpu";
    if (!library_.is_open())
      throw DeviceUnavailable("there is no NVRTC to compile for CUDA: " + library_.failure(), {},
                              advice);
#define NVRTC(function, ...)                                                   \
  function = reinterpret_cast<int (*)(__VA_ARGS__)>(library_.find(#function)); \
  if (!function)                                                               \
    throw DeviceUnavailable(fmt::format("{} has no {}", library_.name(), #function), {}, advice);
    ENCORE_NVRTC(NVRTC)
#undef NVRTC
    int major = 0, minor = 0;
    nvrtcVersion(&major, &minor);
    version = fmt::format("{}.{}", major, minor);
    if (major > newest_major())
      throw DeviceUnavailable(
          fmt::format("{} is NVRTC {}, whose code the driver (for CUDA {}.{}) does not load",
                      library_.name(), version, driver().version() / 1000,
                      driver().version() % 1000 / 10),
          {}, "update NVIDIA's driver, or name an older NVRTC's folder in ENCORE_CUDA_PATH");
  }

  std::string version;

 private:
  SharedLibrary library_;
};

const Nvrtc& nvrtc() {
  struct Opened {
    std::unique_ptr<Nvrtc> nvrtc;
    std::optional<DeviceUnavailable> failure;
  };
  static Opened& opened = *[] {
    auto* made = new Opened;
    try {
      made->nvrtc = std::make_unique<Nvrtc>();
    } catch (const DeviceUnavailable& failure) {
      made->failure = failure;
    }
    return made;
  }();
  if (opened.failure) throw *opened.failure;
  return *opened.nvrtc;
}

void check(int result, const char* function) {
  if (result != 0) throw Error(fmt::format("NVRTC: {} failed with error {}", function, result), {});
}

/// A compiled program, destroyed with this.
class Compilation {
 public:
  Compilation(const std::string& source, const std::string& architecture) {
    check(nvrtc().nvrtcCreateProgram(&program_, source.c_str(), "encore.cu", 0, nullptr, nullptr),
          "nvrtcCreateProgram");
    const char* options[] = {architecture.c_str(),
                             "--std=c++17",
                             "--fmad=false",
                             "--prec-div=true",
                             "--prec-sqrt=true",
                             "--ftz=false",
                             "--device-as-default-execution-space"};
    int result = nvrtc().nvrtcCompileProgram(program_, int(std::size(options)), options);
    if (result == 0) return;
    std::string text = log();
    nvrtc().nvrtcDestroyProgram(&program_);
    throw Error(
        fmt::format("NVRTC refused generated code (error {}):\n{}", result, text), {},
        "this is a bug of Encore; please report it with the dump of the trace (ENCORE_DUMP=DIR)");
  }
  ~Compilation() { nvrtc().nvrtcDestroyProgram(&program_); }
  Compilation(const Compilation&) = delete;
  Compilation& operator=(const Compilation&) = delete;

  std::vector<std::byte> cubin() const {
    size_t size = 0;
    check(nvrtc().nvrtcGetCUBINSize(program_, &size), "nvrtcGetCUBINSize");
    std::vector<std::byte> bytes(size);
    check(nvrtc().nvrtcGetCUBIN(program_, reinterpret_cast<char*>(bytes.data())), "nvrtcGetCUBIN");
    return bytes;
  }

  std::string ptx() const {
    size_t size = 0;
    check(nvrtc().nvrtcGetPTXSize(program_, &size), "nvrtcGetPTXSize");
    std::string text(size, '\0');
    check(nvrtc().nvrtcGetPTX(program_, text.data()), "nvrtcGetPTX");
    text.resize(text.find('\0') == std::string::npos ? size : text.find('\0'));
    return text;
  }

 private:
  std::string log() const {
    size_t size = 0;
    if (nvrtc().nvrtcGetProgramLogSize(program_, &size) != 0 || size == 0) return {};
    std::string text(size, '\0');
    if (nvrtc().nvrtcGetProgramLog(program_, text.data()) != 0) return {};
    text.resize(size - 1);
    return text;
  }

  Program program_ = nullptr;
};

/// What has warpgroups' instructions is for the very architecture only.
std::string architecture(const std::string& source, const char* kind, int capability) {
  const bool only = source.find("wgmma.") != std::string::npos;
  return fmt::format("--gpu-architecture={}_{}{}", kind, capability, only ? "a" : "");
}

}  // namespace

bool nvrtc_is_available() {
  try {
    nvrtc();
    return true;
  } catch (const DeviceUnavailable&) {
    return false;
  }
}

const std::string& nvrtc_version() { return nvrtc().version; }

std::vector<std::byte> compile_to_cubin(const std::string& source, int capability) {
  Span span("compile kernel", "nvrtc");
  return Compilation(source, architecture(source, "sm", capability)).cubin();
}

std::vector<std::vector<std::byte>> compile_to_cubins(std::span<const std::string> sources,
                                                      int capability) {
  std::vector<std::vector<std::byte>> cubins(sources.size());
  std::vector<std::exception_ptr> failures(sources.size());
  std::atomic<size_t> next = 0;
  auto work = [&] {
    for (size_t i; (i = next++) < sources.size();) {
      try {
        cubins[i] = compile_to_cubin(sources[i], capability);
      } catch (...) {
        failures[i] = std::current_exception();
      }
    }
  };
  {
    std::vector<std::jthread> helpers;
    const size_t threads = std::min<size_t>(sources.size(), std::thread::hardware_concurrency());
    try {
      for (size_t i = 1; i < threads; ++i) helpers.emplace_back(work);
    } catch (const std::system_error&) {
      // The system gives no more threads: those that there are do the work.
    }
    work();
  }
  for (const std::exception_ptr& failure : failures)
    if (failure) std::rethrow_exception(failure);
  return cubins;
}

std::string compile_to_ptx(const std::string& source, int capability) {
  return Compilation(source, architecture(source, "compute", capability)).ptx();
}

}  // namespace encore::jit::cuda
