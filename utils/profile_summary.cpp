#include <encore/core/span.h>
#include <encore/utils/profile.h>
#include <encore/utils/table.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <set>

namespace encore {
namespace {

constexpr size_t most_rows = 20;

std::string milliseconds(int64_t nanoseconds) {
  return fmt::format("{:.3f}", double(nanoseconds) * 1e-6);
}

std::string percent(int64_t part, int64_t whole) {
  return whole ? fmt::format("{:.1f} %", 100 * double(part) / double(whole)) : "";
}

/// Of a label's line "flops N" (jit/backend.h).
int64_t flops_of(std::string_view about) {
  constexpr std::string_view line = "\nflops ";
  size_t at = about.find(line);
  return at == std::string_view::npos ? 0 : std::atoll(about.data() + at + line.size());
}

/// "/home/me/train.cpp:12" -> "train.cpp:12"
std::string short_place(std::string_view place) {
  return std::string(place.substr(place.rfind('/') + 1));
}

template <class Sum>
std::vector<std::pair<std::string, Sum>> dearest_first(const std::map<std::string, Sum>& sums) {
  std::vector<std::pair<std::string, Sum>> rows(sums.begin(), sums.end());
  std::stable_sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) {
    return a.second.nanoseconds > b.second.nanoseconds;
  });
  return rows;
}

}  // namespace

void Profile::Sum::add(const Sum& other) {
  calls += other.calls, nanoseconds += other.nanoseconds;
  bytes += other.bytes, flops += other.flops;
}

std::string Profile::kernel_summary() const {
  std::map<std::string, Sum> sums;
  Sum all;
  for (const Entry& entry : entries_) {
    if (entry.kind != EventKind::kernel) continue;
    Sum one{1, entry.value, entry.bytes, flops_of(texts_[entry.text])};
    sums[texts_[entry.name]].add(one);
    all.add(one);
  }
  Table table({"kernel", "calls", "total ms", "mean us", "share", "GB/s", "GFLOP/s"});
  auto add = [&](const std::string& name, const Sum& sum) {
    auto rate = [&](int64_t amount) {
      double nanoseconds = double(std::max<int64_t>(sum.nanoseconds, 1));
      return amount ? fmt::format("{:.1f}", double(amount) / nanoseconds) : "";
    };
    table.add_row({name, std::to_string(sum.calls), milliseconds(sum.nanoseconds),
                   fmt::format("{:.1f}", double(sum.nanoseconds) * 1e-3 / double(sum.calls)),
                   percent(sum.nanoseconds, all.nanoseconds), rate(sum.bytes), rate(sum.flops)});
  };
  auto rows = dearest_first(sums);
  Sum rest;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (i < most_rows)
      add(rows[i].first, rows[i].second);
    else
      rest.add(rows[i].second);
  }
  if (rows.size() > most_rows) add(fmt::format("{} other kernels", rows.size() - most_rows), rest);
  if (all.calls) add("all kernels", all);
  return table.text();
}

std::string Profile::line_summary() const {
  std::map<std::string, Sum> sums;
  std::map<std::string, std::set<std::string>> scopes;
  int64_t all = 0;
  for (const Entry& entry : entries_) {
    if (entry.kind != EventKind::kernel) continue;
    all += entry.value;
    std::string_view about = texts_[entry.text];
    while (!about.empty()) {
      std::string_view line = about.substr(0, about.find('\n'));
      about.remove_prefix(std::min(line.size() + 1, about.size()));
      if (!line.starts_with("at ")) continue;
      Sum& sum = sums[short_place(line.substr(3))];
      ++sum.calls, sum.nanoseconds += entry.value;
    }
  }
  Table table({"user line", "launches", "total ms", "share"});
  auto rows = dearest_first(sums);
  for (size_t i = 0; i < std::min(rows.size(), most_rows); ++i)
    table.add_row({rows[i].first, std::to_string(rows[i].second.calls),
                   milliseconds(rows[i].second.nanoseconds),
                   percent(rows[i].second.nanoseconds, all)});
  return table.text();
}

std::string Profile::host_summary() const {
  std::map<std::string, Sum> sums;
  for (const Entry& entry : entries_) {
    const std::string& kind = texts_[entry.name];
    if (entry.kind != EventKind::span || kind == "scope") continue;
    bool named = kind == "sync" || kind == "pass" || kind.starts_with("copy");
    Sum& sum = sums[named ? kind + " " + texts_[entry.text] : kind];
    ++sum.calls, sum.nanoseconds += entry.value, sum.bytes += entry.bytes;
  }
  Table table({"host", "calls", "total ms", "mean us", "MiB"});
  for (const auto& [name, sum] : dearest_first(sums))
    table.add_row({name, std::to_string(sum.calls), milliseconds(sum.nanoseconds),
                   fmt::format("{:.1f}", double(sum.nanoseconds) * 1e-3 / double(sum.calls)),
                   sum.bytes ? fmt::format("{:.1f}", double(sum.bytes) / (1 << 20)) : ""});
  return table.text();
}

std::string Profile::summary() const {
  std::lock_guard lock(mutex_);
  std::string text;
  if (left_out_)
    text = fmt::format("{} later events were left out: profile fewer steps\n", left_out_);
  return text + fmt::format(
                    "profile of {:.3f} s; GB/s: the fewest bytes that a kernel can move; GFLOP/s: "
                    "its product"
                    "\n\n{}\n"
                    "a fused kernel counts in full for each of its lines\n\n{}\n"
                    "what contains counts what it contains\n\n{}",
                    double(steady_now() - origin_) * 1e-9, kernel_summary(), line_summary(),
                    host_summary());
}

}  // namespace encore
