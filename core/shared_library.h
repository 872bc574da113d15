// A library that is opened at run time, so that builds need nothing of it.
//
// Immutable once open; may be used from any thread. It is closed when the object dies; its code
// stays mapped, because compilers and drivers leave threads and allocations behind.
#pragma once
#include <span>
#include <string>
#include <utility>

namespace encore {

class SharedLibrary {
 public:
  SharedLibrary() = default;
  /// Opens the first of `names` that loads: from each of `folders` first, then wherever the system
  /// looks. When none does, the object is empty and `failure()` says what was looked for where.
  SharedLibrary(std::span<const std::string> names, std::span<const std::string> folders);
  ~SharedLibrary();
  SharedLibrary(SharedLibrary&& other) noexcept
      : handle_(std::exchange(other.handle_, nullptr)),
        name_(std::move(other.name_)),
        failure_(std::move(other.failure_)) {}
  SharedLibrary& operator=(SharedLibrary&& other) noexcept {
    std::swap(handle_, other.handle_);
    std::swap(name_, other.name_);
    std::swap(failure_, other.failure_);
    return *this;
  }

  bool is_open() const { return handle_ != nullptr; }
  /// As it was opened.
  const std::string& name() const { return name_; }
  const std::string& failure() const { return failure_; }
  /// Null: it has no such symbol.
  void* find(const char* symbol) const;

 private:
  void* handle_ = nullptr;
  std::string name_;
  std::string failure_;
};

}  // namespace encore
