#include <encore/core/settings.h>
#include <fmt/format.h>

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <ostream>
#include <string_view>

namespace encore {
namespace {

// What cannot be read is told and leaves the value: half of a number could do harm.
void refuse(const char* variable, std::string_view text, const char* wanted) {
  fmt::print(stderr, "encore: {}={} is not used; it wants {}\n", variable, text, wanted);
}

void read(const char*, std::string_view text, std::string& value) { value = text; }
void read(const char* variable, std::string_view text, int64_t& value) {
  int64_t number = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  if (text.empty()) return;
  if (error != std::errc() || stop != end) return refuse(variable, text, "a whole number");
  value = number;
}
void read(const char*, std::string_view text, bool& value) {
  value = !(text.empty() || text == "0" || text == "off" || text == "false");
}
void read(const char* variable, std::string_view text, MatmulPrecision& value) {
  if (text.empty()) return;
  for (auto precision : {MatmulPrecision::highest, MatmulPrecision::high, MatmulPrecision::medium})
    if (text == name_of(precision)) return void(value = precision);
  refuse(variable, text, "highest, high or medium");
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
  if (const char* text = ::secure_getenv(variable)) read(variable, text, read_once->name);
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
  text += fmt::format("{:<23} {:<12} {}\n", variable, fmt::format("{}", shown(settings().name)), \
                      help);
#include <encore/core/settings.def>
#undef SETTING
  return text;
}

}  // namespace encore
