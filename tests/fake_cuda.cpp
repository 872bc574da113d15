// Opens the driver without a device, and makes Encore open the same.
#include <dlfcn.h>
#include <encore/core/settings.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <utility>

#include "fake_cuda_driver.h"

namespace encore::fake_cuda {

namespace {

class Complaints : public testing::EmptyTestEventListener {
  void OnTestEnd(const testing::TestInfo&) override {
    for (const std::string& one : std::exchange(driver().complaints, {})) ADD_FAILURE() << one;
  }
};

}  // namespace

Driver& driver() {
  static Driver& opened = *[] {
    settings().cuda_path = ENCORE_FAKE_CUDA_FOLDER;
    void* library = dlopen(ENCORE_FAKE_CUDA_FOLDER "/libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    void* function = library ? dlsym(library, "fake_cuda_driver") : nullptr;
    if (!function) throw std::runtime_error("the fake driver cannot be opened");
    Driver* made = reinterpret_cast<Driver* (*)()>(function)();
    made->complaints_are_read = true;
    testing::UnitTest::GetInstance()->listeners().Append(new Complaints);
    return made;
  }();
  return opened;
}

void enqueue(void* stream, std::function<void()> work) {
  driver();
  static void* library = dlopen(ENCORE_FAKE_CUDA_FOLDER "/libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  static auto* into_stream = reinterpret_cast<void (*)(void*, std::function<void()>*)>(
      dlsym(library, "fake_cuda_enqueue"));
  into_stream(stream, &work);
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

std::string run_apart(const std::string& test, const std::string& environment) {
  std::string self = std::filesystem::read_symlink("/proc/self/exe");
  FILE* pipe =
      popen((environment + " ENCORE_TEST_APART=1 '" + self + "' --gtest_filter=" + test + " 2>&1")
                .c_str(),
            "r");
  std::string said;
  for (char part[4096]; size_t size = fread(part, 1, sizeof part, pipe);) said.append(part, size);
  EXPECT_EQ(pclose(pipe), 0) << said;
  return said;
}

bool is_apart() { return std::getenv("ENCORE_TEST_APART") != nullptr; }

}  // namespace encore::fake_cuda
