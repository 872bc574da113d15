// A progress bar on a terminal; a few plain lines in a file or a pipe.
#pragma once
#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>

namespace encore {

struct ProgressOptions {
  std::FILE* out = stderr;
  std::optional<bool> terminal = {};  // else: whether `out` is one
  int plain_lines = 10;  // how many lines a whole run prints where there is no terminal
};

class Progress {
 public:
  Progress(std::string label, int64_t total, ProgressOptions options = {});
  /// Ends the bar's line.
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// `done` more are done; `note` ("loss 0.31") stands at the end of the line.
  void advance(int64_t done = 1, std::string_view note = {});
  void finish();

 private:
  void draw_bar(std::string_view note);
  void print_line(std::string_view note);

  std::string label_;
  int64_t total_;
  int64_t done_ = 0;
  ProgressOptions options_;
  bool terminal_;
  bool finished_ = false;
  int64_t lines_printed_ = 0;
  size_t drawn_width_ = 0;
  double start_, last_drawn_ = 0;  // seconds of a steady clock
};

}  // namespace encore
