// The tables of docs/semantics.md on accuracy: how far an op's result may be from the exact one.
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
  double largest = std::numeric_limits<double>::infinity();  // holds for smaller arguments
};

/// Bounds by op name, from the rows `| name | dtype | ulp | range |`; an op without a row is
/// exactly rounded.
inline const std::map<std::string, UlpBound>& accuracy_table() {
  static const auto table = [] {
    std::map<std::string, UlpBound> bounds;
    std::ifstream file(ENCORE_SOURCE_DIR "/docs/semantics.md");
    std::string line;
    while (std::getline(file, line)) {
      if (!line.starts_with("| `")) continue;
      for (char& c : line)
        if (c == '|' || c == '`') c = ' ';
      std::istringstream words(line);
      std::string name, dtype;
      double ulp;
      if (!(words >> name >> dtype >> ulp) || (dtype != "f32" && dtype != "f64")) continue;
      (dtype == "f32" ? bounds[name].f32 : bounds[name].f64) = ulp;
      if (size_t power = line.find("< 2^"); power != std::string::npos)
        bounds[name].largest = std::ldexp(1.0, std::stoi(line.substr(power + 4)));
    }
    return bounds;
  }();
  return table;
}

/// The bound at an argument; infinite beyond the documented range.
inline double ulp_bound(std::string_view op, DType dtype, double argument) {
  auto found = accuracy_table().find(std::string(op));
  if (found == accuracy_table().end()) return 0;
  if (std::abs(argument) >= found->second.largest) return std::numeric_limits<double>::infinity();
  // The references are libm's doubles, which are off by up to one unit themselves.
  return dtype == DType::f64 ? found->second.f64 + 1 : found->second.f32;
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
