// Do a bundle's document, the report made of it and the comparison of two say what is true?
#include <encore/encore.h>
#include <encore/trace/runtime.h>
#include <encore/utils/bundle.h>
#include <encore/utils/dump_align.h>
#include <gmock/gmock.h>
#include <unistd.h>
#include <zlib.h>

#include <filesystem>
#include <fstream>
#include <random>
#include <set>
#include <sstream>

#include "json_schema.h"

namespace encore {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;

struct Net : Module {
  Linear fc1{6, 16}, fc2{16, 4};
  LayerNorm norm{16};
  Tensor forward(const Tensor& x) { return fc2(norm(gelu(fc1(x)))); }
  ENCORE_MEMBERS(fc1, fc2, norm)
};

// Two training steps and a read.
void train() {
  Net net;
  AdamW optimizer(net.parameters());
  const Tensor x = full({8, 6}, 0.5), target = from_vector<int64_t>({0, 1, 2, 3, 0, 1, 2, 3});
  for (int step = 0; step < 2; ++step) {
    Tensor loss = cross_entropy(net(x), target);
    optimizer.zero_grad();
    loss.backward();
    optimizer.step();
  }
  (void)sum(net(x)).item<float>();
}

struct Outcome {
  int status;
  std::string text;
};

Outcome tool(const std::string& arguments) {
  FILE* pipe = popen((std::string(ENCORE_DUMP_TOOL) + " " + arguments + " 2>&1").c_str(), "r");
  std::string text;
  for (char part[4096]; size_t size = fread(part, 1, sizeof part, pipe);) text.append(part, size);
  return {WEXITSTATUS(pclose(pipe)), text};
}

// For the shell; the folders of these tests have quotes in their names.
std::string quoted(const fs::path& path) {
  std::string text = "'";
  for (char c : path.string()) text += c == '\'' ? "'\\''" : std::string(1, c);
  return text + "'";
}

std::string text_of(const fs::path& path) {
  std::ifstream stream(path);
  std::ostringstream all;
  all << stream.rdbuf();
  return all.str();
}

Json document_of(const Bundle& bundle) { return Json::parse(bundle.text("trace.json")); }
/// The trace of most kernels.
const Bundle& training_step(const std::vector<Bundle>& bundles) {
  return *std::max_element(bundles.begin(), bundles.end(), [](const Bundle& a, const Bundle& b) {
    return a.files("kernels").size() < b.files("kernels").size();
  });
}
const Json& simplified(const Json& document) { return document["graphs"][1]["nodes"]; }

class Report : public ::testing::Test {
 protected:
  void SetUp() override {
    fs::create_directories(root_);
    trace::runtime().clear_caches();
  }
  void TearDown() override { fs::remove_all(root_); }

  // The bundles of all that `work` compiles.
  template <class Work>
  std::vector<Bundle> bundles_of(Work work, const char* name = "a 'quoted' <b>folder</b>") {
    trace::runtime().clear_caches();
    const uint32_t listener = write_bundles(root_ / name);
    work();
    events::ignore(listener);
    return read_bundles(root_ / name);
  }
  Json document_of_one(const std::vector<Bundle>& bundles) {
    EXPECT_EQ(bundles.size(), 1u);
    return document_of(bundles.at(0));
  }

