#include <encore/core/span.h>

namespace encore {

void Span::open(const Event& event) {
  held_.event = event;
  held_.event.start = steady_now();
  is_open_ = true;
  if (!events::wanted(EventKind::begin)) return;
  Event begin = held_.event;
  begin.kind = EventKind::begin;
  events::report(begin);
}

void Span::close() noexcept {
  held_.event.value = steady_now() - held_.event.start;
  events::report(held_.event);
}

}  // namespace encore
