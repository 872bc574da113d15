#include <encore/lazy/print_number.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <type_traits>

namespace encore {
namespace {

constexpr int precision = 8;  // digits after the point at most

/// d.ddd * 10^exponent, without trailing zeros, of the absolute value.
struct Decimal {
  std::string digits;
  int exponent = 0;
};

Decimal parse(std::string_view text) {
  Decimal decimal;
  size_t e = text.find('e');
  for (char c : text.substr(0, e))
    if (c != '.') decimal.digits += c;
  decimal.exponent = std::stoi(std::string(text.substr(e + 1)));
  while (decimal.digits.size() > 1 && decimal.digits.back() == '0') decimal.digits.pop_back();
  return decimal;
}

template <class T>
Decimal with_digits(T magnitude, int digits_after_point) {
  char text[64];
  auto end =
      std::to_chars(text, text + 64, magnitude, std::chars_format::scientific, digits_after_point)
          .ptr;
  return parse({text, end});
}

/// The fewest digits that read back as the same number.
template <class T>
Decimal shortest(T magnitude) {
  if constexpr (std::is_floating_point_v<T>) {
    char text[64];
    auto end = std::to_chars(text, text + 64, magnitude, std::chars_format::scientific).ptr;
    return parse({text, end});
  } else {
    for (int digits = 0;; ++digits) {
      Decimal decimal = with_digits(float(magnitude), digits);
      std::string text = decimal.digits.substr(0, 1) + "." + decimal.digits.substr(1) + "e" +
                         std::to_string(decimal.exponent);
      if (T(std::strtof(text.c_str(), nullptr)).bits == magnitude.bits || digits == 8)
        return decimal;
    }
  }
}

/// A number's text, apart at the point and at the exponent.
struct Parts {
  std::string whole, fraction, exponent;
};

Parts positional(const Decimal& decimal) {
  int point = decimal.exponent + 1;  // digits before the point
  std::string digits = decimal.digits;
  if (point <= 0) digits.insert(0, size_t(1 - point), '0'), point = 1;
  if (int(digits.size()) < point) digits.append(point - digits.size(), '0');
  Parts parts{digits.substr(0, point), digits.substr(point), ""};
  if (parts.fraction == "0") parts.fraction.clear();
  return parts;
}

Parts scientific(const Decimal& decimal) {
  return {decimal.digits.substr(0, 1), decimal.digits.substr(1),
          fmt::format("e{}{:02}", decimal.exponent < 0 ? '-' : '+', std::abs(decimal.exponent))};
}

template <class T>
double wide(T value) {
  if constexpr (std::is_floating_point_v<T>)
    return value;
  else
    return float(value);
}

/// Positional with at most `precision` digits after the point.
template <class T>
Parts rounded_positional(T value) {
  T magnitude = T(std::abs(wide(value)));
  Parts parts = positional(shortest(magnitude));
  if (parts.fraction.size() > size_t(precision)) {
    std::string text = fmt::format("{:.{}f}", wide(magnitude), precision);
    size_t point = text.find('.');
    parts = {text.substr(0, point), text.substr(point + 1), ""};
    while (!parts.fraction.empty() && parts.fraction.back() == '0') parts.fraction.pop_back();
  }
  if (std::signbit(wide(value))) parts.whole.insert(0, "-");
  return parts;
}

/// Scientific: the shortest digits, at most `precision` and at least `digits` after the point. What
/// is beyond the shortest is the number's exact expansion.
template <class T>
Parts rounded_scientific(T value, int digits) {
  T magnitude = T(std::abs(wide(value)));
  Decimal decimal = shortest(magnitude);
  int found = int(decimal.digits.size()) - 1;
  if (found > precision || found < digits) {
    decimal = with_digits(wide(magnitude), std::min(precision, std::max(found, digits)));
    if (int(decimal.digits.size()) <= digits) decimal.digits.resize(size_t(digits) + 1, '0');
  }
  Parts parts = scientific(decimal);
  if (std::signbit(wide(value))) parts.whole.insert(0, "-");
  return parts;
}

/// Whether columns need exponents: huge, tiny or very different numbers.
template <class T>
bool wants_exponents(const std::vector<T>& values) {
  double largest = 0, smallest = 0;
  for (const T& value : values) {
    double magnitude = std::abs(wide(value));
    if (!std::isfinite(magnitude) || magnitude == 0) continue;
    largest = std::max(largest, magnitude);
    smallest = smallest == 0 ? magnitude : std::min(smallest, magnitude);
  }
  if (smallest == 0) return false;
  // NumPy divides in the array's own dtype.
  double ratio = wide(T(largest / smallest));
  return largest >= 1e8 || smallest < 1e-4 || ratio > 1000;
}

std::string left_padded(std::string text, size_t width) {
  return text.size() < width ? std::string(width - text.size(), ' ') + text : text;
}

std::string special_text(double value) {
  return std::isnan(value) ? "nan" : value < 0 ? "-inf" : "inf";
}

template <class T>
std::vector<std::string> floating_texts(const std::vector<T>& values) {
  bool exponents = wants_exponents(values);
  size_t left = 0, right = 0, tail = 0;
  std::vector<Parts> parts;
  for (const T& value : values) {
    if (!std::isfinite(wide(value))) {
      parts.emplace_back();
      continue;
    }
    parts.push_back(exponents ? rounded_scientific(value, 0) : rounded_positional(value));
    left = std::max(left, parts.back().whole.size());
    right = std::max(right, parts.back().fraction.size());
    tail = std::max(tail, parts.back().exponent.size());
  }
  size_t behind = right + tail;
  for (const T& value : values)
    if (!std::isfinite(wide(value))) {
      size_t length = special_text(wide(value)).size();
      left = std::max(left, length - std::min(length, behind + 1));
    }
  std::vector<std::string> texts;
  for (size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(wide(values[i]))) {
      texts.push_back(left_padded(special_text(wide(values[i])), left + 1 + behind));
      continue;
    }
    if (exponents) parts[i] = rounded_scientific(values[i], int(right));
    parts[i].fraction.resize(right, ' ');
    std::string exponent = parts[i].exponent;
    if (exponent.size() < tail && !exponent.empty())
      exponent.insert(2, tail - exponent.size(), '0');
    texts.push_back(left_padded(parts[i].whole, left) + "." + parts[i].fraction + exponent);
  }
  return texts;
}

}  // namespace

