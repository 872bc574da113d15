// A bundle's trace.json: what the compiler told of the trace, and what was heard meanwhile.
// docs/dump-format.md says what each field means.
//
// It may be long, so it is written as it comes: the compiler's part once, and behind it what was
// heard, which is replaced when more has been heard.
#pragma once
#include <encore/core/events.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace encore {

class BundleDocument {
 public:
  struct Miss {
    explicit Miss(const Event& event);
    std::string reason, text, file;
    uint32_t line = 0;
  };

  /// Keeps misses, refusals and compile times.
  void take(const Event& event);
  void add(Miss miss) { misses_.push_back(std::move(miss)); }
  /// A listing of the kernel of a launch, in a file of the bundle.
  void add_listing(uint32_t launch, std::string kind, std::string file);

  /// Writes a part of the compiler's JSON; behind the last, what was heard so far.
  void write(const std::filesystem::path& path, std::string_view part, bool is_last);
  /// Where the compiler's JSON has come: writes what was heard anew.
  void finish(const std::filesystem::path& path) const;

 private:
  struct Compiled {
    std::string kernel;
    int64_t nanoseconds = 0;  // 0: not known
  };
  std::string with_files(std::string_view part);
  std::string heard() const;

  std::vector<Miss> misses_;           // of the trace, and of its kernels
  std::vector<std::string> refusals_;  // JSON objects
  std::vector<Compiled> compiled_;
  std::map<uint32_t, std::vector<std::pair<std::string, std::string>>> files_;  // by launch
  uint32_t launches_ = 0;                                                       // written so far
  uintmax_t told_bytes_ = 0;  // of the file: the compiler's; 0: it has not come
};

}  // namespace encore
