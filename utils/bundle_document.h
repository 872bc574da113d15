// A bundle's trace.json: what the compiler told of the trace, and what was heard meanwhile.
// docs/dump-format.md says what each field means.
#pragma once
#include <encore/core/events.h>

#include <cstdint>
#include <string>
#include <vector>

namespace encore {

struct BundleDocument {
  struct Miss {
    explicit Miss(const Event& event);
    std::string reason, text, file;
    uint32_t line = 0;
  };
  struct Listing {
    std::string kernel, kind, file;  // the file's path in the bundle
  };
  struct Compiled {
    std::string kernel;
    int64_t nanoseconds = 0;  // 0: not known
  };

  std::string trace;         // the compiler's JSON; empty: not heard yet
  std::vector<Miss> misses;  // of the trace, and of its kernels
  std::vector<Listing> listings;
  std::vector<std::string> refusals;  // JSON objects
  std::vector<Compiled> compiled;

  /// Keeps misses, refusals and compile times; passes are the writer's.
  void take(const Event& event);
  std::string text() const;
};

}  // namespace encore
