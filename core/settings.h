// The process's settings: one row per environment variable, read once at first use.
#pragma once
#include <cstdint>
#include <string>

namespace encore {

struct Settings {
#define SETTING(type, name, variable, fallback, help) type name = fallback;
#include <encore/core/settings.def>
#undef SETTING
};

/// Mutable so that a program (or a test) can change a setting before it takes effect.
Settings& settings();

/// One line per setting: variable, value, meaning.
std::string describe_settings();

}  // namespace encore
