#include <encore/utils/stats.h>
#include <encore/utils/table.h>
#include <fmt/format.h>

#include <string_view>

namespace encore {
namespace {

std::string shown(std::string_view name, int64_t value) {
  if (name.ends_with("_nanoseconds")) return fmt::format("{:.3f} s", double(value) * 1e-9);
  return std::to_string(value);
}

std::string label(std::string name) {
  if (name.ends_with("_nanoseconds"))
    name.resize(name.size() - std::string_view("_nanoseconds").size());
  for (char& c : name)
    if (c == '_') c = ' ';
  return name;
}

std::string mebibytes(int64_t bytes) {
  return fmt::format("{:.1f} MiB", double(bytes) / (1 << 20));
}

}  // namespace

std::string stats_table(const Stats& stats) {
  Table table({"counter", "value", "meaning"});
#define STATISTIC(name, meaning) table.add_row({label(#name), shown(#name, stats.name), meaning});
  ENCORE_STATISTICS(STATISTIC)
#undef STATISTIC
  for (int i = 0; i < trace::miss_reason_count; ++i) {
    const auto& row = trace::info(trace::MissReason(i));
    if (stats.misses[i])
      table.add_row({"miss: " + label(std::string(row.name)), std::to_string(stats.misses[i]),
                     std::string(row.meaning)});
  }
  for (int i = 0; i < trace::fusion_refusal_count; ++i) {
    const auto& row = trace::info(trace::FusionRefusal(i));
    if (stats.fusion_refusals[i])
      table.add_row({"not fused: " + label(std::string(row.name)),
                     std::to_string(stats.fusion_refusals[i]), std::string(row.meaning)});
  }
  table.add_row({"live bytes", mebibytes(stats.live_bytes), "in buffers now"});
  table.add_row({"peak bytes", mebibytes(stats.peak_bytes), "in buffers at most"});
  return table.text();
}

}  // namespace encore
