#include <encore/core/events.h>
#include <encore/trace/statistics.h>
#include <fmt/format.h>

#include <cstring>
#include <nlohmann/json.hpp>

namespace encore::trace {
namespace {

constexpr MissReasonInfo rows[] = {
#define MISS_REASON(name, subject, meaning, advice) {#name, MissSubject::subject, meaning, advice},
#include <encore/trace/miss_reason.def>
#undef MISS_REASON
};

nlohmann::ordered_json json_place(Location where) {
  if (!where.line) return nullptr;
  return fmt::format("{}:{}", where.file, where.line);
}

}  // namespace

const MissReasonInfo& info(MissReason reason) { return rows[int(reason)]; }

std::string short_place(Location where) {
  if (!where.line) return "an unknown line";
  const char* slash = std::strrchr(where.file, '/');
  return fmt::format("{}:{}", slash ? slash + 1 : where.file, where.line);
}

std::string explanation(const Miss& miss, const Missed& what) {
  bool is_trace = info(miss.reason).subject == MissSubject::trace;
  std::string text = fmt::format("{} {}", is_trace ? "trace" : "kernel", what.name);
  if (what.sync.line)
    text += fmt::format(" ({}{}sync at {})", what.sync_kind, what.sync_kind.empty() ? "" : ", ",
                        short_place(what.sync));
  text += ": " + miss.difference;
  if (!miss.has_nearest) return text;
  if (what.key == miss.nearest.hex())
    return text + fmt::format("; last compiled for the sync at {}", short_place(miss.nearest_sync));
  text += fmt::format("; nearest known trace {}", miss.nearest.hex().substr(0, 8));
  if (miss.known_where.line) text += fmt::format(", there at {}", short_place(miss.known_where));
  if (miss.nearest_sync.line) text += fmt::format(", sync at {}", short_place(miss.nearest_sync));
  return text;
}

void report_miss(const Miss& miss, const Missed& what) {
  ++counters().misses[int(miss.reason)];
  if (!events::wanted(EventKind::miss)) return;
  const MissReasonInfo& row = info(miss.reason);
  bool is_trace = row.subject == MissSubject::trace;
  std::string sentence = explanation(miss, what);
  nlohmann::ordered_json json = {{"reason", row.name},
                                 {"subject", is_trace ? "trace" : "kernel"},
                                 {"name", what.name},
                                 {"key", what.key},
                                 {"sync_kind", what.sync_kind},
                                 {"sync", json_place(what.sync)},
                                 {"where", json_place(miss.where)},
                                 {"known_where", json_place(miss.known_where)},
                                 {"nearest", nullptr},
                                 {"nearest_sync", json_place(miss.nearest_sync)},
                                 {"meaning", row.meaning},
                                 {"explanation", sentence},
                                 {"advice", row.advice}};
  if (miss.has_nearest) json["nearest"] = miss.nearest.hex();
  std::string text = fmt::format("{}\nadvice: {}\n{}", sentence, row.advice, json.dump());
  events::report({EventKind::miss, row.name, text, 0, miss.where});
}

}  // namespace encore::trace
