#include <encore/core/error.h>
#include <encore/jit/text_reader.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>

namespace encore::jit {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_word(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

}  // namespace

bool TextReader::sees(std::string_view token) const {
  if (!text_.substr(at_).starts_with(token)) return false;
  const size_t after = at_ + token.size();
  return !is_word(token.back()) || after == text_.size() || !is_word(text_[after]);
}

bool TextReader::sees_mark(char mark) const {
  return at_ + 1 < text_.size() && text_[at_] == mark && is_digit(text_[at_ + 1]);
}

bool TextReader::accept(std::string_view token) {
  if (!sees(token)) return false;
  advance(token.size());
  return true;
}

void TextReader::expect(std::string_view token) {
  if (!accept(token)) fail(fmt::format("'{}'", token));
}

void TextReader::end_line() {
  if (!at_end() && text_[at_] != '\n') fail("the end of the line");
  skip_empty_lines();
}

template <class Number>
bool TextReader::take(Number& value, int base) {
  const char* begin = text_.data() + at_;
  auto [end, error] = std::from_chars(begin, text_.data() + text_.size(), value, base);
  if (error != std::errc()) return false;
  advance(size_t(end - begin));
  return true;
}

uint32_t TextReader::number(std::string_view expected) {
  const size_t start = at_;
  uint32_t value = 0;
  // The largest one is what kernels know as `none`.
  if (!take(value, 10) || value == std::numeric_limits<uint32_t>::max()) fail_at(start, expected);
  return value;
}

uint32_t TextReader::marked(char mark, std::string_view expected) {
  if (!sees_mark(mark)) fail(expected);
  ++at_;
  return number(expected);
}

int64_t TextReader::integer(std::string_view expected) {
  int64_t value = 0;
  if (!take(value, 10)) fail(expected);
  return value;
}

uint64_t TextReader::hexadecimal(std::string_view expected) {
  const size_t start = at_;
  uint64_t value = 0;
  const bool marked = text_.substr(at_).starts_with("0x");
  if (marked) at_ += 2;
  if (!marked || !take(value, 16)) fail_at(start, expected);
  return value;
}

size_t TextReader::choice(std::span<const std::string_view> words, std::string_view expected) {
  size_t end = at_;
  while (end < text_.size() && is_word(text_[end])) ++end;
  const auto found = std::find(words.begin(), words.end(), text_.substr(at_, end - at_));
  if (found == words.end()) fail(expected);
  advance(end - at_);
  return size_t(found - words.begin());
}

std::string_view TextReader::up_to(char end) {
  const size_t start = at_;
  at_ = std::min({text_.find(end, at_), text_.find('\n', at_), text_.size()});
  return since(start);
}

void TextReader::fail_at(size_t place, std::string_view expected) const {
  const size_t begin = text_.substr(0, place).rfind('\n') + 1;  // npos + 1 is 0
  const std::string_view line = text_.substr(begin, text_.find('\n', place) - begin);
  const auto number = 1 + std::count(text_.begin(), text_.begin() + ptrdiff_t(begin), '\n');
  const std::string_view rest = line.substr(place - begin);
  const std::string found = place == text_.size() ? "the end of the text"
                            : rest.empty()        ? "the end of the line"
                                                  : fmt::format("'{}'", rest.substr(0, 40));
  throw Error(fmt::format("kernel text, line {}, column {}: expected {}, found {}", number,
                          place - begin + 1, expected, found),
              {},
              fmt::format("{}\n  {:>{}}", line.substr(0, 400), '^',
                          std::min<size_t>(place - begin + 1, 400)));
}

void TextReader::advance(size_t count) {
  at_ += count;
  skip_spaces();
}

void TextReader::skip_spaces() {
  while (!at_end() && (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\r')) ++at_;
  if (!at_end() && text_[at_] == '#') at_ = std::min(text_.find('\n', at_), text_.size());
}

void TextReader::skip_empty_lines() {
  for (skip_spaces(); !at_end() && text_[at_] == '\n'; skip_spaces()) ++at_;
}

}  // namespace encore::jit
