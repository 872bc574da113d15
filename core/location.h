// Where in the user's source something was asked for.
#pragma once
#include <cstdint>
#include <source_location>

namespace encore {

struct Location {
  const char* file = "";
  uint32_t line = 0;

  constexpr Location() = default;
  constexpr Location(const char* file, uint32_t line) : file(file), line(line) {}
  constexpr Location(std::source_location at) : file(at.file_name()), line(at.line()) {}
  /// File names are literals; a copy in another unit counts as another file.
  constexpr bool operator==(const Location&) const = default;
};

}  // namespace encore
