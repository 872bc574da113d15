// Is what JsonText writes the JSON that was meant, in parts that end behind objects?
#include <encore/core/json_text.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <random>

namespace encore {
namespace {

using Json = nlohmann::json;

struct Parts {
  std::vector<std::string> all;
  int last = 0;
  JsonText::Sink sink() {
    return [this](std::string_view part, bool is_last) {
      all.emplace_back(part);
      last += is_last;
    };
  }
  std::string text() const {
    std::string text;
    for (const std::string& part : all) text += part;
    return text;
  }
};

TEST(JsonText, WritesEveryKindOfValue) {
  Parts parts;
  JsonText json(parts.sink());
  json.object([&] {
    json.field("number", int64_t(-1) << 63);
    json.field("large", ~uint64_t(0));
    json.field("truth", true);
    json.field("nested", std::vector<std::array<int, 2>>{{1, 2}, {3, 4}});
    json.field("nothing", std::vector<int>{});
    json.array("objects", [&] {
      for (int i = 0; i < 3; ++i) json.object([&] { json.field("i", i); });
      json.object([] {});
    });
    json.field("last", "word");
  });
  json.finish();
  const Json expected = {{"number", int64_t(-1) << 63},
                         {"large", ~uint64_t(0)},
                         {"truth", true},
                         {"nested", {{1, 2}, {3, 4}}},
                         {"nothing", Json::array()},
                         {"last", "word"},
                         {"objects", {{{"i", 0}}, {{"i", 1}}, {{"i", 2}}, Json::object()}}};
  EXPECT_EQ(Json::parse(parts.text()), expected);
  EXPECT_EQ(parts.all.size(), 1u);
  EXPECT_EQ(parts.last, 1);
}

TEST(JsonText, StringsComeBackWhateverIsInThem) {
  std::mt19937 random(5);
  for (int i = 0; i < 500; ++i) {
    std::string text;
    for (int k = int(random() % 20); k > 0; --k) text += char(random() % 128);
    EXPECT_EQ(Json::parse(json_string(text)), text);
  }
  EXPECT_EQ(Json::parse(json_string("µ — \"x\"")), "µ — \"x\"");
  EXPECT_EQ(Json::parse(json_string("a\xff"
                                    "b")),
            "a\xEF\xBF\xBD"
            "b");  // not UTF-8
}

TEST(JsonText, PartsAreBoundedAndTheLastEndsTheDocument) {
  Parts parts;
  JsonText json(parts.sink());
  const std::string filler(1000, 'x');
  json.begin_object();
  json.array("objects", [&] {
    for (int i = 0; i < 5000; ++i)
      json.object([&] {
        json.field("filler", filler);
        json.field("i", i);
      });
  });
  json.end_object();
  json.finish();
  EXPECT_GE(parts.all.size(), 4u);
  for (const std::string& part : parts.all) {
    EXPECT_LT(part.size(), JsonText::part_bytes + 2000);
    EXPECT_EQ(part.back(), '}');
  }
  EXPECT_EQ(parts.last, 1);
  const Json read = Json::parse(parts.text());
  ASSERT_EQ(read["objects"].size(), 5000u);
  EXPECT_EQ(read["objects"][4999]["i"], 4999);
}

}  // namespace
}  // namespace encore
