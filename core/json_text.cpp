#include <encore/core/json_text.h>

#include <algorithm>
#include <nlohmann/json.hpp>

namespace encore {

std::string json_string(std::string_view text) {
  const bool is_plain = std::ranges::all_of(
      text, [](char c) { return c >= ' ' && c <= '~' && c != '"' && c != '\\'; });
  if (is_plain) return '"' + std::string(text) + '"';
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

void JsonText::separate() {
  if (std::exchange(follows_, true)) text_ += ',';
}

void JsonText::key(std::string_view name) {
  separate();
  text_ += json_string(name);
  text_ += ':';
  follows_ = false;
}

void JsonText::open(char bracket) {
  separate();
  text_ += bracket;
  follows_ = false;
  ++depth_;
}

void JsonText::close(char bracket) {
  text_ += bracket;
  follows_ = true;
  --depth_;
  if (bracket != '}' || depth_ == 0 || text_.size() < part_bytes) return;
  sink_(text_, false);
  text_.clear();
}

void JsonText::plain(std::string_view text) {
  separate();
  text_ += text;
}

void JsonText::finish() { sink_(text_, true); }

}  // namespace encore
