#include <encore/utils/table.h>
#include <fmt/format.h>

#include <cctype>
#include <stdexcept>

namespace encore {
namespace {

/// Digits first (after a sign), as "12.5 %" or "-3": such columns align to the right.
bool is_number(const std::string& cell) {
  size_t first = !cell.empty() && (cell[0] == '-' || cell[0] == '+') ? 1 : 0;
  return first < cell.size() && std::isdigit(static_cast<unsigned char>(cell[first])) != 0;
}

}  // namespace

void Table::add_row(std::vector<std::string> cells) {
  if (cells.size() > header_.size())
    throw std::invalid_argument(
        fmt::format("a row of {} cells in a table of {} columns", cells.size(), header_.size()));
  cells.resize(header_.size());
  rows_.push_back(std::move(cells));
}

std::string Table::text() const {
  size_t columns = header_.size();
  std::vector<size_t> widths(columns);
  std::vector<bool> to_right(columns, !rows_.empty());
  for (size_t i = 0; i < columns; ++i) {
    widths[i] = header_[i].size();
    for (const auto& row : rows_) {
      widths[i] = std::max(widths[i], row[i].size());
      to_right[i] = to_right[i] && (row[i].empty() || is_number(row[i]));
    }
  }
  auto line = [&](const std::vector<std::string>& cells) {
    std::string text;
    for (size_t i = 0; i < columns; ++i) {
      if (i) text += "  ";
      text += to_right[i] ? fmt::format("{:>{}}", cells[i], widths[i])
                          : fmt::format("{:<{}}", cells[i], widths[i]);
    }
    text.erase(text.find_last_not_of(' ') + 1);
    return text + "\n";
  };
  std::string text = line(header_);
  std::vector<std::string> rules;
  for (size_t width : widths) rules.emplace_back(width, '-');
  text += line(rules);
  for (const auto& row : rows_) text += line(row);
  return text;
}

}  // namespace encore