  fs::path root_ = ::testing::TempDir() + "encore_report_" + std::to_string(getpid());
};

const testing::JsonSchema& schema() {
  static const testing::JsonSchema known(
      Json::parse(text_of(fs::path(ENCORE_SOURCE_DIR) / "docs/dump.schema.json")));
  return known;
}

TEST_F(Report, EveryDocumentFitsTheSchema) {
  const auto bundles = bundles_of(train);
  ASSERT_GE(bundles.size(), 3u);
  for (const Bundle& bundle : bundles) EXPECT_EQ(schema().misfit(document_of(bundle)), "");
}

TEST_F(Report, TheSchemaRefusesOtherDocuments) {
  const Json right = document_of(bundles_of([] { (void)(ones({4}) + 1).to_vector<float>(); })[0]);
  const auto misfit_after = [&](auto change) {
    Json other = right;
    change(other);
    return schema().misfit(other);
  };
  EXPECT_EQ(misfit_after([](Json& d) { d["format"] = 2; }), "/format has another value");
  EXPECT_EQ(misfit_after([](Json& d) { d.erase("key"); }), " lacks key");
  EXPECT_EQ(misfit_after([](Json& d) { d["buffers"][0]["bytes"] = "4"; }),
            "/buffers/0/bytes is no integer");
  EXPECT_EQ(misfit_after([](Json& d) { d["graphs"][0]["nodes"][0]["colour"] = 1; }),
            "/graphs/0/nodes/0/colour is not known");
  EXPECT_EQ(misfit_after([](Json& d) { d["sync"]["kind"] = "sometimes"; }),
            "/sync/kind is not listed");
}

TEST_F(Report, EveryLinkOfADocumentResolves) {
  for (const Bundle& bundle : bundles_of(train)) {
    const Json document = document_of(bundle);
    const size_t nodes = simplified(document).size(), files = document["files"].size();
    for (const Json& graph : document["graphs"])
      for (size_t id = 0; id < graph["nodes"].size(); ++id) {
        const Json& node = graph["nodes"][id];
        EXPECT_EQ(node["id"], id);
        for (const Json& input : node["inputs"]) {
          EXPECT_LT(input.get<size_t>(), id);
        }
        if (node.contains("line")) {
          EXPECT_LT(node["file"].get<size_t>(), files);
        }
        if (node.contains("became")) {
          EXPECT_LT(node["became"].get<size_t>(), nodes);
        }
      }
    std::set<std::pair<size_t, size_t>> lines;  // of nodes
    for (const Json& node : simplified(document))
      if (node.contains("line"))
        lines.emplace(node["file"].get<size_t>(), node["line"].get<size_t>());
    size_t launch = 0;
    for (const Json& kernel : document["kernels"]) {
      EXPECT_EQ(kernel["launch"], launch++);
      EXPECT_THAT(bundle.text(kernel["files"]["kernel"]), HasSubstr("axis"));
      for (const Json& segment : kernel["segments"]) {
        EXPECT_LT(segment["cluster"].get<size_t>(), document["clusters"].size());
        EXPECT_FALSE(segment["nodes"].empty());
        for (const char* list : {"nodes", "inlined"})
          for (const Json& id : segment[list]) EXPECT_LT(id.get<size_t>(), nodes);
        for (const Json& argument : segment["arguments"])
          EXPECT_LT(argument["buffer"].get<size_t>(), document["buffers"].size());
        for (const Json& line : segment["lines"])
          EXPECT_TRUE(lines.contains({line[0].get<size_t>(), line[1].get<size_t>()}));
      }
    }
    for (const Json& refusal : document["refusals"])
      EXPECT_LT(refusal["node"].get<size_t>(), nodes);
  }
}

TEST_F(Report, KernelsComputeEveryClusterAndWriteEveryOutput) {
  for (const Bundle& bundle : bundles_of(train)) {
    const Json document = document_of(bundle);
    std::set<size_t> computed, written;
    for (const Json& kernel : document["kernels"])
      for (const Json& segment : kernel["segments"]) {
        for (const Json& id : segment["nodes"]) computed.insert(id.get<size_t>());
        for (const Json& argument : segment["arguments"])
          if (argument["use"] != "read")
            written.insert(
                document["buffers"][argument["buffer"].get<size_t>()]["node"].get<size_t>());
      }
    for (const Json& cluster : document["clusters"])
      for (const Json& id : cluster["members"]) EXPECT_TRUE(computed.contains(id.get<size_t>()));
    for (const Json& id : document["graphs"][1]["outputs"])
      EXPECT_TRUE(written.contains(id.get<size_t>())) << id;
  }
}

// Two buffers needed at one time never lie on each other, unless one launch hands over from one to
// the other.
TEST_F(Report, BuffersThatAreAliveTogetherLieApart) {
  size_t compared = 0;
  for (const Bundle& bundle : bundles_of(train)) {
    const Json document = document_of(bundle);
    std::vector<Json> arena;
    for (const Json& buffer : document["buffers"])
      if (buffer["home"] == "arena") arena.push_back(buffer);
    for (const Json& one : arena) {
      EXPECT_LE(one["offset"].get<int64_t>() + one["bytes"].get<int64_t>(),
                document["memory"]["arena_bytes"].get<int64_t>());
      EXPECT_LE(one["first"], one["last"]);
      EXPECT_LT(one["last"].get<size_t>(), document["kernels"].size());
      for (const Json& other : arena) {
        const bool together =
            one["id"] < other["id"] && one["first"] < other["last"] && other["first"] < one["last"];
        if (!together) continue;
        ++compared;
        const int64_t a = one["offset"], b = other["offset"];
        EXPECT_TRUE(a + one["bytes"].get<int64_t>() <= b || b + other["bytes"].get<int64_t>() <= a)
            << one << other;
      }
    }
  }
  EXPECT_GT(compared, 0u);
}

TEST_F(Report, FiguresOfAKernelAreThoseOfTheArithmetic) {
  const Tensor a = full({64, 32}, 1.0), b = full({32, 16}, 1.0), row = full({16}, 2.0);
  eval(a, b, row);
  Json product = document_of_one(bundles_of([&] { (void)matmul(a, b).to_vector<float>(); }, "1"));
  EXPECT_EQ(product["kernels"][0]["flops"], 2 * 64 * 32 * 16);
  EXPECT_EQ(product["kernels"][0]["bytes"], 4 * (64 * 32 + 32 * 16 + 64 * 16));
  Json sum = document_of_one(bundles_of([&] { (void)(b + row).to_vector<float>(); }, "2"));
  EXPECT_EQ(sum["kernels"][0]["flops"], 0);
  EXPECT_EQ(sum["kernels"][0]["bytes"], 4 * (32 * 16 + 16 + 32 * 16));
  Json part = document_of_one(
      bundles_of([&] { (void)Tensor(a[{Slice{0, 8}}] * 2).to_vector<float>(); }, "3"));
  EXPECT_EQ(part["kernels"][0]["bytes"], 4 * (8 * 32 + 8 * 32));
}

TEST_F(Report, NodesCarryTheInnermostLineOfTheUser) {
  const Json document = document_of(training_step(bundles_of(train)));
  const std::string source = text_of(fs::path(ENCORE_SOURCE_DIR) / "tests/report_test.cpp");
  std::set<std::string> texts;
  std::vector<std::string> lines{""};
  std::istringstream stream(source);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  for (const Json& node : simplified(document))
    if (node.contains("line")) texts.insert(lines.at(node["line"]));
  EXPECT_TRUE(
      texts.contains("  Tensor forward(const Tensor& x) { return fc2(norm(gelu(fc1(x)))); }"));
  EXPECT_TRUE(texts.contains("    Tensor loss = cross_entropy(net(x), target);"));
}

TEST_F(Report, SyncsMissesAndRefusalsAreKept) {
  const auto bundles = bundles_of(train);
  std::vector<std::string> kinds;
  size_t refusals = 0;
  for (const Bundle& bundle : bundles) {
    const Json document = document_of(bundle);
    kinds.push_back(document["sync"]["kind"]);
    refusals += document["refusals"].size();
    EXPECT_FALSE(document["miss"]["explanation"].get<std::string>().empty());
    EXPECT_EQ(document["key"].get<std::string>().substr(0, 8), bundle.name().substr(5));
  }
  EXPECT_THAT(kinds, ::testing::Contains("step"));
  EXPECT_EQ(kinds.back(), "read");
  EXPECT_GT(refusals, 0u);
}

TEST_F(Report, AMissInPlainWordsIsKeptAsItIs) {
  const auto report = [](EventKind kind, std::string_view name, std::string_view text) {
    events::report({kind, name, text, 0, {"train.cpp", 12}});
  };
  const auto bundles = bundles_of([&] {
    report(EventKind::miss, "shape", "64 rows, not 32");
    report(EventKind::pass, "begin", "00112233445566778899aabbccddeeff");
    report(EventKind::miss, "first_structure", R"({"subject": "kernel", "explanation": "new"})");
    report(EventKind::pass, "trace", R"({"format": 1, "kernels": []})");
    report(EventKind::pass, "end", "");
  });
  const Json document = document_of_one(bundles);
  const Json miss = {
      {"reason", "shape"}, {"explanation", "64 rows, not 32"}, {"file", "train.cpp"}, {"line", 12}};
  EXPECT_EQ(document["miss"], miss);
  EXPECT_EQ(document["kernel_misses"][0]["explanation"], "new");
  EXPECT_THAT(bundles[0].text("notes.txt"), HasSubstr("64 rows, not 32"));
}

TEST_F(Report, TheToolPrintsTheDocument) {
  const auto bundles = bundles_of(train);
  const std::string folder = quoted(bundles[0].folder.parent_path());
  EXPECT_EQ(Json::parse(tool("show " + folder + " 1 --json").text), document_of(bundles[0]));
  const Json kernels = Json::parse(tool("kernels " + folder + " 1 --json").text);
  EXPECT_EQ(kernels, document_of(bundles[0])["kernels"]);
  const std::string name = kernels[0]["name"];
  EXPECT_EQ(Json::parse(tool("kernels " + folder + " 1 " + name + " --json").text),
            Json::array({kernels[0]}));
}

// --- the HTML report ----------------------------------------------------------------------------

size_t count_of(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != text.npos; at = text.find(part, at + 1)) ++count;
  return count;
}

