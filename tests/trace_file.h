// A trace file of a profile, read and checked against the rules of the trace event format.
#pragma once
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

namespace encore {

using Json = nlohmann::json;

struct TraceFile {
  Json events = Json::array();
  std::map<int64_t, std::string> tracks;  // by thread number

  /// Of complete events whose category (and, where given, name) is so.
  std::vector<Json> spans(const std::string& category, const std::string& name = {}) const {
    std::vector<Json> found;
    for (const Json& event : events)
      if (event["ph"] == "X" && event["cat"] == category && (name.empty() || event["name"] == name))
        found.push_back(event);
    return found;
  }
  std::map<std::string, int64_t> count_by_name(const std::string& category) const {
    std::map<std::string, int64_t> counts;
    for (const Json& event : spans(category)) ++counts[event["name"]];
    return counts;
  }
  std::string track_of(const Json& event) const { return tracks.at(event["tid"]); }
};

/// Nanoseconds of a time in microseconds.
inline int64_t nanoseconds(const Json& time) { return int64_t(time.get<double>() * 1000 + 0.5); }

/// Spans of one track are sorted, and each lies inside those that are open where it begins.
inline void check_nesting(const std::vector<Json>& spans) {
  std::vector<int64_t> open_until;
  int64_t before = 0;
  for (const Json& span : spans) {
    int64_t begin = nanoseconds(span["ts"]), end = begin + nanoseconds(span["dur"]);
    EXPECT_GE(begin, before) << span;
    before = begin;
    while (!open_until.empty() && open_until.back() <= begin) open_until.pop_back();
    if (!open_until.empty()) {
      EXPECT_LE(end, open_until.back()) << span;
    }
    open_until.push_back(end);
  }
}

inline TraceFile read_trace(const std::string& path) {
  std::ifstream stream(path);
  Json whole = Json::parse(stream, nullptr, /*allow_exceptions=*/false);
  TraceFile trace;
  EXPECT_TRUE(whole.is_object()) << path << " is no JSON object";
  if (!whole.is_object()) return trace;
  EXPECT_TRUE(whole["displayTimeUnit"] == "ms" || whole["displayTimeUnit"] == "ns");
  EXPECT_TRUE(whole["traceEvents"].is_array());
  trace.events = whole["traceEvents"];
  const std::set<std::string> phases = {"X", "C", "i", "M"};
  std::map<int64_t, std::vector<Json>> spans;
  std::set<int64_t> used;
  for (const Json& event : trace.events) {
    EXPECT_TRUE(event.at("ph").is_string() && phases.contains(event["ph"])) << event;
    EXPECT_TRUE(event.at("name").is_string()) << event;
    EXPECT_TRUE(event.at("pid").is_number_integer()) << event;
    EXPECT_TRUE(event.at("tid").is_number_integer()) << event;
    EXPECT_TRUE(event.at("args").is_object()) << event;
    EXPECT_GE(event.at("ts").get<double>(), 0) << event;
    EXPECT_EQ(event["pid"], trace.events[0]["pid"]);
    const std::string phase = event["ph"];
    if (phase == "M") {
      EXPECT_TRUE(event["args"].at("name").is_string()) << event;
      if (event["name"] == "thread_name") trace.tracks[event["tid"]] = event["args"]["name"];
      continue;
    }
    used.insert(event["tid"].get<int64_t>());
    EXPECT_TRUE(event.at("cat").is_string()) << event;
    if (phase == "X") {
      EXPECT_GE(event.at("dur").get<double>(), 0) << event;
      spans[event["tid"]].push_back(event);
    }
    if (phase == "i") {
      EXPECT_EQ(event.at("s"), "t") << event;
    }
    for (const Json& value : event["args"]) EXPECT_TRUE(phase != "C" || value.is_number()) << event;
  }
  for (int64_t track : used) EXPECT_TRUE(trace.tracks.contains(track)) << "no name: " << track;
  for (const auto& [track, all] : spans) check_nesting(all);
  return trace;
}

}  // namespace encore
