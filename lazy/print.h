// Text of arrays, laid out as NumPy's str() does: aligned columns, shortest digits, edges of what
// is large, at most 75 characters a line.
#pragma once
#include <encore/lazy/dtype.h>
#include <encore/lazy/shape.h>

#include <functional>

namespace encore {

/// Copies `count` elements from the row-major position `first` on to `to`.
using ReadElements = std::function<void(int64_t first, int64_t count, void* to)>;

/// Reads only what it prints.
std::string array_text(DType dtype, const Shape& shape, const ReadElements& read);

}  // namespace encore
