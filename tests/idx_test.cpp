// Are IDX files read right, and does every kind of damage get an Error that names the place?
#include <encore/utils/idx.h>
#include <gmock/gmock.h>
#include <unistd.h>
#include <zlib.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>

namespace encore {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class Idx : public testing::Test {
 protected:
  Idx()
      : folder_(std::filesystem::temp_directory_path() /
                ("encore_idx_" + std::to_string(getpid()))) {
    std::filesystem::create_directories(folder_);
  }
  ~Idx() override { std::filesystem::remove_all(folder_); }

  std::string write(const std::string& name, const std::string& bytes) {
    std::string path = folder_ / name;
    std::ofstream(path, std::ios::binary).write(bytes.data(), std::streamsize(bytes.size()));
    return path;
  }
  std::string write_gzip(const std::string& name, const std::string& bytes) {
    std::string path = folder_ / name;
    gzFile file = gzopen(path.c_str(), "wb");
    gzwrite(file, bytes.data(), unsigned(bytes.size()));
    gzclose(file);
    return path;
  }
  static std::string slurp(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  std::filesystem::path folder_;
};

/// An IDX file's bytes: type code, extents, elements as they are stored.
std::string idx(unsigned char code, const std::vector<uint32_t>& extents,
                const std::string& elements) {
  std::string bytes = {0, 0, char(code), char(extents.size())};
  for (uint32_t extent : extents)
    for (int shift = 24; shift >= 0; shift -= 8) bytes += char(extent >> shift & 255);
  return bytes + elements;
}

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST_F(Idx, ReadsBytesPlainAndCompressed) {
  std::string bytes = idx(8, {2, 3}, "\1\2\3\4\5\6");
  for (const std::string& path : {write("plain", bytes), write_gzip("packed.gz", bytes)}) {
    IdxArray array = read_idx(path);
    EXPECT_EQ(array.dtype, u8);
    EXPECT_EQ(array.shape, Shape({2, 3}));
    EXPECT_EQ(std::string(reinterpret_cast<char*>(array.bytes.data()), 6), "\1\2\3\4\5\6");
  }
}

TEST_F(Idx, TurnsBigEndianElementsIntoHostOrder) {
  IdxArray integers =
      read_idx(write("i32", idx(0x0c, {2}, std::string("\0\0\1\2\377\377\377\376", 8))));
  int32_t values[2];
  ASSERT_EQ(integers.bytes.size(), sizeof values);
  std::memcpy(values, integers.bytes.data(), sizeof values);
  EXPECT_EQ(values[0], 258);
  EXPECT_EQ(values[1], -2);
  IdxArray floats = read_idx(write("f32", idx(0x0d, {1}, std::string("\x3f\xc0\0\0", 4))));
  float number;
  std::memcpy(&number, floats.bytes.data(), sizeof number);
  EXPECT_EQ(number, 1.5f);
}

TEST_F(Idx, ReadsAnArrayWithoutElements) {
  IdxArray array = read_idx(write("none", idx(8, {0, 28, 28}, "")));
  EXPECT_EQ(array.shape, Shape({0, 28, 28}));
  EXPECT_TRUE(array.bytes.empty());
}

TEST_F(Idx, NamesAFileThatIsMissingOrEmpty) {
  EXPECT_THAT(message_of([&] { read_idx(folder_ / "nothing"); }),
              AllOf(HasSubstr("nothing"), HasSubstr("opened")));
  std::string path = write("empty", "");
  EXPECT_THAT(message_of([&] { read_idx(path); }),
              AllOf(HasSubstr(path), HasSubstr("offset 0"), HasSubstr("expected 4 bytes"),
                    HasSubstr("found 0")));
}

TEST_F(Idx, RefusesAWrongHeader) {
  EXPECT_THAT(message_of([&] { read_idx(write("magic", "PK\3\4....")); }),
              AllOf(HasSubstr("offset 0"), HasSubstr("expected 00 00"), HasSubstr("found 50 4b")));
  EXPECT_THAT(message_of([&] { read_idx(write("code", idx(7, {1}, "x"))); }),
              HasSubstr("found 07"));
  EXPECT_THAT(
      message_of([&] { read_idx(write("rank", idx(8, std::vector<uint32_t>(9, 1), "x"))); }),
      HasSubstr("found 9"));
  EXPECT_THAT(message_of([&] { read_idx(write("extent", idx(8, {5, 6}, "").substr(0, 10))); }),
              AllOf(HasSubstr("offset 8"), HasSubstr("expected 4 bytes (an extent)"),
                    HasSubstr("found 2")));
}

TEST_F(Idx, RefusesExtentsThatCannotBe) {
  uint32_t most = 0xffffffff;
  EXPECT_THAT(message_of([&] { read_idx(write("huge", idx(8, {most, most, most}, "x"))); }),
              HasSubstr("possible size"));
  // Large but possible: found short without allocating all of it first.
  EXPECT_THAT(message_of([&] { read_idx(write("large", idx(8, {most, 100}, "x"))); }),
              HasSubstr("found 1 before"));
}

TEST_F(Idx, NamesWhereTheElementsEnd) {
  std::string path = write("short", idx(8, {2, 3}, "\1\2\3\4"));
  EXPECT_THAT(message_of([&] { read_idx(path); }),
              AllOf(HasSubstr(path), HasSubstr("offset 12"), HasSubstr("expected 6 more bytes"),
                    HasSubstr("found 4 before the end")));
  EXPECT_THAT(
      message_of([&] { read_idx(write("long", idx(8, {2}, "\1\2\3"))); }),
      AllOf(HasSubstr("offset 10"), HasSubstr("expected the end"), HasSubstr("found more bytes")));
}

TEST_F(Idx, NoticesEveryTruncationOfACompressedFile) {
  std::string noise;
  uint32_t state = 1;
  for (int i = 0; i < 3000; ++i) noise += char((state = state * 1664525 + 1013904223) >> 24);
  std::string whole = slurp(write_gzip("whole.gz", idx(8, {3000}, noise)));
  for (size_t size = 0; size < whole.size(); size += 7) {
    std::string path = write("cut.gz", whole.substr(0, size));
    EXPECT_THAT(message_of([&] { read_idx(path); }), AllOf(HasSubstr(path), HasSubstr("offset")))
        << size;
  }
  std::string path = write("cut.gz", whole.substr(0, whole.size() - 1));
  EXPECT_THAT(message_of([&] { read_idx(path); }), HasSubstr("offset"));
}

TEST_F(Idx, NoticesEveryFlippedByteOfACompressedFile) {
  std::string noise;
  uint32_t state = 1;
  for (int i = 0; i < 1000; ++i) noise += char((state = state * 1664525 + 1013904223) >> 24);
  std::string whole = slurp(write_gzip("whole.gz", idx(8, {1000}, noise)));
  // The ten bytes of the gzip header hold times and flags that no checksum covers.
  for (size_t at = 10; at < whole.size(); at += 3) {
    std::string damaged = whole;
    damaged[at] = char(damaged[at] ^ 0x55);
    EXPECT_NE(message_of([&] { read_idx(write("damaged.gz", damaged)); }), "no error") << at;
  }
}

TEST_F(Idx, PairsImagesWithLabels) {
  std::string images = write("images", idx(8, {2, 1, 2}, "\1\2\3\4")),
              labels = write("labels", idx(8, {2}, "\3\11"));
  LabelledImages data = read_labelled_images(images, labels);
  EXPECT_EQ(data.count(), 2);
  EXPECT_EQ(int(data.labels.bytes[1]), 9);
}

TEST_F(Idx, RefusesImagesAndLabelsThatDoNotFit) {
  std::string images = write("images", idx(8, {2, 1, 2}, "\1\2\3\4"));
  std::string out_of_range = write("range", idx(8, {2}, "\3\12"));
  EXPECT_THAT(message_of([&] { read_labelled_images(images, out_of_range); }),
              AllOf(HasSubstr(out_of_range), HasSubstr("offset 9"), HasSubstr("below 10"),
                    HasSubstr("found 10")));
  std::string three = write("three", idx(8, {3}, "\1\2\3"));
  EXPECT_THAT(message_of([&] { read_labelled_images(images, three); }),
              AllOf(HasSubstr(three), HasSubstr("expected 2 labels"), HasSubstr("found 3")));
  EXPECT_THAT(message_of([&] { read_labelled_images(three, three); }), HasSubstr("rank 3"));
  EXPECT_THAT(message_of([&] { read_labelled_images(images, images); }), HasSubstr("rank 1"));
  std::string no_image = write("no_image", idx(8, {0, 1, 2}, "")),
              no_label = write("no_label", idx(8, {0}, ""));
  EXPECT_THAT(message_of([&] { read_labelled_images(no_image, no_label); }),
              HasSubstr("at least one image"));
}

}  // namespace
}  // namespace encore
