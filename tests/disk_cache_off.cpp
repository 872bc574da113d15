// Tests count what is compiled, so they find no code on the user's disk; linked into every one of
// them. Those about the disk cache name a folder of their own.
#include <encore/core/settings.h>

#include <cstdlib>

[[maybe_unused]] static const bool off = [] {
  if (std::getenv("ENCORE_CACHE")) return false;
  setenv("ENCORE_CACHE", "off", 0);  // for programs that the test runs
  encore::settings().cache = "off";
  return true;
}();