// What is packed into a report, as a browser unpacks it.
Json packed_in(const std::string& page) {
  const std::string mark = "id=\"data\">";
  const size_t begin = page.find(mark) + mark.size(), end = page.find("</script>", begin);
  const std::string digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes, text(64 << 20, '\0');
  uint32_t word = 0, bits = 0;
  for (size_t i = begin; i < end && page[i] != '='; ++i) {
    word = word << 6 | uint32_t(digits.find(page[i]));
    if ((bits += 6) >= 8) bytes += char(word >> (bits -= 8));
  }
  uLongf size = text.size();
  EXPECT_EQ(uncompress(reinterpret_cast<Bytef*>(text.data()), &size,
                       reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()),
            Z_OK);
  return Json::parse(text.substr(0, size));
}

TEST_F(Report, IsOneFileThatNeedsNothingElse) {
  const auto bundles = bundles_of(train);
  const fs::path out = root_ / "report.html";
  const Outcome made = tool("html " + quoted(bundles[0].folder.parent_path()) + " -o " +
                            quoted(out) + " --source " + ENCORE_SOURCE_DIR);
  ASSERT_EQ(made.status, 0) << made.text;
  EXPECT_THAT(made.text, Not(HasSubstr("cannot be read")));
  const std::string page = text_of(out);
  EXPECT_EQ(count_of(page, "<script"), 2u);
  EXPECT_THAT(page, HasSubstr("default-src 'none'"));
  for (const char* loader : {"src=", "href=", "@import", "url(", "fetch(", "import("})
    EXPECT_THAT(page, Not(HasSubstr(loader)));
  EXPECT_EQ(count_of(page, "://"), 1u) << "only the name of SVG's namespace";
  const Json packed = packed_in(page);
  ASSERT_EQ(packed["traces"].size(), bundles.size());
  for (size_t i = 0; i < bundles.size(); ++i)
    EXPECT_EQ(packed["traces"][i]["document"], document_of(bundles[i]));
  EXPECT_EQ(packed, Json::parse(tool("html " + quoted(bundles[0].folder.parent_path()) +
                                     " --data -o - --source " + ENCORE_SOURCE_DIR)
                                    .text));
}

