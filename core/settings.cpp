#include <encore/core/settings.h>

#include <fmt/format.h>

#include <cstdlib>
#include <string_view>

namespace encore {
namespace {

void read(const char* text, std::string& value) { value = text; }
void read(const char* text, int64_t& value) { value = std::strtoll(text, nullptr, 10); }
void read(const char* text, bool& value) {
  std::string_view word = text;
  value = !(word.empty() || word == "0" || word == "off" || word == "false");
}

}  // namespace

Settings& settings() {
  static Settings& instance = *[] {
    auto* read_once = new Settings;
#define SETTING(type, name, variable, fallback, help) \
  if (const char* text = std::getenv(variable)) read(text, read_once->name);
#include <encore/core/settings.def>
#undef SETTING
    return read_once;
  }();
  return instance;
}

std::string describe_settings() {
  std::string text;
#define SETTING(type, name, variable, fallback, help) \
  text += fmt::format("{:<22} {:<12} {}\n", variable, fmt::format("{}", settings().name), help);
#include <encore/core/settings.def>
#undef SETTING
  return text;
}

}  // namespace encore
