#include <encore/core/settings.h>
#include <fmt/format.h>

#include <cstdlib>
#include <ostream>
#include <string_view>

namespace encore {
namespace {

void read(const char* text, std::string& value) { value = text; }
void read(const char* text, int64_t& value) { value = std::strtoll(text, nullptr, 10); }
void read(const char* text, bool& value) {
  std::string_view word = text;
  value = !(word.empty() || word == "0" || word == "off" || word == "false");
}
void read(const char* text, MatmulPrecision& value) {
  for (auto precision : {MatmulPrecision::high, MatmulPrecision::medium})
    if (text == name_of(precision)) value = precision;
}

template <class T>
const T& shown(const T& value) {
  return value;
}
std::string_view shown(MatmulPrecision value) { return name_of(value); }

}  // namespace

std::string_view name_of(MatmulPrecision precision) {
  constexpr std::string_view names[] = {"highest", "high", "medium"};
  return names[int(precision)];
}
std::ostream& operator<<(std::ostream& stream, MatmulPrecision precision) {
  return stream << name_of(precision);
}

// Some settings name code to load, so a setuid program does not hear its caller's.
Settings& settings() {
  static Settings& instance = *[] {
    auto* read_once = new Settings;
#define SETTING(type, name, variable, fallback, help) \
  if (const char* text = ::secure_getenv(variable)) read(text, read_once->name);
#include <encore/core/settings.def>
#undef SETTING
    return read_once;
  }();
  return instance;
}

void set_matmul_precision(MatmulPrecision precision) { settings().matmul_precision = precision; }

std::string describe_settings() {
  std::string text;
#define SETTING(type, name, variable, fallback, help)                                            \
  text += fmt::format("{:<22} {:<12} {}\n", variable, fmt::format("{}", shown(settings().name)), \
                      help);
#include <encore/core/settings.def>
#undef SETTING
  return text;
}

}  // namespace encore
