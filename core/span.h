// Times a piece of work on this thread and tells whoever listens: `begin` when it is made, `span`
// when it dies, also by an exception. Costs one relaxed load where nobody listens.
#pragma once
#include <encore/core/events.h>

#include <chrono>

namespace encore {

/// Nanoseconds of the steady clock.
inline int64_t steady_now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

class Span {
 public:
  /// `name` is the kind of work ("replay", "copy to device"), one of a few; `text` says which one.
  /// Both must outlive the span.
  explicit Span(std::string_view name, std::string_view text = {}, Location where = {},
                int64_t bytes = 0) {
    if (events::wanted(events::times)) [[unlikely]]
      open({EventKind::span, name, text, 0, where, 0, bytes});
  }
  ~Span() {
    if (is_open_) [[unlikely]]
      close();
  }
  Span(const Span&) = delete;
  Span& operator=(const Span&) = delete;

 private:
  void open(const Event& event);
  void close() noexcept;

  bool is_open_ = false;
  union Held {  // written only where somebody listens
    Held() {}
    Event event;
  } held_;
};

}  // namespace encore
