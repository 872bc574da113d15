// Writes JSON as text, value by value, and hands it on in parts: a document of any size takes a
// part's memory.
//
// The caller keeps the grammar: a key before each value of an object, ends that match. A part ends
// behind an object, the last with the document. Used by one thread.
#pragma once
#include <concepts>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace encore {

/// A quoted string; what is no UTF-8 is replaced.
std::string json_string(std::string_view text);

class JsonText {
 public:
  /// Takes parts in order; `is_last` once, with the last.
  using Sink = std::function<void(std::string_view part, bool is_last)>;
  static constexpr size_t part_bytes = 1 << 20;

  explicit JsonText(Sink sink) : sink_(std::move(sink)) {}

  void begin_object() { open('{'); }
  void end_object() { close('}'); }
  void begin_array() { open('['); }
  void end_array() { close(']'); }
  void key(std::string_view name);

  void value(std::integral auto number) { plain(std::to_string(number)); }
  void value(bool truth) { plain(truth ? "true" : "false"); }
  void value(std::string_view text) { plain(json_string(text)); }
  void value(const char* text) { value(std::string_view(text)); }
  void value(const std::string& text) { value(std::string_view(text)); }
  /// Any other range is an array.
  template <class Range>
    requires requires(const Range& range) { range.begin() != range.end(); }
  void value(const Range& range) {
    begin_array();
    for (const auto& one : range) value(one);
    end_array();
  }
  template <class Value>
  void field(std::string_view name, const Value& of) {
    key(name);
    value(of);
  }
  /// An object or array whose inside `write` writes.
  template <class Write>
  void object(Write write) {
    begin_object();
    write();
    end_object();
  }
  template <class Write>
  void array(std::string_view name, Write write) {
    key(name);
    begin_array();
    write();
    end_array();
  }
  /// Nothing follows.
  void finish();

 private:
  void separate();
  void open(char bracket);
  void close(char bracket);
  void plain(std::string_view text);

  Sink sink_;
  std::string text_;
  int depth_ = 0;
  bool follows_ = false;  // something stands before, in the same object or array
};

}  // namespace encore
