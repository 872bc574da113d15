// Are all settings read, described, and written down in docs/settings.md?
#include <encore/core/settings.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace encore {
namespace {

struct Row {
  std::string variable, fallback, meaning;
};

template <class T>
std::string spell(const T& value) {
  std::ostringstream text;
  text << std::boolalpha << value;
  return text.str();
}

const std::vector<Row> rows = {
#define SETTING(type, name, variable, fallback, help) {variable, spell<type>(fallback), help},
#include <encore/core/settings.def>
#undef SETTING
};

// docs/settings.md's table as it should be.
std::string table() {
  std::string text = "| Variable | Default | Meaning |\n|---|---|---|\n";
  for (const Row& row : rows) {
    const std::string fallback = row.fallback.empty() ? "" : "`" + row.fallback + "`";
    text += "| `" + row.variable + "` | " + fallback + " | " + row.meaning + " |\n";
  }
  return text;
}

TEST(Settings, ThePageShowsTheTable) {
  std::ifstream stream(ENCORE_SOURCE_DIR "/docs/settings.md");
  std::ostringstream page;
  page << stream.rdbuf();
  EXPECT_THAT(page.str(), testing::HasSubstr(table())) << "put this into docs/settings.md:\n"
                                                       << table();
}

TEST(Settings, EachIsDescribed) {
  for (const Row& row : rows) {
    EXPECT_THAT(describe_settings(), testing::HasSubstr(row.variable));
    EXPECT_THAT(describe_settings(), testing::HasSubstr(row.meaning));
  }
}

// A process of its own prints its settings: the variables are read once, at first use.
TEST(Settings, VariablesAreRead) {
  if (std::getenv("ENCORE_TEST_PRINT")) {
    std::printf("threads=%ld fuse=%d isa=%s\n", long(settings().threads), settings().fuse,
                settings().isa.c_str());
    return;
  }
  const std::string self = std::filesystem::read_symlink("/proc/self/exe");
  FILE* pipe = popen(("ENCORE_TEST_PRINT=1 ENCORE_THREADS=3 ENCORE_FUSE=off ENCORE_ISA=avx2 '" +
                      self + "' --gtest_filter=Settings.VariablesAreRead")
                         .c_str(),
                     "r");
  std::string said;
  for (char part[4096]; size_t size = fread(part, 1, sizeof part, pipe);) said.append(part, size);
  EXPECT_EQ(pclose(pipe), 0);
  EXPECT_THAT(said, testing::HasSubstr("threads=3 fuse=0 isa=avx2"));
}

// Half of a number could do harm: "1G" is no budget of one byte.
TEST(Settings, WhatCannotBeReadIsToldAndNotUsed) {
  if (std::getenv("ENCORE_TEST_PRINT")) {
    std::printf("%ld %ld %s\n", long(settings().cache_disk_bytes), long(settings().cut_nodes),
                std::string(name_of(settings().matmul_precision)).c_str());
    return;
  }
  const std::string self = std::filesystem::read_symlink("/proc/self/exe");
  FILE* pipe = popen(("ENCORE_TEST_PRINT=1 ENCORE_CACHE_DISK_BYTES=1G ENCORE_CUT_NODES= "
                      "ENCORE_MATMUL_PRECISION=low '" +
                      self + "' --gtest_filter=Settings.WhatCannotBeReadIsToldAndNotUsed 2>&1")
                         .c_str(),
                     "r");
  std::string said;
  for (char part[4096]; size_t size = fread(part, 1, sizeof part, pipe);) said.append(part, size);
  EXPECT_EQ(pclose(pipe), 0);
  EXPECT_THAT(said, testing::HasSubstr("ENCORE_CACHE_DISK_BYTES=1G is not used"));
  EXPECT_THAT(said, testing::HasSubstr("ENCORE_MATMUL_PRECISION=low is not used"));
  EXPECT_THAT(said, testing::Not(testing::HasSubstr("ENCORE_CUT_NODES= is")));
  EXPECT_THAT(said, testing::HasSubstr("1073741824 8192 highest"));
}

}  // namespace
}  // namespace encore
