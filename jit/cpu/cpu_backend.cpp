#include <encore/core/error.h>
#include <encore/core/span.h>
#include <encore/jit/cpu/contraction.h>
#include <encore/jit/cpu/cpu_backend.h>
#include <encore/jit/cpu/emitter.h>
#include <encore/jit/cpu/launch.h>
#include <encore/jit/cpu/machine_code.h>
#include <encore/jit/cpu/memory.h>
#include <encore/jit/cpu/orc.h>
#include <encore/jit/cpu/parallel.h>
#include <encore/jit/seal.h>
#include <fmt/format.h>
#include <llvm/Config/llvm-config.h>
#include <llvm/IR/LLVMContext.h>
#include <llvm/IR/Module.h>
#include <llvm/IR/Verifier.h>
#include <llvm/Support/raw_ostream.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <exception>

namespace encore::jit {
namespace {

using Object = std::span<const std::byte>;

template <class Function>
Function find(const LoadedCode* code, const char* symbol, const Kernel& kernel) {
  void* address = code ? code->find(symbol) : nullptr;
  if (!address) throw Error("a stored binary of kernel '" + kernel.name + "' is damaged", {});
  return reinterpret_cast<Function>(address);
}

/// A loop nest that LLVM compiled whole.
class LoopExecutable : public Executable {
 public:
  LoopExecutable(const Kernel& kernel, Object object)
      : launcher_(kernel),
        code_(load_object(object, kernel.name)),
        function_(find<KernelFunction>(code_.get(), kernel_symbol, kernel)) {}
  void launch(std::span<const Segment> segments) const override {
    launcher_.launch(function_, segments);
  }
  size_t bytes() const override { return code_->bytes(); }

 private:
  Launcher launcher_;
  std::unique_ptr<LoadedCode> code_;
  KernelFunction function_;
};

/// A contraction by blocks, with what LLVM compiled for its ends.
class ContractionExecutable : public Executable {
 public:
  ContractionExecutable(const Kernel& kernel, Isa isa, Object object) : kernel_(kernel), isa_(isa) {
    if (!object.empty()) code_ = load_object(object, kernel.name);
    using Evaluate = decltype(OperandEvaluator::evaluate);
    auto evaluator = [&](bool a) {
      const char* symbol = a ? operand_a_symbol : operand_b_symbol;
      return OperandEvaluator{find<Evaluate>(code_.get(), symbol, kernel),
                              operand_runs_along_depth(kernel, a)};
    };
    ContractionNeeds needs = contraction_needs(kernel);
    if (needs.finisher) ends_.finish = find<TileFinisher>(code_.get(), finisher_symbol, kernel);
    if (needs.a) ends_.a = evaluator(true);
    if (needs.b) ends_.b = evaluator(false);
  }
  void launch(std::span<const Segment> segments) const override {
    for (const Segment& segment : segments)
      run_contraction(kernel_, ends_, isa_, segment, latest_plan_);
  }
  size_t bytes() const override { return sizeof *this + (code_ ? code_->bytes() : 0); }

 private:
  Kernel kernel_;
  Isa isa_;
  std::unique_ptr<LoadedCode> code_;
  ContractionCode ends_;
  mutable LatestPlan latest_plan_;
};

class CpuBackend : public Backend {
 public:
  explicit CpuBackend(Isa isa) : isa_(isa), machine_code_(isa) {}

  std::string name() const override { return "cpu"; }
  std::string fingerprint() const override {
    // Not the processor that code is scheduled for: it runs as well on all others of its level.
    return fmt::format("cpu llvm {} {} {} code {}", LLVM_VERSION_STRING, feature_level(isa_),
                       8 * vector_bytes(isa_), code_version());
  }
  Limits limits() const override { return {}; }

  std::vector<Binary> compile(std::span<const Kernel* const> kernels) override {
    std::vector<Binary> binaries(kernels.size());
    // Kernels differ much in size, so each thread takes the next one when it is done.
    std::atomic<size_t> next{0};
    auto workers = int64_t(std::min(kernels.size(), size_t(thread_count())));
    parallel_for(workers, [&](int64_t, int64_t) {
      for (size_t i; (i = next.fetch_add(1)) < kernels.size();)
        binaries[i] = compile_one(*kernels[i]);
    });
    return binaries;
  }

  std::shared_ptr<const Executable> load(const Kernel& kernel, const Binary& binary) override {
    Span span("load kernel", kernel.name);
    Object object = unseal(kernel, fingerprint(), binary);
    if (contraction_needs(kernel).blocked)
      return std::make_shared<ContractionExecutable>(kernel, isa_, object);
    return std::make_shared<LoopExecutable>(kernel, object);
  }

  std::vector<Listing> listings(const Kernel& kernel) override {
    llvm::LLVMContext context;
    std::unique_ptr<llvm::Module> module = make_module(kernel, context);
    std::string text;
    llvm::raw_string_ostream stream(text);
    module->print(stream, nullptr);
    std::vector<Listing> all = {{"llvm", text}, {"assembly", machine_code_.assembly(*module)}};
    if (contraction_needs(kernel).blocked) all.push_back({"micro", micro_kernel_of(kernel, isa_)});
    return all;
  }

  Ref<Buffer> allocate(size_t bytes) override { return host_cache().allocate_buffer(bytes); }
  bool copy_to_device(void* to, const void* from, size_t bytes) override {
    copy(to, from, bytes);
    return false;
  }
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
    Emitter emitter(kernel, isa_, *module);
    ContractionNeeds needs = contraction_needs(kernel);
    if (!needs.blocked) emitter.emit_kernel();
    if (needs.finisher) emitter.emit_finisher();
    if (needs.a) emitter.emit_operand(true);
    if (needs.b) emitter.emit_operand(false);
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
    Span span("compile kernel", kernel.name);
    llvm::LLVMContext context;
    std::unique_ptr<llvm::Module> module = make_module(kernel, context);
    std::vector<std::byte> object;
    if (!module->empty()) object = machine_code_.object(*module);
    return seal(kernel, fingerprint(), object);
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
