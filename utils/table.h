// A table of results as text: numbers to the right, words to the left.
#pragma once
#include <string>
#include <vector>

namespace encore {

class Table {
 public:
  explicit Table(std::vector<std::string> header) : header_(std::move(header)) {}
  /// Missing cells at the end stay empty; cells beyond the header throw std::invalid_argument.
  void add_row(std::vector<std::string> cells);
  size_t rows() const { return rows_.size(); }
  /// Lines with a rule under the header, each ended by a newline.
  std::string text() const;

 private:
  std::vector<std::string> header_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace encore
