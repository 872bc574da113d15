#include <encore/core/error.h>
#include <encore/jit/cpu/emitter.h>
#include <encore/jit/cpu/jit_symbols.h>
#include <encore/jit/cpu/orc.h>
#include <fmt/format.h>
#include <llvm/ExecutionEngine/Orc/Core.h>
#include <llvm/ExecutionEngine/Orc/ExecutorProcessControl.h>
#include <llvm/ExecutionEngine/Orc/MapperJITLinkMemoryManager.h>
#include <llvm/ExecutionEngine/Orc/MemoryMapper.h>
#include <llvm/ExecutionEngine/Orc/ObjectLinkingLayer.h>
#include <llvm/Object/ELFObjectFile.h>
#include <llvm/Support/MemoryBuffer.h>

#include <atomic>
#include <cmath>
#include <cstring>

namespace encore::jit {
namespace {

using namespace llvm::orc;

/// Address space taken from the system at once; objects share it.
constexpr size_t slab_bytes = 4 << 20;

/// Code and constants fill pages of their own, and each object costs a mapping, of which Linux
/// allows a process 65,530; a library's tables in the session take about this much more (measured
/// as growth over thousands of kernels).
constexpr size_t page_bytes = 4096, bookkeeping_bytes = 12 << 10;

template <class T>
T need(llvm::Expected<T> value) {
  if (!value)
    throw Error("generated code cannot be loaded: " + llvm::toString(value.takeError()), {});
  return std::move(*value);
}

void need(llvm::Error error) {
  if (error)
    throw Error("generated code cannot be loaded: " + llvm::toString(std::move(error)), {});
}

class Session {
 public:
  Session()
      : session_(need(SelfExecutorProcessControl::Create())),
        layer_(
            session_,
            need(MapperJITLinkMemoryManager::CreateWithMapper<InProcessMemoryMapper>(slab_bytes))),
        runtime_(session_.createBareJITDylib("runtime")) {
    // What goes wrong is thrown, not printed; it happens on the thread that looks up.
    session_.setErrorReporter(
        [](llvm::Error error) { reported() = llvm::toString(std::move(error)); });
    define_runtime();
  }

  JITDylib& add(std::span<const std::byte> object) {
    std::string name = fmt::format("kernel{}", count_.fetch_add(1));
    JITDylib& library = session_.createBareJITDylib(name);
    library.addToLinkOrder(runtime_);
    llvm::StringRef text(reinterpret_cast<const char*>(object.data()), object.size());
    try {
      need(layer_.add(library, llvm::MemoryBuffer::getMemBufferCopy(text, name)));
    } catch (...) {
      remove(library);
      throw;
    }
    return library;
  }

  void* find(JITDylib& library, std::string_view symbol) {
    auto found = session_.lookup(makeJITDylibSearchOrder(&library),
                                 session_.intern(llvm::StringRef(symbol.data(), symbol.size())));
    if (found) return found->getAddress().toPtr<void*>();
    llvm::Error error = found.takeError();
    if (error.isA<SymbolsNotFound>()) {
      llvm::consumeError(std::move(error));
      return nullptr;
    }
    std::string message = llvm::toString(std::move(error));
    throw Error("generated code cannot be loaded: " + message + " " + reported(), {});
  }

  void remove(JITDylib& library) { llvm::consumeError(session_.removeJITDylib(library)); }

 private:
  /// What the session last said on this thread.
  static std::string& reported() {
    static thread_local std::string message;
    return message;
  }

  /// The only functions that generated code may call.
  void define_runtime() {
    SymbolMap symbols;
    auto define = [&](const char* name, auto* function) {
      symbols[session_.intern(name)] = {
          ExecutorAddr::fromPtr(function),
          llvm::JITSymbolFlags::Exported | llvm::JITSymbolFlags::Callable};
    };
    define("fmodf", static_cast<float (*)(float, float)>(std::fmod));
    define("fmod", static_cast<double (*)(double, double)>(std::fmod));
    define("memcpy", &std::memcpy);
    define("memset", &std::memset);
    define("memmove", &std::memmove);
    need(runtime_.define(absoluteSymbols(std::move(symbols))));
  }

  ExecutionSession session_;
  ObjectLinkingLayer layer_;
  JITDylib& runtime_;
  std::atomic<uint64_t> count_{0};
};

/// Leaked on purpose: code may run until the process is gone.
Session& session() {
  static Session& instance = *new Session;
  return instance;
}

class Library : public LoadedCode {
 public:
  Library(JITDylib& library, size_t object_bytes)
      : library_(library),
        bytes_((object_bytes + page_bytes - 1) / page_bytes * page_bytes + bookkeeping_bytes) {}
  ~Library() override { session().remove(library_); }
  void* find(std::string_view symbol) const override { return session().find(library_, symbol); }
  size_t bytes() const override { return bytes_; }
  /// `object`: what was loaded.
  void announce_functions(std::span<const std::byte> object, std::string_view kernel) {
    std::vector<CodeSymbol> symbols;
    llvm::StringRef text(reinterpret_cast<const char*>(object.data()), object.size());
    auto file = need(llvm::object::ObjectFile::createObjectFile({text, "kernel"}));
    for (llvm::object::ELFSymbolRef symbol : file->symbols()) {
      if (symbol.getELFType() != llvm::ELF::STT_FUNC) continue;
      std::string name = need(symbol.getName()).str();
      if (void* address = find(name))
        symbols.push_back({shown_name(name, kernel), address, size_t(symbol.getSize())});
    }
    announced_ = announce(symbols);
  }

 private:
  /// "encore_finish" of kernel "mul_add" -> "encore_mul_add.finish"
  static std::string shown_name(const std::string& symbol, std::string_view kernel) {
    std::string name = fmt::format("encore_{}", kernel);
    return symbol == kernel_symbol ? name : name + "." + symbol.substr(symbol.find('_') + 1);
  }

  JITDylib& library_;
  std::unique_ptr<AnnouncedCode> announced_;
  size_t bytes_;
};

}  // namespace

std::unique_ptr<LoadedCode> load_object(std::span<const std::byte> object, std::string_view name) {
  auto library = std::make_unique<Library>(session().add(object), object.size());
  if (wants_symbols()) library->announce_functions(object, name);
  return library;
}

}  // namespace encore::jit
