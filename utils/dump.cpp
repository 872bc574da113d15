#include <encore/core/error.h>
#include <encore/core/settings.h>
#include <encore/trace/runtime.h>
#include <encore/utils/bundle.h>
#include <encore/utils/dump.h>
#include <encore/utils/nvtx.h>
#include <encore/utils/profiler.h>
#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <vector>

namespace encore {
namespace {

using events::bit;

struct LogWord {
  std::string_view word;
  events::Kinds kinds;
};
constexpr LogWord log_words[] = {
    {"compile", bit(EventKind::compile) | bit(EventKind::miss)},
    {"sync", bit(EventKind::sync) | bit(EventKind::cut)},
    {"launch", bit(EventKind::launch)},
    {"fusion", bit(EventKind::fusion_refusal)},
    {"allocation", bit(EventKind::allocation)},
    {"pass", bit(EventKind::pass)},
};

events::Kinds kinds_of(std::string_view word) {
  for (const LogWord& row : log_words) {
    if (row.word == word) return row.kinds;
  }
  throw Error(fmt::format("ENCORE_LOG: unknown word '{}'", word), {},
              "use compile, sync, launch, fusion, allocation or pass");
}

events::Kinds parse_words(std::string_view words) {
  events::Kinds kinds = 0;
  while (!words.empty()) {
    const size_t comma = words.find(',');
    kinds |= kinds_of(words.substr(0, comma));
    words.remove_prefix(comma == std::string_view::npos ? words.size() : comma + 1);
  }
  return kinds;
}

constexpr std::string_view kind_names[] = {
#define EVENT(kind, name, value) #kind,
    ENCORE_EVENTS(EVENT)
#undef EVENT
};

void print(const Event& event) {
  std::string line = fmt::format("encore: {} {}", kind_names[int(event.kind)], event.name);
  if (event.kind == EventKind::compile) {
    if (event.value != 0) line += fmt::format(" {:.3f} ms", double(event.value) * 1e-6);
  } else if (event.value != 0) {
    line += fmt::format(" {}", event.value);
  }
  if (event.where.line != 0) line += fmt::format(" at {}:{}", event.where.file, event.where.line);
  // A compiled kernel's body, its generated code and the trace's JSON are for the dump; here they
  // would bury the lines.
  const bool listing =
      event.name.find(':') != event.name.npos && !event.name.starts_with("kernel:");
  bool buries = event.kind == EventKind::compile ||
                (event.kind == EventKind::pass && (listing || event.name.starts_with("trace")));
  if (event.kind == EventKind::miss || event.kind == EventKind::fusion_refusal)
    line += fmt::format(": {}", event.text.substr(0, event.text.find('\n')));
  else if (!event.text.empty() && !buries)
    line += fmt::format("\n{}", event.text);
  fmt::print(stderr, "{}\n", line);
}

/// What writers keep back is written when the process ends; listeners are never destroyed.
void flush_at_exit(const std::shared_ptr<BundleWriter>& writer) {
  struct Writers {
    std::mutex mutex;
    std::vector<std::weak_ptr<BundleWriter>> all;
  };
  static auto& writers = *new Writers;
  static const int registered = std::atexit([] {
    std::lock_guard lock(writers.mutex);
    for (const auto& one : writers.all) try {
        if (auto writer = one.lock()) writer->flush();
      } catch (const std::exception& error) {
        fmt::print(stderr, "encore: {}\n", error.what());
      }
  });
  (void)registered;
  std::lock_guard lock(writers.mutex);
  writers.all.push_back(writer);
}

}  // namespace

std::string dump(const Tensor& tensor, std::source_location at) {
  (void)tensor.shape(at);  // throws on an empty handle
  return trace::runtime().explain(tensor.node());
}

uint32_t write_bundles(const std::string& folder) {
  auto writer = std::make_shared<BundleWriter>(folder);
  flush_at_exit(writer);
  auto take = [writer](const Event& event) mutable {
    if (!writer) return;
    try {
      writer->take(event);
    } catch (const std::exception& error) {
      fmt::print(stderr, "encore: the dump stops here: {}\n", error.what());
      writer.reset();
    }
  };
  return events::listen(take, bit(EventKind::pass) | bit(EventKind::miss) |
                                  bit(EventKind::compile) | bit(EventKind::fusion_refusal) |
                                  bit(EventKind::sync));
}

uint32_t log_events(std::string_view words) { return events::listen(print, parse_words(words)); }

bool detail::start_listeners() {
  static const bool started = [] {
    try {
      if (!settings().dump.empty()) write_bundles(settings().dump);
      if (!settings().log.empty()) log_events(settings().log);
      if (!settings().profile.empty()) Profiler::profile_process(settings().profile);
      if (settings().nvtx)
        if (std::string why = forward_to_nvtx(); !why.empty())
          fmt::print(stderr, "encore: ENCORE_NVTX: no tool listens: {}\n", why);
    } catch (const std::exception& error) {
      fmt::print(stderr, "encore: {}\n", error.what());
    }
    return true;
  }();
  return started;
}

}  // namespace encore
