#include <encore/core/error.h>
#include <encore/jit/cpu/contraction.h>
#include <encore/jit/cpu/cpu_backend.h>
#include <encore/jit/cpu/emitter.h>
#include <encore/jit/cpu/launch.h>
#include <encore/jit/cpu/machine_code.h>
#include <encore/jit/cpu/memory.h>
#include <encore/jit/cpu/orc.h>
#include <encore/jit/cpu/parallel.h>
#include <fmt/format.h>
#include <llvm/Config/llvm-config.h>
#include <llvm/IR/LLVMContext.h>
#include <llvm/IR/Module.h>
#include <llvm/IR/Verifier.h>
#include <llvm/Support/raw_ostream.h>

#include <cstring>
#include <exception>

namespace encore::jit {
namespace {

class CpuExecutable : public Executable {
 public:
  CpuExecutable(const Kernel& kernel, const Binary& binary)
      : launcher_(kernel), code_(load_object(binary.bytes)), bytes_(binary.bytes.size()) {
    function_ = reinterpret_cast<KernelFunction>(code_->find(kernel_symbol));
    if (!function_) throw Error("a stored binary of kernel '" + kernel.name + "' is damaged", {});
  }
  void launch(std::span<const Segment> segments) const override {
    launcher_.launch(function_, segments);
  }
  size_t bytes() const override { return bytes_; }

 private:
  Launcher launcher_;
  std::unique_ptr<LoadedCode> code_;
  KernelFunction function_;
  size_t bytes_;
};

class CpuBackend : public Backend {
 public:
  explicit CpuBackend(Isa isa) : isa_(isa), machine_code_(isa) {}

  std::string name() const override { return "cpu"; }
  std::string fingerprint() const override {
    return fmt::format("llvm {} {} {}", LLVM_VERSION_STRING, feature_level(isa_),
                       8 * vector_bytes(isa_));
  }
  Limits limits() const override { return {}; }

  std::vector<Binary> compile(std::span<const Kernel* const> kernels) override {
    std::vector<Binary> binaries(kernels.size());
    parallel_for(int64_t(kernels.size()), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) binaries[size_t(i)] = compile_one(*kernels[size_t(i)]);
    });
    return binaries;
  }

  std::shared_ptr<const Executable> load(const Kernel& kernel, const Binary& binary) override {
    return std::make_shared<CpuExecutable>(kernel, binary);
  }

  std::vector<Listing> listings(const Kernel& kernel) override {
    llvm::LLVMContext context;
    std::unique_ptr<llvm::Module> module = make_module(kernel, context);
    std::string text;
    llvm::raw_string_ostream stream(text);
    module->print(stream, nullptr);
    return {{"llvm", text}, {"assembly", machine_code_.assembly(*module)}};
  }

  Ref<Buffer> allocate(size_t bytes) override { return host_cache().allocate_buffer(bytes); }
  void copy_to_device(void* to, const void* from, size_t bytes) override { copy(to, from, bytes); }
  void copy_to_host(void* to, const void* from, size_t bytes) override { copy(to, from, bytes); }
  void synchronize() override {}
  int64_t live_bytes() const override { return host_cache().live_bytes(); }
  int64_t peak_bytes() const override { return host_cache().peak_bytes(); }
  void reset_peak_bytes() override { host_cache().reset_peak_bytes(); }

 private:
  static void copy(void* to, const void* from, size_t bytes) {
    if (bytes) std::memcpy(to, from, bytes);
  }

  std::unique_ptr<llvm::Module> make_module(const Kernel& kernel, llvm::LLVMContext& context) {
    auto module = std::make_unique<llvm::Module>("kernel", context);
    machine_code_.prepare(*module);
    Emitter(kernel, isa_, *module).emit_kernel();
    check(kernel, *module);
    machine_code_.optimize(*module);
    return module;
  }

  /// Costs little next to code generation, and says what is wrong instead of crashing there.
  void check(const Kernel& kernel, const llvm::Module& module) {
    std::string text;
    llvm::raw_string_ostream stream(text);
    if (llvm::verifyModule(module, &stream))
      throw Error(fmt::format("kernel '{}' became broken LLVM IR: {}", kernel.name, text), {});
  }

  Binary compile_one(const Kernel& kernel) {
    llvm::LLVMContext context;
    return {machine_code_.object(*make_module(kernel, context))};
  }

  Isa isa_;
  MachineCode machine_code_;
};

}  // namespace

Backend& cpu_backend() {
  static Backend& instance = *new CpuBackend(chosen_isa());
  return instance;
}

std::unique_ptr<Backend> make_cpu_backend(Isa isa) { return std::make_unique<CpuBackend>(isa); }

}  // namespace encore::jit
