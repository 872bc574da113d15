#include <encore/utils/dump_align.h>

#include <algorithm>
#include <sstream>

namespace encore {
namespace {

using Sequence = std::vector<std::string>;

constexpr int64_t most_changes = 4000;  // the memory needed grows with their square

/// Myers' greedy search on a[begin, a_end) and b[begin, b_end).
class Search {
 public:
  Search(const Sequence& a, const Sequence& b, uint32_t begin, uint32_t a_end, uint32_t b_end)
      : a_(a), b_(b), begin_(begin), n_(a_end - begin), m_(b_end - begin) {}

  void run(std::vector<AlignStep>& steps) {
    int64_t changes = 0;
    while (changes <= most_changes && !reaches_end(changes)) ++changes;
    if (changes > most_changes) {
      for (int64_t i = 0; i < n_; ++i) steps.push_back({uint32_t(begin_ + i), no_place});
      for (int64_t j = 0; j < m_; ++j) steps.push_back({no_place, uint32_t(begin_ + j)});
      return;
    }
    walk_back(changes, steps);
  }

 private:
  /// How far along `a` one comes with so many changes, by diagonal (x - y); 0 where nobody was.
  int64_t& furthest(int64_t changes, int64_t diagonal) {
    return rounds_[changes][diagonal + changes];
  }
  bool comes_down(int64_t changes, int64_t diagonal) {
    return diagonal == -changes || (diagonal != changes && furthest(changes - 1, diagonal - 1) <
                                                               furthest(changes - 1, diagonal + 1));
  }

  bool reaches_end(int64_t changes) {
    rounds_.emplace_back(2 * changes + 1);
    for (int64_t diagonal = -changes; diagonal <= changes; diagonal += 2) {
      int64_t x = 0;
      if (changes > 0)
        x = comes_down(changes, diagonal) ? furthest(changes - 1, diagonal + 1)
                                          : furthest(changes - 1, diagonal - 1) + 1;
      int64_t y = x - diagonal;
      while (x < n_ && y < m_ && a_[begin_ + x] == b_[begin_ + y]) ++x, ++y;
      furthest(changes, diagonal) = x;
      if (x >= n_ && y >= m_) return true;
    }
    return false;
  }

  void walk_back(int64_t changes, std::vector<AlignStep>& steps) {
    int64_t x = n_, y = m_;
    std::vector<AlignStep> reversed;
    auto keep_until = [&](int64_t least_x, int64_t least_y) {
      while (x > least_x && y > least_y) {
        --x, --y;
        reversed.push_back({uint32_t(begin_ + x), uint32_t(begin_ + y)});
      }
    };
    for (; changes > 0; --changes) {
      const int64_t diagonal = x - y;
      const bool down = comes_down(changes, diagonal);
      const int64_t from = diagonal + (down ? 1 : -1), from_x = furthest(changes - 1, from);
      keep_until(down ? from_x : from_x + 1, down ? from_x - from + 1 : from_x - from);
      if (down)
        reversed.push_back({no_place, uint32_t(begin_ + --y)});
      else
        reversed.push_back({uint32_t(begin_ + --x), no_place});
    }
    keep_until(0, 0);
    steps.insert(steps.end(), reversed.rbegin(), reversed.rend());
  }

  const Sequence &a_, &b_;
  int64_t begin_, n_, m_;
  std::vector<std::vector<int64_t>> rounds_;
};

}  // namespace

std::vector<AlignStep> align(const Sequence& a, const Sequence& b) {
  uint32_t begin = 0, a_end = uint32_t(a.size()), b_end = uint32_t(b.size());
  std::vector<AlignStep> steps;
  for (; begin < a_end && begin < b_end && a[begin] == b[begin]; ++begin)
    steps.push_back({begin, begin});
  while (a_end > begin && b_end > begin && a[a_end - 1] == b[b_end - 1]) --a_end, --b_end;
  Search(a, b, begin, a_end, b_end).run(steps);
  for (; a_end < a.size(); ++a_end, ++b_end) steps.push_back({a_end, b_end});
  return steps;
}

std::vector<std::string> split_lines(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

std::vector<std::string> line_changes(const std::string& a, const std::string& b) {
  const std::vector<std::string> from = split_lines(a), to = split_lines(b);
  std::vector<std::string> changes;
  for (const AlignStep& step : align(from, to)) {
    if (step.b == no_place) changes.push_back("-" + from[step.a]);
    if (step.a == no_place) changes.push_back("+" + to[step.b]);
  }
  return changes;
}

}  // namespace encore
