#include <encore/core/error.h>
#include <encore/jit/host_memory.h>
#include <encore/jit/reference/execute.h>
#include <encore/jit/reference/interpreter.h>
#include <encore/jit/seal.h>

#include <cstring>

namespace encore::jit {
namespace {

class InterpretedKernel : public Executable {
 public:
  explicit InterpretedKernel(const Kernel& kernel) : program_(kernel) {}

  void launch(std::span<const Segment> segments) const override {
    for (const Segment& segment : segments) program_.run(segment);
  }

  size_t bytes() const override {
    return sizeof *this + held_bytes(program_.kernel()) + program_.steps().size_bytes();
  }

 private:
  Program program_;
};

class Interpreter : public Backend {
 public:
  std::string name() const override { return "reference"; }
  std::string fingerprint() const override { return "reference 1"; }
  Limits limits() const override { return {}; }

  std::vector<Binary> compile(std::span<const Kernel* const> kernels) override {
    std::vector<Binary> binaries;
    for (const Kernel* kernel : kernels) {
      verify_kernel(*kernel);
      binaries.push_back(seal(*kernel, fingerprint(), {}));  // it only says which kernel it is of
    }
    return binaries;
  }

  std::shared_ptr<const Executable> load(const Kernel& kernel, const Binary& binary) override {
    unseal(kernel, fingerprint(), binary);
    return std::make_shared<InterpretedKernel>(kernel);
  }

  std::vector<Listing> listings(const Kernel&) override { return {}; }

  Ref<Buffer> allocate(size_t bytes) override { return memory_.allocate(bytes); }
  bool copy_to_device(void* to, const void* from, size_t bytes) override {
    copy(to, from, bytes);
    return false;
  }
  void copy_to_host(void* to, const void* from, size_t bytes) override { copy(to, from, bytes); }
  void synchronize() override {}
  int64_t live_bytes() const override { return memory_.live_bytes(); }
  int64_t peak_bytes() const override { return memory_.peak_bytes(); }
  void reset_peak_bytes() override { memory_.reset_peak_bytes(); }

 private:
  static void copy(void* to, const void* from, size_t bytes) {
    if (bytes != 0) std::memcpy(to, from, bytes);
  }

  HostMemory memory_;
};

}  // namespace

Backend& interpreter() {
  static Interpreter& instance = *new Interpreter;  // leaked: buffers may outlive every static
  return instance;
}

}  // namespace encore::jit
