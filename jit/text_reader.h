// Reads a text of lines token by token; what is not there fails with its place. '#' begins a
// comment, and empty lines do not count.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace encore::jit {

class TextReader {
 public:
  /// `text` must outlive this.
  explicit TextReader(std::string_view text) : text_(text) { skip_empty_lines(); }

  bool at_end() const { return at_ == text_.size(); }
  /// Whether `token` comes next; a word does not go on in another letter or digit.
  bool sees(std::string_view token) const;
  /// Whether a number right after `mark` comes next, as in "%12" and "s3".
  bool sees_mark(char mark) const;

  bool accept(std::string_view token);
  void expect(std::string_view token);
  /// Ends a line of the text, and passes the empty ones after it.
  void end_line();

  // Each reads what comes next; where it does not, `expected` tells of what should.
  uint32_t number(std::string_view expected);
  uint32_t marked(char mark, std::string_view expected);
  int64_t integer(std::string_view expected);
  uint64_t hexadecimal(std::string_view expected);
  /// The position among `words` of the one that comes next.
  size_t choice(std::span<const std::string_view> words, std::string_view expected);
  /// All up to `end`, at most to the end of the line.
  std::string_view up_to(char end);

  size_t place() const { return at_; }
  std::string_view since(size_t place) const { return text_.substr(place, at_ - place); }

  /// Throws Error: line and column, what was expected and found there, and the line.
  [[noreturn]] void fail(std::string_view expected) const { fail_at(at_, expected); }
  [[noreturn]] void fail_at(size_t place, std::string_view expected) const;

 private:
  template <class Number>
  bool take(Number& value, int base);
  void advance(size_t count);
  void skip_spaces();
  void skip_empty_lines();

  std::string_view text_;
  size_t at_ = 0;
};

}  // namespace encore::jit
