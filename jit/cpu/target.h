// Which vector instructions generated code may use.
#pragma once
#include <cstdint>
#include <string>

namespace encore::jit {

/// Ordered: each includes the ones before it.
enum class Isa : uint8_t {
  avx2,    // x86-64-v3: AVX2, FMA, F16C, BMI; 256-bit vectors
  avx512,  // x86-64-v4: AVX-512 F, BW, CD, DQ, VL; 512-bit vectors
};

/// The best that this machine has; throws Error on a machine without AVX2.
Isa host_isa();

/// `host_isa`, limited by `settings().isa`; throws Error for a name that is unknown.
Isa chosen_isa();

constexpr int vector_bytes(Isa isa) { return isa == Isa::avx512 ? 64 : 32; }

/// The name of the feature level, as compilers know it: all that generated code relies on.
std::string feature_level(Isa isa);

/// The machine's own name, by which code is scheduled; code runs on every machine of its level.
std::string host_cpu();

}  // namespace encore::jit
