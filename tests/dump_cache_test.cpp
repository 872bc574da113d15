// Does `encore-dump cache` tell the truth about a cache, and change only what it is told to?
#include <sys/wait.h>

#include <nlohmann/json.hpp>

#include "disk_folder.h"

namespace encore::cache {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using Json = nlohmann::json;

struct Said {
  std::string text;
  int status;
};

class DumpCache : public DiskFolder {
 protected:
  DumpCache() {
    DiskStore store(options());
    store.write("kernel", "avx2\nadd a b\nstore c\n", random_bytes(1, 1000));
    store.write("kernel", "avx2\nmul a b\nstore c\n", random_bytes(2, 2000));
    store.write("extents", "add", random_bytes(3, 16));
    set_age(path_to("extents", "add"), 5 * 24 * 3600 + 60);
  }
  Said tool(const std::string& arguments) {
    return run(arguments + " --dir '" + folder_.string() + "'");
  }
  static Said run(const std::string& arguments) {
    Said said;
    const std::string command = ENCORE_DUMP_TOOL " cache " + arguments + " 2>&1";
    FILE* pipe = popen(command.c_str(), "r");
    for (char part[4096]; size_t size = fread(part, 1, sizeof part, pipe);)
      said.text.append(part, size);
    said.status = WEXITSTATUS(pclose(pipe));
    return said;
  }
  std::string digits(std::string_view kind, std::string_view key) {
    return entry_name(kind, key).hex();
  }
  void damage() {
    const fs::path file = path_to("kernel", "avx2\nmul a b\nstore c\n");
    Bytes bytes = read_file(file);
    bytes.back() ^= std::byte(1);
    write_file(file, bytes);
  }
};

TEST_F(DumpCache, ListsEntriesLastUsedFirst) {
  const Said said = tool("list");
  EXPECT_EQ(said.status, 0);
  EXPECT_THAT(said.text, AllOf(HasSubstr("avx2 add a b store c"), HasSubstr(" 1000 "),
                               HasSubstr(" 2000 "), HasSubstr("5 days")));
  EXPECT_GT(said.text.find("extents"), said.text.rfind("kernel"));
  const Said kernels = tool("list --kind kernel");
  EXPECT_THAT(kernels.text, AllOf(HasSubstr("mul"), Not(HasSubstr("extents"))));
}

TEST_F(DumpCache, ListsAsJson) {
  damage();
  const Json list = Json::parse(tool("list --json").text);
  ASSERT_EQ(list.size(), 3u);
  int problems = 0;
  for (const Json& entry : list) {
    EXPECT_EQ(entry["file_bytes"],
              fs::file_size(folder_ / (entry["entry"].get<std::string>().substr(0, 2) + "/" +
                                       entry["entry"].get<std::string>() + ".entry")));
    problems += entry.contains("problem");
    if (entry.value("kind", "") == "extents") {
      EXPECT_EQ(entry["key"], "add");
      EXPECT_EQ(entry["payload_bytes"], 16);
      EXPECT_GE(entry["seconds_unused"], 5 * 24 * 3600);
    }
  }
  EXPECT_EQ(problems, 1);
}

TEST_F(DumpCache, CountsByKind) {
  const Json stats = Json::parse(tool("stats --json").text);
  EXPECT_EQ(stats["folder"], folder_.string());
  EXPECT_EQ(stats["kinds"]["kernel"]["entries"], 2);
  EXPECT_EQ(stats["kinds"]["kernel"]["payload_bytes"], 3000);
  EXPECT_EQ(stats["kinds"]["extents"]["entries"], 1);
  EXPECT_EQ(stats["kinds"]["extents"]["file_bytes"], fs::file_size(path_to("extents", "add")));
  EXPECT_THAT(tool("stats").text, AllOf(HasSubstr("kernel"), HasSubstr("3016")));
}

TEST_F(DumpCache, VerifiesEveryEntry) {
  const Said good = tool("verify");
  EXPECT_EQ(good.status, 0);
  EXPECT_EQ(good.text, "3 good, 0 bad\n");
  damage();
  const Said bad = tool("verify");
  EXPECT_EQ(bad.status, 1);
  EXPECT_THAT(bad.text, AllOf(HasSubstr(digits("kernel", "avx2\nmul a b\nstore c\n") +
                                        ".entry: its checksum differs"),
                              HasSubstr("2 good, 1 bad")));
}

TEST_F(DumpCache, ExplainsAnEntry) {
  const std::string add = digits("kernel", "avx2\nadd a b\nstore c\n");
  const std::string mul = digits("kernel", "avx2\nmul a b\nstore c\n");
  const Said one = tool("explain " + add.substr(0, 8));
  EXPECT_EQ(one.status, 0);
  EXPECT_THAT(one.text, AllOf(HasSubstr(add), HasSubstr("good: a kernel of 1000 bytes"),
                              HasSubstr("avx2\nadd a b\nstore c\n")));
  const Said two = tool("explain " + add.substr(0, 8) + " " + mul.substr(0, 8));
  EXPECT_THAT(two.text, HasSubstr("first differ in line 2:\n- add a b\n+ mul a b\n"));
  EXPECT_THAT(tool("explain " + add + " " + add).text, HasSubstr("the keys are the same"));
  const Said none = tool("explain 12345678901");
  EXPECT_EQ(none.status, 1);
  EXPECT_THAT(none.text, HasSubstr("no entry starts with '12345678901'"));
  damage();
  EXPECT_THAT(tool("explain " + mul).text, HasSubstr("bad: its checksum differs"));
}

TEST_F(DumpCache, PrunesWhatIsBadOldOrTooMuch) {
  damage();
  EXPECT_THAT(tool("prune").text, HasSubstr("1 files removed; 2 are kept"));
  EXPECT_EQ(tool("verify").text, "2 good, 0 bad\n");
  EXPECT_THAT(tool("prune --days 6").text, HasSubstr("0 files removed"));
  EXPECT_THAT(tool("prune --days 5").text, HasSubstr("1 files removed; 1 are kept"));
  EXPECT_FALSE(fs::exists(path_to("extents", "add")));
  EXPECT_THAT(tool("prune --bytes 100").text, HasSubstr("1 files removed; 0 are kept"));
}

TEST_F(DumpCache, PrunesEverything) {
  const fs::path mine = folder_ / "my notes.txt";
  write_file(mine, bytes_of("mine"));
  EXPECT_THAT(tool("prune --all").text, HasSubstr("3 files removed; 0 are kept"));
  EXPECT_TRUE(fs::exists(mine));
}

TEST_F(DumpCache, MovesEntriesByAPack) {
  const std::string pack = (root_ / "my.pack").string(), other = (root_ / "other").string();
  const Said exported = tool("export " + pack);
  EXPECT_EQ(exported.status, 0);
  EXPECT_THAT(exported.text, HasSubstr("3 entries exported"));
  const Said imported = run("import " + pack + " --dir " + other);
  EXPECT_EQ(imported.status, 0);
  EXPECT_THAT(imported.text, HasSubstr("3 entries imported"));
  DiskOptions there = options();
  there.folder = other;
  EXPECT_EQ(DiskStore(there).read("extents", "add"), random_bytes(3, 16));
  EXPECT_THAT(tool("export " + pack + " --kind extents").text, HasSubstr("1 entries exported"));
  damage();
  const Said partly = tool("export " + pack);
  EXPECT_EQ(partly.status, 1);
  EXPECT_THAT(partly.text, HasSubstr("2 entries exported"));
  write_file(pack, bytes_of("no pack"));
  EXPECT_EQ(run("import " + pack + " --dir " + other).status, 1);
}

TEST_F(DumpCache, RefusesAFolderThatOthersCanWrite) {
  fs::permissions(folder_, fs::perms::others_write, fs::perm_options::add);
  const Said said = tool("list");
  EXPECT_EQ(said.status, 1);
  EXPECT_THAT(said.text, HasSubstr("may be written by others; chmod go-w it"));
}

TEST_F(DumpCache, AFolderThatIsNotThereIsEmpty) {
  const std::string nowhere = " --dir " + (root_ / "nowhere").string();
  EXPECT_EQ(run("verify" + nowhere).text, "0 good, 0 bad\n");
  EXPECT_EQ(run("prune" + nowhere).status, 0);
  EXPECT_EQ(run("export " + (root_ / "my.pack").string() + nowhere).status, 1);
  EXPECT_FALSE(fs::exists(root_ / "nowhere"));
}

}  // namespace
}  // namespace encore::cache