// Names that the compiler knew may be relative to its folder.
TEST_F(Report, SaysWhichSourcesItCannotRead) {
  const auto bundles = bundles_of(train);
  const std::string command = "cd / && " + quoted(fs::absolute(ENCORE_DUMP_TOOL)) + " html " +
                              quoted(bundles[0].folder.parent_path()) + " -o " +
                              quoted(root_ / "report.html") + " 2>&1";
  FILE* pipe = popen(command.c_str(), "r");
  std::string said;
  for (char part[4096]; size_t size = fread(part, 1, sizeof part, pipe);) said.append(part, size);
  EXPECT_EQ(pclose(pipe), 0) << said;
  const bool readable = fs::path(__FILE__).is_absolute() && fs::exists(__FILE__);
  EXPECT_EQ(said.find("report_test.cpp cannot be read; say --source") == said.npos, readable);
}

TEST_F(Report, HoldsListingsOnceAndTheSourcesOfItsLines) {
  const auto bundles = bundles_of(train);
  const Json packed = Json::parse(tool("html " + quoted(bundles[0].folder.parent_path()) +
                                       " --data -o - --source " + ENCORE_SOURCE_DIR)
                                      .text);
  const std::set<std::string> texts(packed["texts"].begin(), packed["texts"].end());
  EXPECT_EQ(texts.size(), packed["texts"].size());
  for (size_t i = 0; i < bundles.size(); ++i)
    for (const std::string& file : bundles[i].files("kernels")) {
      const size_t number = packed["traces"][i]["texts"][file];
      EXPECT_EQ(packed["texts"][number], bundles[i].text(file));
    }
  const Json document = document_of(training_step(bundles));
  size_t found = 0;
  for (const Json& node : simplified(document)) {
    if (!node.contains("line")) continue;
    const Json& source =
        packed["sources"][document["files"][node["file"].get<size_t>()].get<std::string>()];
    const int line = node["line"];
    for (int near = line - 2; near <= line + 2; ++near)
      EXPECT_TRUE(source.contains(std::to_string(near))) << near;
    ++found;
  }
  EXPECT_GT(found, 20u);
}

