// The process's settings: one row per environment variable, read once at first use.
#pragma once
#include <cstdint>
#include <iosfwd>
#include <string>
#include <string_view>

namespace encore {

/// What f32 operands of matrix products may be rounded to where that is faster; f32 sums always.
enum class MatmulPrecision : uint8_t {
  highest,  // nothing: as exact as f32
  high,     // TF32, 11 significant bits
  medium,   // bf16, 8 significant bits
};
std::string_view name_of(MatmulPrecision precision);
std::ostream& operator<<(std::ostream& stream, MatmulPrecision precision);

struct Settings {
#define SETTING(type, name, variable, fallback, help) type name = fallback;
#include <encore/core/settings.def>
#undef SETTING
};

/// Mutable so that a program (or a test) can change a setting before it takes effect.
Settings& settings();

/// For all products that are recorded and not yet run, and later ones. Only GPUs make use of it; in
/// strict mode nothing does.
void set_matmul_precision(MatmulPrecision precision);

/// One line per setting: variable, value, meaning.
std::string describe_settings();

}  // namespace encore
