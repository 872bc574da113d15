// Does every test exist that docs/promises.md names?
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>

namespace {

namespace fs = std::filesystem;

const fs::path source = ENCORE_SOURCE_DIR;

std::string text_of(const fs::path& file) {
  std::stringstream text;
  text << std::ifstream(file).rdbuf();
  return text.str();
}

std::vector<std::smatch> matches(const std::string& text, const std::regex& pattern) {
  return {std::sregex_iterator(text.begin(), text.end(), pattern), {}};
}

TEST(Promises, NameTestsThatExist) {
  std::set<std::string> suites, tests;
  const std::regex test(R"(TEST(?:_F|_P)?\((\w+),\s*(\w+)\))");
  for (const auto& file : fs::directory_iterator(source / "tests")) {
    if (file.path().extension() != ".cpp") continue;
    const std::string text = text_of(file.path());
    for (const std::smatch& found : matches(text, test)) {
      suites.insert(found[1]);
      tests.insert(found[1].str() + '.' + found[2].str());
    }
  }
  const std::string page = text_of(source / "docs/promises.md");
  size_t named = 0;
  for (const std::smatch& found : matches(page, std::regex(R"(`(\w+)\.(\w+|\*)`)"))) {
    if (fs::exists(source / "tests" / (found[1].str() + '.' + found[2].str()))) continue;
    EXPECT_TRUE(found[2] == "*" ? suites.contains(found[1])
                                : tests.contains(found[1].str() + '.' + found[2].str()))
        << found[0];
    ++named;
  }
  EXPECT_GT(named, 50u);
}

}  // namespace