TEST_F(Report, NamesAreNeverRead) {
  const char* evil = "</script><script>alert(1)</script>";
  const auto bundles = bundles_of(
      [&] {
        Scope scope(evil, {evil, 7});
        (void)(full({4}, 2.0) * 3).to_vector<float>();
      },
      "evil");
  const fs::path out = root_ / "report.html";
  ASSERT_EQ(tool("html " + quoted(root_ / "evil") + " -o " + quoted(out)).status, 0);
  const std::string page = text_of(out);
  EXPECT_EQ(count_of(page, "<script"), 2u);
  EXPECT_EQ(count_of(page, "</script>"), 2u);
  EXPECT_THAT(page, Not(HasSubstr("alert")));
  const Json document = packed_in(page)["traces"][0]["document"];
  EXPECT_THAT(document["files"], ::testing::Contains(evil));
  EXPECT_THAT(document.dump(), HasSubstr("\"scope\":\"</script>"));
}

TEST_F(Report, ShowsWhatAFailedCompilationLeft) {
  trace::runtime().clear_caches();
  const auto bundles = bundles_of([] {
    trace::runtime().fail_compile(1);
    EXPECT_THROW((void)(full({4}, 2.0) * 3).to_vector<float>(), Error);
  });
  const Json packed =
      Json::parse(tool("html " + quoted(bundles[0].folder.parent_path()) + " --data -o -").text);
  EXPECT_EQ(packed["traces"][0]["failed"], true);
  EXPECT_EQ(schema().misfit(packed["traces"][0]["document"]), "");
}

TEST_F(Report, MeasuredTimesComeFromTheBundleOrItsFolder) {
  const auto bundles = bundles_of(train);
  const fs::path folder = bundles[0].folder.parent_path();
  std::ofstream(folder / "measured.json") << R"({"kernels": {"all": {"ms": 1}}})";
  std::ofstream(bundles[1].folder / "measured.json") << R"({"kernels": {"own": {"ms": 2}}})";
  const Json packed = Json::parse(tool("html " + quoted(folder) + " --data -o -").text);
  EXPECT_EQ(packed["traces"][0]["measured"]["kernels"]["all"]["ms"], 1);
  EXPECT_EQ(packed["traces"][1]["measured"]["kernels"]["own"]["ms"], 2);
  std::ofstream(folder / "measured.json") << "{half";
  const Outcome broken = tool("html " + quoted(folder) + " --data -o -");
  EXPECT_EQ(broken.status, 1);
  EXPECT_THAT(broken.text, HasSubstr("measured.json is not JSON"));
}

