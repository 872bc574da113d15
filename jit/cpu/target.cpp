#include <encore/core/error.h>
#include <encore/core/settings.h>
#include <encore/jit/cpu/target.h>
#include <fmt/format.h>
#include <llvm/ADT/StringMap.h>
#include <llvm/TargetParser/Host.h>

#include <algorithm>
#include <initializer_list>

namespace encore::jit {
namespace {

bool host_has(const llvm::StringMap<bool>& features, std::initializer_list<const char*> wanted) {
  return std::all_of(wanted.begin(), wanted.end(),
                     [&](const char* name) { return features.lookup(name); });
}

}  // namespace

Isa host_isa() {
  static const int best = [] {
    auto features = llvm::sys::getHostCPUFeatures();
    if (!host_has(features, {"avx2", "fma", "f16c", "bmi", "bmi2", "lzcnt", "movbe"})) return -1;
    bool wide = host_has(features, {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"});
    return int(wide ? Isa::avx512 : Isa::avx2);
  }();
  if (best < 0)
    throw Error("this processor has no AVX2 and FMA, which the CPU backend needs", {},
                "set ENCORE_BACKEND=reference to run through the interpreter");
  return Isa(best);
}

Isa chosen_isa() {
  const std::string& limit = settings().isa;
  Isa best = host_isa();
  if (limit.empty() || limit == "avx512") return best;
  if (limit == "avx2") return Isa::avx2;
  throw Error(fmt::format("ENCORE_ISA={} is no instruction set of the CPU backend", limit), {},
              "use avx2 or avx512, or leave it empty");
}

std::string feature_level(Isa isa) { return isa == Isa::avx512 ? "x86-64-v4" : "x86-64-v3"; }

std::string host_cpu() { return llvm::sys::getHostCPUName().str(); }

}  // namespace encore::jit
