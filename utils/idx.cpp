#include <encore/utils/idx.h>
#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>

namespace encore {
namespace {

/// The uncompressed stream of one file; every failure names the place.
class Stream {
 public:
  Stream(const std::string& path, Location where) : path_(path), where_(where) {
    file_ = gzopen(path.c_str(), "rb");
    if (!file_)
      throw Error(fmt::format("{}: cannot be opened: {}", path, std::strerror(errno)), where,
                  "check the path; Debian's package dataset-fashion-mnist installs its files under "
                  "/usr/share/datasets");
    gzbuffer(file_, 1 << 18);
  }
  ~Stream() { gzclose(file_); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  /// Exactly `size` bytes, which hold `what`.
  void read(void* to, size_t size, const char* what) {
    size_t found = read_some(to, size);
    if (found < size)
      fail(fmt::format("expected {} bytes ({})", size, what),
           fmt::format("{} before the end", found));
  }
  /// The same, growing as the file proves to be that long: a damaged header allocates little.
  std::vector<std::byte> read_growing(size_t size, const char* what) {
    std::vector<std::byte> bytes;
    constexpr size_t chunk = 16 << 20;
    while (bytes.size() < size) {
      size_t before = bytes.size(), wanted = std::min(chunk, size - before);
      bytes.resize(before + wanted);
      size_t found = read_some(bytes.data() + before, wanted);
      if (found < wanted)
        fail(fmt::format("expected {} more bytes ({})", size - before, what),
             fmt::format("{} before the end", found));
      offset_ += wanted;
    }
    return bytes;
  }
  void advance(size_t size) { offset_ += size; }
  void expect_end() {
    std::byte extra;
    if (read_some(&extra, 1) != 0) fail("expected the end", "more bytes");
    int code = Z_OK;
    gzerror(file_, &code);
    if (code == Z_BUF_ERROR) fail("expected the checksum of the gzip stream", "the end");
  }

  [[noreturn]] void fail(const std::string& expected, const std::string& found) const {
    throw Error(fmt::format("{}: at offset {}: {}, found {}", path_, offset_, expected, found),
                where_, "the file is damaged or no IDX file; fetch it again");
  }

 private:
  size_t read_some(void* to, size_t size) {
    int count = gzread(file_, to, unsigned(size));
    int code = Z_OK;
    const char* text = gzerror(file_, &code);
    if (code == Z_DATA_ERROR) fail("expected valid gzip data", text);
    if (count < 0 && code != Z_BUF_ERROR) fail(fmt::format("expected {} bytes", size), text);
    return count < 0 ? 0 : size_t(count);
  }

  std::string path_;
  Location where_;
  gzFile file_;
  uint64_t offset_ = 0;
};

uint32_t big_endian(const unsigned char* bytes) {
  return uint32_t(bytes[0]) << 24 | uint32_t(bytes[1]) << 16 | uint32_t(bytes[2]) << 8 | bytes[3];
}

DType dtype_of_code(Stream& stream, unsigned char code) {
  switch (code) {
    case 0x08:
      return DType::u8;
    case 0x09:
      return DType::i8;
    case 0x0b:
      return DType::i16;
    case 0x0c:
      return DType::i32;
    case 0x0d:
      return DType::f32;
    case 0x0e:
      return DType::f64;
  }
  stream.fail("expected a type code 08, 09, 0b, 0c, 0d or 0e in byte 2",
              fmt::format("{:02x}", code));
}

/// Elements are stored big-endian.
void to_host_order(std::vector<std::byte>& bytes, size_t width) {
  if constexpr (std::endian::native == std::endian::little)
    for (size_t i = 0; width > 1 && i < bytes.size(); i += width)
      std::reverse(bytes.begin() + i, bytes.begin() + i + width);
}

}  // namespace

IdxArray read_idx(const std::string& path, std::source_location at) {
  Stream stream(path, at);
  unsigned char header[4];
  stream.read(header, 4, "the header: 00 00, type, rank");
  if (header[0] != 0 || header[1] != 0)
    stream.fail("expected 00 00", fmt::format("{:02x} {:02x}", header[0], header[1]));
  IdxArray array;
  array.dtype = dtype_of_code(stream, header[2]);
  int rank = header[3];
  if (rank > max_rank)
    stream.fail(fmt::format("expected a rank of at most {}", max_rank), std::to_string(rank));
  stream.advance(4);
  uint64_t bytes = size_of(array.dtype);
  for (int axis = 0; axis < rank; ++axis) {
    unsigned char extent[4];
    stream.read(extent, 4, "an extent");
    array.shape.push_back(big_endian(extent));
    if (__builtin_mul_overflow(bytes, uint64_t(big_endian(extent)), &bytes) || bytes > uint64_t(1)
                                                                                           << 46)
      stream.fail("expected extents of a possible size", array.shape.text());
    stream.advance(4);
  }
  array.bytes = stream.read_growing(
      bytes, fmt::format("elements of {}{}", name_of(array.dtype), array.shape.text()).c_str());
  stream.expect_end();
  to_host_order(array.bytes, size_of(array.dtype));
  return array;
}

Tensor IdxArray::tensor(Device device, std::source_location at) const {
  return from_bytes(bytes.data(), dtype, shape, device, at);
}

LabelledImages read_labelled_images(const std::string& image_path, const std::string& label_path,
                                    int classes, std::source_location at) {
  LabelledImages data{read_idx(image_path, at), read_idx(label_path, at)};
  auto refuse = [&](const std::string& path, size_t offset, const std::string& expected,
                    const std::string& found) {
    throw Error(fmt::format("{}: at offset {}: {}, found {}", path, offset, expected, found), at,
                "are these the images and labels of one data set?");
  };
  const auto& [images, labels] = data;
  if (images.dtype != DType::u8 || images.shape.rank() != 3)
    refuse(image_path, 2, "expected u8 images of rank 3",
           fmt::format("{}{}", name_of(images.dtype), images.shape.text()));
  if (labels.dtype != DType::u8 || labels.shape.rank() != 1)
    refuse(label_path, 2, "expected u8 labels of rank 1",
           fmt::format("{}{}", name_of(labels.dtype), labels.shape.text()));
  if (labels.shape[0] != images.shape[0])
    refuse(label_path, 4, fmt::format("expected {} labels, one per image", images.shape[0]),
           std::to_string(labels.shape[0]));
  if (data.count() == 0) refuse(image_path, 4, "expected at least one image", "0");
  for (size_t i = 0; i < labels.bytes.size(); ++i)
    if (int(labels.bytes[i]) >= classes)
      refuse(label_path, 8 + i, fmt::format("expected a label below {}", classes),
             std::to_string(int(labels.bytes[i])));
  return data;
}

}  // namespace encore
