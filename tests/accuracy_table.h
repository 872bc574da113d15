// The table "Accuracy" of docs/semantics.md: how far an op's result may be from the exact one.
#pragma once
#include <encore/lazy/dtype.h>

#include <cmath>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <limits>
#include <map>
#include <sstream>
#include <string>
#include <vector>

namespace encore {

struct UlpBound {
  double f32 = 0, f64 = 0;
};

/// Bounds by op name; an op without a row is exactly rounded.
inline const std::map<std::string, UlpBound>& accuracy_table() {
  static const auto table = [] {
    std::map<std::string, UlpBound> bounds;
    std::ifstream file(ENCORE_SOURCE_DIR "/docs/semantics.md");
    std::string line;
    bool inside = false;
    while (std::getline(file, line)) {
      if (line.starts_with("## ")) inside = line == "## Accuracy";
      if (!inside || !line.starts_with("| `")) continue;
      for (char& c : line)
        if (c == '|' || c == '`' || c == ',') c = ' ';
      std::istringstream words(line);
      std::vector<std::string> cells{std::istream_iterator<std::string>(words), {}};
      UlpBound bound{std::stod(cells[cells.size() - 2]), std::stod(cells.back())};
      for (size_t i = 0; i + 2 < cells.size(); ++i) bounds[cells[i]] = bound;
    }
    return bounds;
  }();
  return table;
}

inline double ulp_bound(std::string_view op, DType dtype) {
  auto found = accuracy_table().find(std::string(op));
  if (found == accuracy_table().end()) return 0;
  return dtype == DType::f64 ? found->second.f64 : found->second.f32;
}

/// Distance in units of the last place of T at `wanted`; NaN to NaN is 0, and infinity is one unit
/// beyond the largest number.
template <class T>
double ulps_between(T got, double wanted) {
  using limits = std::numeric_limits<T>;
  if (std::isnan(wanted) || std::isnan(got))
    return std::isnan(wanted) == std::isnan(got) ? 0 : 1e30;
  T rounded = T(wanted);
  if (got == rounded) return 0;
  if (std::isinf(got) || std::isinf(rounded)) {
    T other = std::isinf(got) ? rounded : got;
    return std::abs(other) == limits::max() && std::signbit(got) == std::signbit(rounded) ? 1
                                                                                          : 1e30;
  }
  int exponent = rounded == 0 ? limits::min_exponent - 1 : std::ilogb(rounded);
  exponent = std::max(exponent, limits::min_exponent - 1);
  return std::abs(double(got) - wanted) / std::ldexp(1.0, exponent - limits::digits + 1);
}

}  // namespace encore
