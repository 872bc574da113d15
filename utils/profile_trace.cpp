// The trace event format, as "Trace Event Format" (the Chromium project) describes it: complete
// events (X) for spans, counters (C), instants (i) and names (M); times in microseconds.
#include <encore/utils/profile.h>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>

namespace encore {
namespace {

std::string in_quotes(std::string_view text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

/// Nanoseconds as microseconds, exactly.
std::string microseconds(int64_t nanoseconds) {
  return fmt::format("{}.{:03}", nanoseconds / 1000, nanoseconds % 1000);
}

std::string program_name() {
  char path[4096] = {};
  ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
  std::string_view whole(path, size_t(std::max<ssize_t>(length, 0)));
  return std::string(whole.substr(whole.rfind('/') + 1));
}

/// A label's lines (jit/backend.h): "at FILE:LINE" and "in SCOPE" as lists, "segments 3" and "flops
/// 9" as they are.
std::string label_arguments(std::string_view about) {
  nlohmann::json arguments = nlohmann::json::object();
  while (!about.empty()) {
    std::string_view line = about.substr(0, about.find('\n'));
    about.remove_prefix(std::min(line.size() + 1, about.size()));
    std::string rest(line.substr(std::min(line.find(' ') + 1, line.size())));
    if (line.starts_with("at "))
      arguments["lines"].push_back(rest);
    else if (line.starts_with("in "))
      arguments["scopes"].push_back(rest);
    else if (line.starts_with("segments ") || line.starts_with("flops "))
      arguments[std::string(line.substr(0, line.find(' ')))] = std::stoll(rest);
    else
      arguments["more"] = line;
  }
  std::string text = arguments.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  return text.substr(1, text.size() - 2);  // without its braces
}

}  // namespace

std::string Profile::arguments_of(const Entry& entry) const {
  if (entry.kind == EventKind::counter) return fmt::format("\"value\":{}", entry.value);
  std::string arguments;
  auto add = [&](const std::string& one) {
    if (!arguments.empty() && !one.empty()) arguments += ',';
    arguments += one;
  };
  if (entry.kind == EventKind::kernel) add(label_arguments(texts_[entry.text]));
  if (entry.kind == EventKind::miss || entry.kind == EventKind::cut)
    add("\"text\":" + in_quotes(texts_[entry.text]));
  if (entry.line) add("\"at\":" + in_quotes(fmt::format("{}:{}", texts_[entry.file], entry.line)));
  if (entry.bytes) {
    add(fmt::format("\"bytes\":{}", entry.bytes));
    if (entry.value > 0)
      add(fmt::format("\"GB/s\":{:.3f}", double(entry.bytes) / double(entry.value)));
  }
  return arguments;
}

std::vector<const Profile::Entry*> Profile::sorted() const {
  std::vector<const Entry*> order;
  for (const Entry& entry : entries_) order.push_back(&entry);
  // What contains comes before what it contains.
  std::stable_sort(order.begin(), order.end(), [](const Entry* a, const Entry* b) {
    if (a->track != b->track) return a->track < b->track;
    if (a->start != b->start) return a->start < b->start;
    bool a_timed = a->kind == EventKind::span, b_timed = b->kind == EventKind::span;
    return (a_timed ? a->value : 0) > (b_timed ? b->value : 0);
  });
  return order;
}

void Profile::write_trace(std::ostream& to) const {
  std::lock_guard lock(mutex_);
  const int64_t process = getpid();
  to << fmt::format(
      "{{\"displayTimeUnit\":\"ns\",\"otherData\":{{\"library\":\"encore\",\"started\":"
      "\"{:%Y-%m-%dT%H:%M:%SZ}\",\"left_out\":{}}},\"traceEvents\":[\n",
      fmt::gmtime(std::time_t(seconds_)), left_out_);
  auto name = [&](const char* what, int64_t thread, const std::string& text) {
    to << fmt::format(
        "{{\"ph\":\"M\",\"pid\":{},\"tid\":{},\"ts\":0,\"name\":\"{}\",\"args\":"
        "{{\"name\":{}}}}}",
        process, thread, what, in_quotes(text));
  };
  name("process_name", process, program_name());
  for (const Track& track : tracks_) {
    to << ",\n";
    name("thread_name", track.number, track.name);
  }
  for (const Entry* entry : sorted()) {
    const std::string& kind = texts_[entry->name];
    const std::string& text = texts_[entry->text];
    std::string shown = kind, category = kind;
    const char* phase = "X";
    if (entry->kind == EventKind::span && !text.empty()) shown += " " + text;
    if (entry->kind == EventKind::kernel) category = "kernel";
    if (entry->kind == EventKind::counter) phase = "C", category = "memory";
    if (entry->kind == EventKind::miss) phase = "i", category = "miss", shown = "miss: " + kind;
    if (entry->kind == EventKind::cut) phase = "i", category = "cut", shown = "cut: " + kind;
    to << fmt::format(",\n{{\"ph\":\"{}\",\"pid\":{},\"tid\":{},\"ts\":{}", phase, process,
                      tracks_[entry->track].number, microseconds(entry->start - origin_));
    if (*phase == 'X') to << ",\"dur\":" << microseconds(entry->value);
    if (*phase == 'i') to << ",\"s\":\"t\"";
    to << fmt::format(",\"name\":{},\"cat\":{},\"args\":{{{}}}}}", in_quotes(shown),
                      in_quotes(category), arguments_of(*entry));
  }
  to << "\n]}\n";
}

}  // namespace encore
