// An intrusive, thread-safe reference count and its smart pointer.
#pragma once
#include <atomic>
#include <cstdint>
#include <utility>

namespace encore {

/// Base of objects that count their own references; `Derived` may be deleted on any thread.
template <class Derived>
class Counted {
 public:
  void retain() const noexcept { references_.fetch_add(1, std::memory_order_relaxed); }
  void release() const noexcept {
    if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1)
      delete static_cast<const Derived*>(this);
  }
  uint32_t references() const noexcept { return references_.load(std::memory_order_acquire); }

 private:
  mutable std::atomic<uint32_t> references_{0};
};

template <class T>
class Ref {
 public:
  Ref() = default;
  Ref(std::nullptr_t) {}
  explicit Ref(T* object) : object_(object) {
    if (object_) object_->retain();
  }
  Ref(const Ref& other) : Ref(other.object_) {}
  Ref(Ref&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  Ref& operator=(Ref other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~Ref() {
    if (object_) object_->release();
  }

  T* get() const noexcept { return object_; }
  T* operator->() const noexcept { return object_; }
  T& operator*() const noexcept { return *object_; }
  explicit operator bool() const noexcept { return object_ != nullptr; }
  bool operator==(const Ref&) const = default;

 private:
  T* object_ = nullptr;
};

}  // namespace encore
