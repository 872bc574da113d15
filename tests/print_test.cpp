// Arrays print as NumPy prints them.
#include <encore/lazy/create.h>
#include <encore/lazy/elementwise.h>
#include <encore/lazy/instruction.h>
#include <encore/lazy/print.h>
#include <encore/lazy/print_number.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

namespace encore {
namespace {

using nlohmann::json;

DType dtype_named(const std::string& name) {
  static const std::map<std::string, DType> dtypes = {
      {"bool", boolean}, {"uint8", u8},    {"uint64", u64},  {"int8", i8},
      {"int64", i64},    {"float16", f16}, {"float32", f32}, {"float64", f64}};
  return dtypes.at(name);
}

std::vector<std::byte> from_hex(const std::string& text) {
  std::vector<std::byte> bytes;
  for (size_t i = 0; i < text.size(); i += 2)
    bytes.push_back(std::byte(std::stoi(text.substr(i, 2), nullptr, 16)));
  return bytes;
}

/// i / divisor in the record's dtype.
std::vector<std::byte> counted(DType dtype, int64_t count, int64_t divisor) {
  std::vector<std::byte> bytes(size_t(count) * size_of(dtype));
  for (int64_t i = 0; i < count; ++i) {
    uint64_t bits = dtype == f32 ? Scalar(float(i) / float(divisor)).bits_as(f32)
                                 : Scalar(i / divisor).bits_as(dtype);
    std::memcpy(bytes.data() + size_t(i) * size_of(dtype), &bits, size_of(dtype));
  }
  return bytes;
}

TEST(Print, EqualsNumPy) {
  json records =
      json::parse(std::ifstream(ENCORE_SOURCE_DIR "/tests/reference/print_reference.json"));
  ASSERT_GT(records.size(), 60u);
  for (const json& record : records) {
    DType dtype = dtype_named(record["dtype"]);
    auto extents = record["shape"].get<std::vector<int64_t>>();
    Shape shape{std::span<const int64_t>(extents)};
    std::vector<std::byte> bytes = record.contains("bytes")
                                       ? from_hex(record["bytes"])
                                       : counted(dtype, shape.numel(), record["arange_divided_by"]);
    ASSERT_EQ(bytes.size(), size_t(shape.numel()) * size_of(dtype));
    int64_t copied = 0;
    std::string text = array_text(dtype, shape, [&](int64_t first, int64_t count, void* to) {
      copied += count;
      std::memcpy(to, bytes.data() + size_t(first) * size_of(dtype),
                  size_t(count) * size_of(dtype));
    });
    EXPECT_EQ(text, record["text"].get<std::string>()) << record["dtype"] << shape.text();
    EXPECT_LE(copied, 6000) << "reads what it does not print";
  }
}

TEST(Print, BFloat16HasTheFewestDigitsThatReadBack) {
  EXPECT_EQ(scalar_text(BFloat16(1.5f)), "1.5");
  EXPECT_EQ(scalar_text(BFloat16(3.14159f)), "3.14");
  EXPECT_EQ(scalar_text(BFloat16(0.1f)), "0.1");
  EXPECT_EQ(scalar_text(BFloat16(3e38f)), "3e+38");
  for (uint32_t bits = 0; bits < 0x7f80; bits += 7) {
    BFloat16 value;
    value.bits = uint16_t(bits);
    EXPECT_EQ(BFloat16(std::strtof(scalar_text(value).c_str(), nullptr)).bits, bits);
  }
}

std::string printed(const Tensor& x) {
  std::ostringstream text;
  text << x;
  return text.str();
}

TEST(Print, TensorsAreComputedFirst) {
  Tensor x = from_vector<float>({1, 2, 3, 4}, {2, 2});
  EXPECT_EQ(printed(x / 2 + 1), "[[1.5 2. ]\n [2.5 3. ]]");
  EXPECT_EQ(printed(x > 2), "[[False False]\n [ True  True]]");
  EXPECT_EQ(printed(zeros({0, 3})), "[]");
  EXPECT_EQ(printed(ones({2}, {.dtype = i32})), "[1 1]");
  EXPECT_EQ(printed(full({}, 2.5)), "2.5");
}

TEST(Print, ShapesDTypesAndDevicesPrint) {
  Tensor x = zeros({2, 3}, {.dtype = bf16});
  std::ostringstream text;
  text << x.shape() << ' ' << x.dtype() << ' ' << boolean << ' ' << x.device() << ' ' << cuda(1);
  EXPECT_EQ(text.str(),
            std::string("[2, 3] bf16 bool ") + (x.device() == cpu ? "cpu" : "cuda:0") + " cuda:1");
}

}  // namespace
}  // namespace encore