template <class T>
std::vector<std::string> column_texts(const std::vector<T>& values) {
  if constexpr (std::is_same_v<T, bool>) {
    std::vector<std::string> texts;
    for (bool value : values) texts.push_back(value ? " True" : "False");
    return texts;
  } else if constexpr (std::is_integral_v<T>) {
    std::vector<std::string> texts;
    size_t width = 0;
    for (T value : values) {
      texts.push_back(std::to_string(value));
      width = std::max(width, texts.back().size());
    }
    for (std::string& text : texts) text = left_padded(std::move(text), width);
    return texts;
  } else {
    return floating_texts(values);
  }
}

template <class T>
std::string scalar_text(T value) {
  if constexpr (std::is_same_v<T, bool>) {
    return value ? "True" : "False";
  } else if constexpr (std::is_integral_v<T>) {
    return std::to_string(value);
  } else {
    double number = wide(value);
    if (!std::isfinite(number)) return special_text(number);
    double magnitude = std::abs(number);
    bool plain = magnitude == 0 || (magnitude >= 1e-4 && magnitude < 1e16);
    Decimal decimal = shortest(T(magnitude));
    Parts parts = plain ? positional(decimal) : scientific(decimal);
    std::string point = plain                    ? (parts.fraction.empty() ? ".0" : ".")
                        : parts.fraction.empty() ? ""
                                                 : ".";
    return (std::signbit(number) ? "-" : "") + parts.whole + point + parts.fraction +
           parts.exponent;
  }
}

#define DTYPE(name, bytes, kind, type)                                            \
  template std::vector<std::string> column_texts<type>(const std::vector<type>&); \
  template std::string scalar_text<type>(type);
ENCORE_DTYPES(DTYPE)
#undef DTYPE

}  // namespace encore
