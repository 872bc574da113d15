// Reads IDX files, the format of the MNIST family, plain or compressed with gzip.
//
// A file that is missing, empty, cut short, longer than its header says or damaged throws an Error
// that names the file, the offset in the (uncompressed) stream, what was expected and what was
// found.
#pragma once
#include <encore/lazy/create.h>

#include <cstdint>
#include <string>
#include <vector>

namespace encore {

struct IdxArray {
  DType dtype = DType::u8;
  Shape shape;
  std::vector<std::byte> bytes;  // row-major, in host byte order

  /// A copy as a tensor.
  Tensor tensor(Device device = default_device(),
                std::source_location at = std::source_location::current()) const;
};

IdxArray read_idx(const std::string& path,
                  std::source_location at = std::source_location::current());

struct LabelledImages {
  IdxArray images;  // u8 [count, height, width]
  IdxArray labels;  // u8 [count]
  int64_t count() const { return labels.shape[0]; }
};

/// Images with their labels, which must be as many and below `classes`.
LabelledImages read_labelled_images(const std::string& image_path, const std::string& label_path,
                                    int classes = 10,
                                    std::source_location at = std::source_location::current());

}  // namespace encore
