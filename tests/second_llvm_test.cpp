// Does a program that also holds the system's shared LLVM run, whichever comes first?
#include <dlfcn.h>
#include <encore/lazy/create.h>
#include <encore/lazy/elementwise.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

namespace encore {
namespace {

void compute(float factor) {
  Tensor x = from_vector<float>({-1, 0, 1, 2});
  Tensor y = exp(x * factor - x * factor) + sqrt(x * x);  // compiled, for it was never seen before
  EXPECT_EQ(y.to_vector<float>(), std::vector<float>({2, 1, 2, 3}));
}

// Makes and drops a context of the shared LLVM, so that its code certainly runs.
void use_shared_llvm() {
  void* library = dlopen(ENCORE_SHARED_LLVM, RTLD_NOW | RTLD_GLOBAL);
  ASSERT_NE(library, nullptr) << dlerror();
  auto create = reinterpret_cast<void* (*)()>(dlsym(library, "LLVMContextCreate"));
  auto dispose = reinterpret_cast<void (*)(void*)>(dlsym(library, "LLVMContextDispose"));
  ASSERT_TRUE(create && dispose);
  dispose(create());
}

TEST(SecondLlvm, LoadedLater) {
  compute(1);
  use_shared_llvm();
  compute(2);
}

TEST(SecondLlvm, LoadedBeforeOurs) {
  const std::string self = std::filesystem::read_symlink("/proc/self/exe");
  const std::string command =
      fmt::format("LD_PRELOAD='{}' '{}' --gtest_filter=SecondLlvm.LoadedLater > /dev/null",
                  ENCORE_SHARED_LLVM, self);
  EXPECT_EQ(std::system(command.c_str()), 0) << command;
}

}  // namespace
}  // namespace encore
