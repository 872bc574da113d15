// What is told of traces and kernels that have to be compiled; for tests that inject the causes.
#pragma once
#include <encore/core/events.h>
#include <encore/lazy/create.h>
#include <gmock/gmock.h>

#include <cstdio>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace encore {

struct Told {
  std::string reason, key, nearest, text;
  Location where;
  nlohmann::json json;
};

/// Until its end, whatever is thrown.
struct Listening {
  uint32_t id;
  ~Listening() { events::ignore(id); }
};

/// The misses of traces, or of kernels, that something causes, in order.
inline std::vector<Told> misses_of(const std::function<void()>& run,
                                   std::string_view subject = "trace") {
  std::vector<Told> told;
  auto take = [&](const Event& event) {
    std::string text(event.text);
    auto json = nlohmann::json::parse(text.substr(text.rfind('\n') + 1));
    if (json["subject"] != subject) return;
    std::string nearest = json["nearest"].is_null() ? "" : json["nearest"].get<std::string>();
    told.push_back({std::string(event.name), json["key"], nearest, text, event.where, json});
  };
  Listening listening{events::listen(take, events::bit(EventKind::miss))};
  run();
  return told;
}

inline Told only_miss_of(const std::function<void()>& run, std::string_view subject = "trace") {
  std::vector<Told> told = misses_of(run, subject);
  EXPECT_EQ(told.size(), 1u);
  return told.empty() ? Told{} : told.back();
}

inline Tensor data(Shape shape, Device device = default_device(),
                   std::source_location at = std::source_location::current()) {
  return from_vector(std::vector<float>(size_t(shape.numel()), 0.5f), shape, device, at);
}

/// The reason, the line of the calling test's file, and words of the difference. What was named
/// rightly is printed, so that it can be counted over programs.
inline void expect_named(const Told& told, std::string_view reason, const uint32_t& line,
                         std::string_view difference = {},
                         std::source_location at = std::source_location::current()) {
  EXPECT_EQ(told.reason, reason) << told.text;
  EXPECT_EQ(told.where.line, line) << told.text;
  EXPECT_THAT(told.where.file ? told.where.file : "", ::testing::EndsWith(at.file_name()));
  EXPECT_THAT(told.text, ::testing::HasSubstr(std::string(difference)));
  if (told.reason == reason && told.where.line == line)
    std::printf("named rightly: %s\n", told.reason.c_str());
}

}  // namespace encore