TEST_F(Report, FoldersWithoutTracesAreRefused) {
  fs::create_directories(root_ / "empty");
  EXPECT_EQ(tool("html " + quoted(root_ / "empty")).status, 1);
  EXPECT_EQ(tool("html " + quoted(root_ / "missing")).status, 1);
}

TEST_F(Report, ATraceOfTenThousandNodesIsWritten) {
  const int64_t budget = settings().cut_nodes;
  settings().cut_nodes = 0;
  const auto bundles = bundles_of([] {
    Tensor x = full({16}, 1.0);
    for (int i = 0; i < 5000; ++i) x = x * 1.5 - 0.5;
    EXPECT_EQ(x.to_vector<float>()[0], 1.0f);
  });
  settings().cut_nodes = budget;
  const Json document = document_of_one(bundles);
  EXPECT_GE(simplified(document).size(), 10000u);
  EXPECT_EQ(schema().misfit(document), "");
  const fs::path out = root_ / "report.html";
  ASSERT_EQ(tool("html " + quoted(bundles[0].folder.parent_path()) + " -o " + quoted(out)).status,
            0);
  EXPECT_LT(fs::file_size(out), 4u << 20);
}

// --- diff ---------------------------------------------------------------------------------------

TEST_F(Report, EqualTracesDoNotDiffer) {
  const auto first = bundles_of(train, "it's \"a\""), second = bundles_of(train, "$(b) `c`");
  const std::string a = quoted(root_ / "it's \"a\""), b = quoted(root_ / "$(b) `c`");
  const Outcome folders = tool("diff " + a + " " + b);
  EXPECT_EQ(folders.status, 0) << folders.text;
  EXPECT_EQ(count_of(folders.text, ": the same"), first.size());
  EXPECT_EQ(tool("diff " + quoted(first[0].folder) + " " + quoted(second[0].folder)).status, 0);
  EXPECT_EQ(tool("diff " + a + " 1 1").status, 0);
}

Json diff_of(const fs::path& a, const fs::path& b) {
  const Outcome outcome = tool("diff --json " + quoted(a) + " " + quoted(b));
  EXPECT_EQ(outcome.status, 1) << outcome.text;
  return Json::parse(outcome.text);
}

TEST_F(Report, ADifferenceIsNamedWhereItIs) {
  const auto chain = [](int64_t rows, bool with_exp) {
    return [=] {
      Tensor x = full({rows, 8}, 0.5) * 2;
      x = with_exp ? exp(x) : sqrt(x);
      (void)sum(x + 1).item<float>();
    };
  };
  bundles_of(chain(4, true), "base");
  bundles_of(chain(4, false), "op");
  bundles_of(chain(6, true), "shape");
  const auto folder = [&](const char* name) { return read_bundles(root_ / name).at(0).folder; };
  const Json op = diff_of(folder("base"), folder("op"));
  ASSERT_EQ(op["nodes"]["removed"].size(), 1u);
  EXPECT_THAT(op["nodes"]["removed"][0]["text"].get<std::string>(), HasSubstr(" exp f32[4,8]"));
  EXPECT_THAT(op["nodes"]["added"][0]["text"].get<std::string>(), HasSubstr(" sqrt f32[4,8]"));
  EXPECT_FALSE(op["kernels"]["removed"].empty() && op["kernels"]["changed"].empty());
  const Json shape = diff_of(folder("base"), folder("shape"));
  EXPECT_TRUE(shape["nodes"]["removed"].empty());
  EXPECT_TRUE(shape["nodes"]["added"].empty());
  for (const Json& changed : shape["nodes"]["changed"])
    EXPECT_THAT(changed["what"].dump(), HasSubstr("shape"));
  EXPECT_THAT(shape["kernels"]["changed"].dump(), HasSubstr("-axis"));
  const std::string text =
      tool("diff " + quoted(folder("base")) + " " + quoted(folder("shape"))).text;
  EXPECT_THAT(text, HasSubstr("exp f32[6,8]"));
  EXPECT_THAT(text, HasSubstr("lines differ"));
}

