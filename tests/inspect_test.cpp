// Does docs/inspect.md show what the example and the tool really print, and do the tool's verbs
// find in a real program's bundles what is wrong with it?
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <regex>
#include <sstream>

namespace {

using Json = nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

std::string text_of(const std::string& path) {
  std::ifstream stream(std::string(ENCORE_SOURCE_DIR) + "/" + path);
  std::ostringstream all;
  all << stream.rdbuf();
  return all.str();
}

std::string output_of(const std::string& command) {
  std::string text;
  FILE* pipe = popen((command + " 2>&1").c_str(), "r");
  for (char part[4096]; size_t size = fread(part, 1, sizeof part, pipe);) text.append(part, size);
  EXPECT_EQ(pclose(pipe), 0) << command << "\n" << text;
  return text;
}

/// Without folders, keys and losses, which differ from one machine or version to the next.
std::string plain(std::string text) {
  text = std::regex_replace(text, std::regex(R"([^\s'"]*/(\w+\.(cpp|h):))"), "$1");
  text = std::regex_replace(text, std::regex("\\b[0-9a-f]{8}\\b"), "KEY");
  text = std::regex_replace(text, std::regex("loss [0-9.]+"), "loss");
  return std::regex_replace(text, std::regex(" +"), " ");
}

/// The line of the example that holds `part`.
uint32_t line_of(const std::string& part) {
  std::istringstream lines(text_of("examples/slow_step.cpp"));
  uint32_t number = 0;
  for (std::string line; ++number, std::getline(lines, line);)
    if (line.find(part) != std::string::npos) return number;
  ADD_FAILURE() << part << " is not in the example";
  return 0;
}

std::string place(const std::string& part) {
  return "slow_step.cpp:" + std::to_string(line_of(part));
}

class Inspect : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = testing::TempDir() + "encore_inspect_" + std::to_string(getpid());
    printed_ = output_of("ENCORE_CACHE=off ENCORE_LOG=compile ENCORE_DUMP='" + folder_ + "' " +
                         ENCORE_SLOW_STEP);
  }
  static void TearDownTestSuite() { std::filesystem::remove_all(folder_); }
  static std::string tool(const std::string& verb, const std::string& more = "") {
    return output_of(std::string(ENCORE_DUMP_TOOL) + " " + verb + " '" + folder_ + "' " + more);
  }
  static inline std::string folder_, printed_;
};

TEST_F(Inspect, WhyNamesEveryCauseAndItsLine) {
  Json all = Json::parse(tool("why", "--json"));
  std::vector<std::string> told;
  for (const Json& one : all) {
    const std::string where = one["miss"]["where"], reason = one["miss"]["reason"];
    told.push_back(reason + " at " + where.substr(where.rfind('/') + 1));
    EXPECT_EQ(one["miss"]["key"].get<std::string>().substr(0, 8),
              one["name"].get<std::string>().substr(5));
    EXPECT_FALSE(one["miss"]["advice"].get<std::string>().empty());
  }
  EXPECT_THAT(told,
              ElementsAre("first_sight at " + place("Linear first"),
                          "first_sight at " + place("Tensor loss"), "part at " + place("loss.item"),
                          "stored_input at " + place("Tensor loss"),
                          "short_batch at " + place("Tensor batch")));
  EXPECT_THAT(std::string(all[3]["miss"]["explanation"]),
              HasSubstr("stored by the sync at " + place("loss.item")));
  EXPECT_EQ(all[4]["miss"]["nearest"], all[1]["miss"]["key"]);
  EXPECT_THAT(tool("why"), HasSubstr("5 traces: 2 first_sight"));
}

TEST_F(Inspect, TheLogHasALineForEveryMiss) {
  std::istringstream lines(printed_);
  size_t misses = 0;
  for (std::string line; std::getline(lines, line);)
    misses += line.starts_with("encore: miss ") && line.find(": trace ") != std::string::npos;
  EXPECT_EQ(misses, 5u);
  EXPECT_THAT(printed_, HasSubstr("5 of 16 syncs compiled"));
}

TEST_F(Inspect, SyncsAreCountedByLine) {
  Json all = Json::parse(tool("syncs", "--json"));
  std::vector<std::string> told;
  for (const Json& one : all) {
    const std::string where = one["where"];
    told.push_back(std::to_string(one["count"].get<int>()) + " " + one["kind"].get<std::string>() +
                   " " + where.substr(where.rfind('/') + 1));
  }
  EXPECT_THAT(told, testing::UnorderedElementsAre("12 step " + place("optimizer.step"),
                                                  "3 read " + place("loss.item"),
                                                  "1 step " + place("Sgd optimizer")));
}

TEST_F(Inspect, FusionSaysWhatReadsThroughMemory) {
  Json all = Json::parse(tool("fusion", "2 --json"));
  ASSERT_EQ(all.size(), 1u);
  const Json& refusals = all[0]["refusals"];
  EXPECT_GT(refusals.size(), 3u);
  EXPECT_TRUE(std::any_of(refusals.begin(), refusals.end(), [](const Json& one) {
    return one["reason"] == "starts_kernel" && one["op"] == "matmul";
  }));
  EXPECT_THAT(tool("fusion", "2"), HasSubstr("starts_kernel x"));
}

TEST_F(Inspect, EveryInputAndOutputSaysWhoseMemoryItUses) {
  const std::string shown = tool("show", "2");
  for (const char* part : {"== aliases.txt", "takes it over", "stands in leaf", "kept, as"})
    EXPECT_THAT(shown, HasSubstr(part));
}

TEST_F(Inspect, ThePageShowsTheExampleAndItsOutput) {
  const std::string page = text_of("docs/inspect.md");
  EXPECT_THAT(page, HasSubstr("```cpp\n" + text_of("examples/slow_step.cpp") + "```\n"));
  // Blocks that open with a command are what it prints.
  std::string real =
      plain(printed_ + tool("why") + tool("syncs") + tool("fusion", "2") + tool("show", "5"));
  std::istringstream lines(page);
  bool in_block = false;
  int checked = 0;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("```")) {
      in_block = line == "```console";
    } else if (in_block && !line.starts_with("$ ") && line != "..." && !line.empty()) {
      EXPECT_THAT(real, HasSubstr(plain(line)));
      ++checked;
    }
  }
  EXPECT_GT(checked, 20);
}

TEST_F(Inspect, TheReadmeShowsARealLine) {
  const std::string readme = text_of("README.md");
  std::smatch line;
  ASSERT_TRUE(std::regex_search(readme, line, std::regex("\n *(trace [0-9a-f]{8} .*)\n")));
  EXPECT_THAT(plain(tool("why")), HasSubstr(plain(line[1])));
}

}  // namespace
