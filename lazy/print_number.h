// Text of single elements, so that those of one array line up.
#pragma once
#include <encore/lazy/dtype.h>

#include <string>
#include <vector>

namespace encore {

/// The texts of an array's elements, all of one width, as NumPy formats them.
template <class T>
std::vector<std::string> column_texts(const std::vector<T>& values);
/// The text of a scalar.
template <class T>
std::string scalar_text(T value);

}  // namespace encore
