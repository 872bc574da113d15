#include <encore/utils/progress.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>

namespace encore {
namespace {

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

Progress::Progress(std::string label, int64_t total, ProgressOptions options)
    : label_(std::move(label)),
      total_(std::max<int64_t>(total, 1)),
      options_(options),
      terminal_(options.terminal.value_or(isatty(fileno(options.out)) != 0)),
      start_(seconds_now()) {}

Progress::~Progress() { finish(); }

void Progress::advance(int64_t done, std::string_view note) {
  done_ = std::min(done_ + done, total_);
  if (terminal_)
    draw_bar(note);
  else
    print_line(note);
}

void Progress::finish() {
  if (finished_) return;
  finished_ = true;
  if (terminal_ && drawn_width_ != 0) fmt::print(options_.out, "\n");
  std::fflush(options_.out);
}

void Progress::draw_bar(std::string_view note) {
  double now = seconds_now();
  bool last = done_ == total_;
  if (!last && now - last_drawn_ < 0.08) return;
  last_drawn_ = now;
  constexpr int64_t cells = 30;
  int64_t filled = cells * done_ / total_;
  double seconds = now - start_;
  double left = done_ ? seconds * double(total_ - done_) / double(done_) : 0;
  std::string line =
      fmt::format("{} [{:#<{}}{:.<{}}] {}/{} {:.0f}s {} {}", label_, "", filled, "", cells - filled,
                  done_, total_, last ? seconds : left, last ? "in all" : "left", note);
  size_t width = line.size();
  line.append(drawn_width_ > width ? drawn_width_ - width : 0, ' ');
  drawn_width_ = width;
  fmt::print(options_.out, "\r{}", line);
  std::fflush(options_.out);
}

void Progress::print_line(std::string_view note) {
  int64_t due = options_.plain_lines * done_ / total_;
  if (due <= lines_printed_) return;
  lines_printed_ = due;
  fmt::print(options_.out, "{} {}/{} {}\n", label_, done_, total_, note);
}

}  // namespace encore
