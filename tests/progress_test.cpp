// Is progress a redrawn bar on a terminal and a few plain lines elsewhere?
#include <encore/utils/progress.h>
#include <encore/utils/table.h>
#include <gmock/gmock.h>

#include <memory>

namespace encore {
namespace {

using testing::HasSubstr;
using testing::Not;

/// A file in memory and what was written to it.
class Captured {
 public:
  Captured() : file_(open_memstream(&text_, &size_)) {}
  ~Captured() {
    std::fclose(file_);
    std::free(text_);
  }
  std::FILE* file() { return file_; }
  std::string text() {
    std::fflush(file_);
    return {text_, size_};
  }

 private:
  char* text_ = nullptr;
  size_t size_ = 0;
  std::FILE* file_;
};

TEST(Progress, PrintsPlainLinesWhereThereIsNoTerminal) {
  Captured out;
  {
    Progress progress("epoch 1", 100, {.out = out.file(), .terminal = false, .plain_lines = 4});
    for (int i = 0; i < 100; ++i) progress.advance(1, "loss 0.5");
  }
  EXPECT_EQ(out.text(),
            "epoch 1 25/100 loss 0.5\nepoch 1 50/100 loss 0.5\nepoch 1 75/100 loss 0.5\nepoch 1 "
            "100/100 loss 0.5\n");
}

TEST(Progress, FewStepsPrintOneLineEach) {
  Captured out;
  Progress progress("x", 2, {.out = out.file(), .terminal = false});
  progress.advance();
  progress.advance();
  EXPECT_EQ(out.text(), "x 1/2 \nx 2/2 \n");
}

TEST(Progress, RedrawsOneLineOnATerminal) {
  Captured out;
  {
    Progress progress("epoch 1", 1000, {.out = out.file(), .terminal = true});
    for (int i = 0; i < 1000; ++i) progress.advance(1, i < 500 ? "a long note at first" : "short");
  }
  std::string text = out.text();
  EXPECT_THAT(text, HasSubstr("\repoch 1 ["));
  EXPECT_THAT(text, HasSubstr("1000/1000"));
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1);
  EXPECT_EQ(text.back(), '\n');
  // Far fewer redraws than steps; each covers all of the one before.
  EXPECT_LT(std::count(text.begin(), text.end(), '\r'), 100);
}

TEST(Progress, CountsNoFurtherThanTheTotal) {
  Captured out;
  Progress progress("x", 3, {.out = out.file(), .terminal = false, .plain_lines = 1});
  progress.advance(10);
  progress.advance(10);
  EXPECT_EQ(out.text(), "x 3/3 \n");
}

TEST(Progress, SaysNothingWhenNothingWasDone) {
  Captured out;
  {
    Progress progress("x", 3, {.out = out.file(), .terminal = true});
  }
  EXPECT_EQ(out.text(), "");
}

TEST(Table, AlignsNumbersToTheRightAndWordsToTheLeft) {
  Table table({"epoch", "loss", "note"});
  table.add_row({"1", "0.5", "first"});
  table.add_row({"10", "-12.25"});
  EXPECT_EQ(table.text(),
            "epoch    loss  note\n"
            "-----  ------  -----\n"
            "    1     0.5  first\n"
            "   10  -12.25\n");
}

TEST(Table, RefusesMoreCellsThanColumns) {
  Table table({"one"});
  EXPECT_THROW(table.add_row({"1", "2"}), std::invalid_argument);
  EXPECT_EQ(table.rows(), 0u);
}

}  // namespace
}  // namespace encore