TEST_F(Report, AnInputThatReadsAnotherNodeIsAChange) {
  const Tensor a = full({4}, 3.0), b = full({4}, 2.0);
  eval(a, b);
  bundles_of([&] { (void)((a - b) * a).to_vector<float>(); }, "left");
  bundles_of([&] { (void)((a - b) * b).to_vector<float>(); }, "right");
  const Json diff = diff_of(read_bundles(root_ / "left").at(0).folder,
                            read_bundles(root_ / "right").at(0).folder);
  ASSERT_EQ(diff["nodes"]["changed"].size(), 1u) << diff;
  EXPECT_EQ(diff["nodes"]["changed"][0]["what"], Json::array({"inputs"}));
}

TEST_F(Report, FoldersArePairedByKeyAndThenByLine) {
  const auto both = [](int64_t second) {
    return [=] {
      for (int64_t size : {int64_t(3), second}) (void)(full({size}, 1.0) * 2).to_vector<float>();
    };
  };
  bundles_of(both(4), "a");
  bundles_of(both(5), "b");
  bundles_of(
      [&] {
        both(4)();
        (void)sqrt(full({2}, 1.0)).to_vector<float>();
      },
      "c");
  const Json diff = diff_of(root_ / "a", root_ / "b");
  ASSERT_EQ(diff["traces"].size(), 2u);
  EXPECT_TRUE(diff["traces"][0]["same"]);
  EXPECT_FALSE(diff["traces"][1]["same"]);
  const Json more = diff_of(root_ / "a", root_ / "c");
  EXPECT_EQ(more["only_b"].size(), 1u);
  EXPECT_EQ(more["only_a"].size(), 0u);
  EXPECT_EQ(tool("diff " + quoted(root_ / "a") + " " + quoted(read_bundles(root_ / "b")[0].folder))
                .status,
            1);
}

// --- alignment ----------------------------------------------------------------------------------

// Length of the longest common subsequence, by the table everybody knows.
size_t common_length(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  std::vector<std::vector<size_t>> best(a.size() + 1, std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i < a.size(); ++i)
    for (size_t j = 0; j < b.size(); ++j)
      best[i + 1][j + 1] = a[i] == b[j] ? best[i][j] + 1 : std::max(best[i][j + 1], best[i + 1][j]);
  return best[a.size()][b.size()];
}

TEST(Align, KeepsTheLongestCommonSubsequence) {
  std::mt19937 random(7);
  for (int round = 0; round < 500; ++round) {
    std::vector<std::string> a(random() % 20), b(random() % 20);
    for (auto* side : {&a, &b})
      for (std::string& word : *side) word = std::string(1, char('a' + random() % (2 + round % 5)));
    size_t kept = 0, next_a = 0, next_b = 0;
    for (const AlignStep& step : align(a, b)) {
      if (step.a != no_place) {
        EXPECT_EQ(step.a, next_a++);
      }
      if (step.b != no_place) {
        EXPECT_EQ(step.b, next_b++);
      }
      if (step.a == no_place || step.b == no_place) continue;
      EXPECT_EQ(a[step.a], b[step.b]);
      ++kept;
    }
    EXPECT_EQ(next_a, a.size());
    EXPECT_EQ(next_b, b.size());
    EXPECT_EQ(kept, common_length(a, b));
  }
}

TEST(Align, GivesUpOnWhatHasNothingInCommon) {
  std::vector<std::string> a, b;
  for (int i = 0; i < 6000; ++i)
    a.push_back("a" + std::to_string(i)), b.push_back("b" + std::to_string(i));
  a.push_back("end");
  b.push_back("end");
  const auto steps = align(a, b);
  EXPECT_EQ(steps.size(), 12001u);
  EXPECT_EQ(steps.back().a, steps.back().b);
}

TEST(Align, ShowsLinesThatGoAndCome) {
  EXPECT_EQ(line_changes("a\nb\nc\n", "a\nc\nd\n"), (std::vector<std::string>{"-b", "+d"}));
  EXPECT_TRUE(line_changes("a\n", "a").empty());
}

}  // namespace
}  // namespace encore
