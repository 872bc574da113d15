#include <encore/core/error.h>
#include <encore/jit/cpu/machine_code.h>
#include <llvm/ADT/SmallVector.h>
#include <llvm/Analysis/AliasAnalysis.h>
#include <llvm/Analysis/AssumptionCache.h>
#include <llvm/Analysis/BasicAliasAnalysis.h>
#include <llvm/Analysis/LoopInfo.h>
#include <llvm/Analysis/MemorySSA.h>
#include <llvm/Analysis/OptimizationRemarkEmitter.h>
#include <llvm/Analysis/ScalarEvolution.h>
#include <llvm/Analysis/TargetLibraryInfo.h>
#include <llvm/Analysis/TargetTransformInfo.h>
#include <llvm/IR/LegacyPassManager.h>
#include <llvm/IR/PassManager.h>
#include <llvm/MC/TargetRegistry.h>
#include <llvm/Support/CommandLine.h>
#include <llvm/Support/TargetSelect.h>
#include <llvm/Support/raw_ostream.h>
#include <llvm/Transforms/Scalar/EarlyCSE.h>
#include <llvm/Transforms/Scalar/LICM.h>
#include <llvm/Transforms/Scalar/LoopPassManager.h>
#include <llvm/Transforms/Scalar/SimplifyCFG.h>

namespace encore::jit {
namespace {

constexpr const char* triple = "x86_64-unknown-linux-gnu";

void initialize_llvm() {
  static const bool once = [] {
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
    // Addresses are already in the form that the loops want; the pass only undoes it, slowly.
    const char* arguments[] = {"encore", "-disable-lsr"};
    llvm::cl::ParseCommandLineOptions(2, arguments);
    return true;
  }();
  (void)once;
}

std::unique_ptr<llvm::TargetMachine> make_target_machine(Isa isa) {
  std::string error;
  const llvm::Target* target = llvm::TargetRegistry::lookupTarget(triple, error);
  if (!target) throw Error("LLVM has no x86-64 target: " + error, {});
  llvm::TargetOptions options;
  options.AllowFPOpFusion = llvm::FPOpFusion::Strict;
  return std::unique_ptr<llvm::TargetMachine>(target->createTargetMachine(
      triple, feature_level(isa), "", options, llvm::Reloc::PIC_, llvm::CodeModel::Small,
      llvm::CodeGenOptLevel::Default, /*JIT=*/true));
}

/// The analyses that the few passes ask for, registered by hand: a PassBuilder would link every
/// pass.
struct Analyses {
  llvm::LoopAnalysisManager loops;
  llvm::FunctionAnalysisManager functions;
  llvm::ModuleAnalysisManager modules;

  explicit Analyses(llvm::TargetMachine& machine) {
    using namespace llvm;
    functions.registerPass([] { return PassInstrumentationAnalysis(); });
    loops.registerPass([] { return PassInstrumentationAnalysis(); });
    functions.registerPass(
        [&] { return TargetLibraryAnalysis(TargetLibraryInfoImpl(machine.getTargetTriple())); });
    functions.registerPass([&] { return machine.getTargetIRAnalysis(); });
    functions.registerPass([] { return AssumptionAnalysis(); });
    functions.registerPass([] { return DominatorTreeAnalysis(); });
    functions.registerPass([] { return LoopAnalysis(); });
    functions.registerPass([] { return ScalarEvolutionAnalysis(); });
    functions.registerPass([] { return MemorySSAAnalysis(); });
    functions.registerPass([] { return BasicAA(); });
    functions.registerPass([] { return OptimizationRemarkEmitterAnalysis(); });
    functions.registerPass([] {
      AAManager manager;
      manager.registerFunctionAnalysis<BasicAA>();
      return manager;
    });
    functions.registerPass([this] { return LoopAnalysisManagerFunctionProxy(loops); });
    loops.registerPass([this] { return FunctionAnalysisManagerLoopProxy(functions); });
    functions.registerPass([this] { return ModuleAnalysisManagerFunctionProxy(modules); });
  }
};

}  // namespace

/// A TargetMachine taken from the idle ones, given back at the end of the scope.
class MachineCode::Borrowed {
 public:
  explicit Borrowed(MachineCode& owner) : owner_(owner) {
    {
      std::lock_guard lock(owner_.mutex_);
      if (!owner_.idle_.empty()) {
        machine_ = std::move(owner_.idle_.back());
        owner_.idle_.pop_back();
      }
    }
    if (!machine_) machine_ = make_target_machine(owner_.isa_);
  }
  ~Borrowed() {
    std::lock_guard lock(owner_.mutex_);
    owner_.idle_.push_back(std::move(machine_));
  }
  llvm::TargetMachine& operator*() { return *machine_; }
  llvm::TargetMachine* operator->() { return machine_.get(); }

 private:
  MachineCode& owner_;
  std::unique_ptr<llvm::TargetMachine> machine_;
};

MachineCode::MachineCode(Isa isa) : isa_(isa) { initialize_llvm(); }

void MachineCode::prepare(llvm::Module& module) {
  Borrowed machine(*this);
  module.setTargetTriple(triple);
  module.setDataLayout(machine->createDataLayout());
}

void MachineCode::optimize(llvm::Module& module) {
  Borrowed machine(*this);
  Analyses analyses(*machine);
  llvm::FunctionPassManager passes;
  passes.addPass(llvm::SimplifyCFGPass());
  passes.addPass(llvm::EarlyCSEPass());
  llvm::LoopPassManager loop_passes;
  loop_passes.addPass(llvm::LICMPass(llvm::LICMOptions()));
  passes.addPass(
      llvm::createFunctionToLoopPassAdaptor(std::move(loop_passes), /*UseMemorySSA=*/true));
  for (llvm::Function& function : module)
    if (!function.isDeclaration()) passes.run(function, analyses.functions);
}

std::vector<char> MachineCode::emit(llvm::Module& module, llvm::CodeGenFileType type) {
  Borrowed machine(*this);
  llvm::SmallVector<char, 0> buffer;
  llvm::raw_svector_ostream stream(buffer);
  llvm::legacy::PassManager passes;
  if (machine->addPassesToEmitFile(passes, stream, nullptr, type))
    throw Error("LLVM cannot emit code for this machine", {});
  passes.run(module);
  return {buffer.begin(), buffer.end()};
}

std::vector<std::byte> MachineCode::object(llvm::Module& module) {
  std::vector<char> bytes = emit(module, llvm::CodeGenFileType::ObjectFile);
  auto* begin = reinterpret_cast<const std::byte*>(bytes.data());
  return {begin, begin + bytes.size()};
}

std::string MachineCode::assembly(llvm::Module& module) {
  std::vector<char> bytes = emit(module, llvm::CodeGenFileType::AssemblyFile);
  return {bytes.begin(), bytes.end()};
}

}  // namespace encore::jit
