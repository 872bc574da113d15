// Is every expansion as accurate as docs/semantics.md says, and are its special values C's?
#include <encore/jit/reference/evaluate.h>
#include <encore/lazy/math_expansion.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <fstream>
#include <functional>
#include <random>
#include <sstream>

namespace encore {
namespace {

using Unary = Value (*)(Builder&, Value);
using Binary = Value (*)(Builder&, Value, Value);

/// Records an expansion once and then runs it on raw bits, instruction by instruction.
class Recording : public Builder {
 public:
  Recording(Unary function, DType dtype) {
    Value x = argument(dtype);
    result_ = function(*this, x).id;
  }
  Recording(Binary function, DType dtype) {
    Value a = argument(dtype), b = argument(dtype);
    result_ = function(*this, a, b).id;
  }

  Value emit(Opcode op, DType dtype, std::initializer_list<Value> operands, uint32_t aux,
             uint64_t bits) override {
    Step step{nullptr, {0, 0, 0}};
    int count = 0;
    for (Value value : operands) step.operands[count++] = value.id;
    DType first = count ? operands.begin()->dtype : dtype;
    if (op != Opcode::constant) {
      step.run = jit::evaluation_of(op, dtype, first, aux);
      EXPECT_NE(step.run, nullptr) << name_of(op) << " has no meaning for " << name_of(dtype);
      ++instructions_;
    }
    steps_.push_back(step);
    values_.push_back(bits);
    return {uint32_t(steps_.size() - 1), dtype};
  }

  template <class T>
  T operator()(T a, T b = 0) {
    values_[0] = encode(a);
    values_[1] = arguments_ == 2 ? encode(b) : values_[1];
    for (size_t i = arguments_; i < steps_.size(); ++i) {
      const Step& step = steps_[i];
      const uint32_t* in = step.operands;
      if (step.run) values_[i] = step.run(values_[in[0]], values_[in[1]], values_[in[2]]);
    }
    if constexpr (sizeof(T) == 4)
      return std::bit_cast<T>(uint32_t(values_[result_]));
    else
      return std::bit_cast<T>(values_[result_]);
  }

  int instructions() const { return instructions_; }  // without constants
  int all_instructions() const { return int(steps_.size()) - arguments_; }

 private:
  struct Step {
    jit::Evaluation run;
    uint32_t operands[3];
  };

  Value argument(DType dtype) {
    steps_.push_back({nullptr, {0, 0, 0}});
    values_.push_back(0);
    return {uint32_t(arguments_++), dtype};
  }
  static uint64_t encode(float x) { return std::bit_cast<uint32_t>(x); }
  static uint64_t encode(double x) { return std::bit_cast<uint64_t>(x); }

  std::vector<Step> steps_;
  std::vector<uint64_t> values_;
  uint32_t result_ = 0;
  int arguments_ = 0, instructions_ = 0;
};

template <class T>
constexpr DType dtype = sizeof(T) == 4 ? DType::f32 : DType::f64;

/// |got - wanted| in units of the last place of T at `wanted`; the infinity of T counts as the next
/// power of two.
template <class T>
double ulps(T got, long double wanted) {
  using limits = std::numeric_limits<T>;
  if (std::isnan(wanted) || std::isnan(got))
    return std::isnan(wanted) && std::isnan(got) ? 0 : 1e30;
  if (std::isinf(wanted) || std::isinf(got)) {
    if (T(wanted) == got) return 0;
    if (std::isinf(wanted) || std::abs(wanted) < limits::max()) return 1e30;
  }
  if (wanted == 0) return got == 0 ? 0 : 1e30;
  int exponent = std::max(std::ilogb(wanted), limits::min_exponent - 1);
  exponent = std::min(exponent, limits::max_exponent - 1);
  long double distance = std::isinf(got) ? 0 : std::abs(got - wanted);
  return double(std::ldexp(distance, limits::digits - 1 - exponent));
}

/// Documented by a row `| name | dtype | ulp | range |` of docs/semantics.md; the range |x| < 2^n
/// is written so, any other word means all numbers.
struct Documented {
  double ulp = -1;
  double largest = std::numeric_limits<double>::infinity();
};

Documented documented(const std::string& name, DType dtype) {
  std::ifstream file(ENCORE_SOURCE_DIR "/docs/semantics.md");
  std::string line;
  bool inside = false;
  Documented found;
  while (std::getline(file, line)) {
    if (line.starts_with("## ")) inside = line == "## Elementary functions";
    if (!inside || !line.starts_with("| `")) continue;
    for (char& c : line)
      if (c == '|' || c == '`') c = ' ';
    std::istringstream words(line);
    std::string function, type, power;
    double ulp;
    words >> function >> type >> ulp;
    if (function != name || type != name_of(dtype)) continue;
    found.ulp = ulp;
    size_t at = line.find("< 2^");
    if (at != line.npos) found.largest = std::ldexp(1.0, std::stoi(line.substr(at + 4)));
  }
  return found;
}

struct Worst {
  double ulp = 0;
  double a = 0, b = 0;
  void take(double distance, double x, double y = 0) {
    if (!(distance > ulp)) return;
    ulp = distance, a = x, b = y;
  }
};

long double exact_rsqrt(long double x) { return 1 / std::sqrt(x); }

struct UnaryRow {
  const char* name;
  Unary function;
  long double (*exact)(long double);
  int limit_f32, limit_f64;  // instructions at most, constants not counted
};

const UnaryRow unary_rows[] = {
    {"exp", math::exp, std::exp, 15, 22},       {"expm1", math::expm1, std::expm1, 24, 30},
    {"sinh", math::sinh, std::sinh, 30, 40},    {"cosh", math::cosh, std::cosh, 17, 24},
    {"tanh", math::tanh, std::tanh, 30, 36},    {"log", math::log, std::log, 31, 36},
    {"log1p", math::log1p, std::log1p, 31, 36}, {"log2", math::log2, std::log2, 34, 37},
    {"rsqrt", math::rsqrt, exact_rsqrt, 2, 2},  {"cbrt", math::cbrt, std::cbrt, 39, 47},
    {"sin", math::sin, std::sin, 31, 55},       {"cos", math::cos, std::cos, 30, 54},
    {"tan", math::tan, std::tan, 29, 53},       {"asin", math::asin, std::asin, 26, 34},
    {"acos", math::acos, std::acos, 27, 35},    {"atan", math::atan, std::atan, 28, 38},
    {"erf", math::erf, std::erf, 39, 62},
};

struct BinaryRow {
  const char* name;
  Binary function;
  long double (*exact)(long double, long double);
  int limit_f32, limit_f64;
};

const BinaryRow binary_rows[] = {
    {"pow", math::pow, std::pow, 77, 133},
    {"atan2", math::atan2, std::atan2, 39, 54},
};

/// Bit patterns: every `stride`th f32; for f64 every exponent with random fractions, and numbers
/// near the places where functions and expansions change.
template <class T>
std::vector<T> points(int64_t count) {
  std::vector<T> x;
  if constexpr (sizeof(T) == 4) {
    uint64_t stride = (uint64_t(1) << 32) / count | 1;
    for (uint64_t bits = 0; bits < uint64_t(1) << 32; bits += stride)
      x.push_back(std::bit_cast<float>(uint32_t(bits)));
  } else {
    std::mt19937_64 random(1);
    for (int64_t i = 0; i < count / 2; ++i) x.push_back(std::bit_cast<double>(random()));
    for (int64_t i = 0; i < count / 2; ++i) {
      uint64_t bits = random();
      double number = std::bit_cast<double>(uint64_t(1023) << 52 | bits >> 12);  // in [1, 2)
      x.push_back(std::ldexp(bits & 1 ? number : -number, int(bits >> 1 & 31) - 22));
    }
  }
  for (T near : {0.25,        0.5,        1.0,        2.0,          0.70710678,   1.41421356,
                 0.34657359,  0.69314718, 1.57079633, 3.14159265,   0.78539816,   6.28318531,
                 88.72283935, 103.97208,  87.33654,   709.78271289, 745.13321910, 708.39641853,
                 8.31776617,  3.83,       3.925,      5.9})
    for (int step = -300; step <= 300; ++step)
      for (T sign : {1, -1})
        x.push_back(sign * (near + step * near * std::numeric_limits<T>::epsilon()));
  return x;
}

int64_t point_count() {
  const char* text = std::getenv("ENCORE_TEST_POINTS");
  return text ? std::atoll(text) : 200000;
}

template <class T>
void check_unary(const UnaryRow& row, int limit) {
  Recording f(row.function, dtype<T>);
  Documented bound = documented(row.name, dtype<T>);
  Worst worst;
  for (T x : points<T>(point_count())) {
    if (std::isfinite(x) && !(std::abs(x) < bound.largest)) continue;
    worst.take(ulps<T>(f(x), row.exact(x)), x);
  }
  std::cout << fmt::format("{:6} {} {:8.4g} ulp at {:a} ({:g}), {} instructions + {} constants\n",
                           row.name, name_of(dtype<T>), worst.ulp, worst.a, worst.a,
                           f.instructions(), f.all_instructions() - f.instructions());
  EXPECT_LE(worst.ulp, bound.ulp) << row.name << ' ' << name_of(dtype<T>);
  EXPECT_LE(f.instructions(), limit) << row.name << ' ' << name_of(dtype<T>);
}

TEST(MathExpansion, UnaryFunctionsKeepTheirDocumentedBound) {
  for (const UnaryRow& row : unary_rows) {
    check_unary<float>(row, row.limit_f32);
    check_unary<double>(row, row.limit_f64);
  }
}

/// Pairs whose results are spread over the whole range.
template <class T>
std::vector<std::pair<T, T>> pairs(const std::string& name, int64_t count) {
  std::mt19937_64 random(2);
  std::uniform_real_distribution<double> unit(-1, 1);
  int range = std::numeric_limits<T>::max_exponent;
  std::vector<std::pair<T, T>> result;
  for (int64_t i = 0; i < count; ++i) {
    double a = std::exp2(unit(random) * (i % 2 ? range + 20 : 2)), b = 0;
    if (name == "pow")
      b = unit(random) * 1.05 * range / std::log2(a);
    else
      b = std::exp2(unit(random) * (i % 3 ? 3 : range)) * (i % 4 < 2 ? a : 1);
    if (name == "pow" && i % 8 == 0) a = -a, b = std::round(b);
    if (name != "pow") a *= i % 16 < 8 ? 1 : -1, b *= i % 32 < 16 ? 1 : -1;
    result.push_back({T(a), T(b)});
  }
  return result;
}

template <class T>
void check_binary(const BinaryRow& row, int limit) {
  Recording f(row.function, dtype<T>);
  Worst worst;
  for (auto [a, b] : pairs<T>(row.name, point_count()))
    worst.take(ulps<T>(f(a, b), row.exact(a, b)), a, b);
  std::cout << fmt::format("{:6} {} {:8.4g} ulp at {:a}, {:a}, {} instructions + {} constants\n",
                           row.name, name_of(dtype<T>), worst.ulp, worst.a, worst.b,
                           f.instructions(), f.all_instructions() - f.instructions());
  EXPECT_LE(worst.ulp, documented(row.name, dtype<T>).ulp) << row.name << ' ' << name_of(dtype<T>);
  EXPECT_LE(f.instructions(), limit) << row.name << ' ' << name_of(dtype<T>);
}

TEST(MathExpansion, BinaryFunctionsKeepTheirDocumentedBound) {
  for (const BinaryRow& row : binary_rows) {
    check_binary<float>(row, row.limit_f32);
    check_binary<double>(row, row.limit_f64);
  }
}

/// One line of elementary.txt; false for lines about the other dtype.
template <class T>
bool check_line(const std::string& line) {
  std::istringstream words(line);
  std::string name, type, word;
  words >> name >> type;
  if (type != name_of(dtype<T>)) return false;
  std::vector<long double> numbers;
  while (words >> word) numbers.push_back(std::strtold(word.c_str(), nullptr));
  long double exact = numbers[numbers.size() - 2] + numbers.back();
  T a = T(numbers[0]), b = T(numbers[1]), got = std::numeric_limits<T>::quiet_NaN();
  for (const UnaryRow& row : unary_rows)
    if (row.name == name) got = Recording(row.function, dtype<T>)(a);
  for (const BinaryRow& row : binary_rows)
    if (row.name == name) got = Recording(row.function, dtype<T>)(a, b);
  EXPECT_LE(ulps<T>(got, exact), documented(name, dtype<T>).ulp) << line;
  return true;
}

TEST(MathExpansion, AgreesWithExactValuesAtHardPlaces) {
  std::ifstream file(ENCORE_SOURCE_DIR "/tests/reference/elementary.txt");
  int lines = 0;
  for (std::string line; std::getline(file, line); ++lines)
    EXPECT_TRUE(check_line<float>(line) || check_line<double>(line)) << line;
  EXPECT_GT(lines, 1000);
}

template <class T>
std::vector<T> edges() {
  using limits = std::numeric_limits<T>;
  std::vector<T> x;
  for (T magnitude : {T(0),
                      limits::denorm_min(),
                      limits::min() / 2,
                      limits::min(),
                      limits::epsilon(),
                      T(0.25),
                      T(0.5),
                      T(1),
                      T(1) + limits::epsilon(),
                      T(1.5),
                      T(2),
                      T(2.5),
                      T(3),
                      T(4),
                      T(1000),
                      T(1001),
                      T(1e30),
                      limits::max() / 2,
                      limits::max(),
                      limits::infinity(),
                      limits::quiet_NaN()}) {
    x.push_back(magnitude);
    x.push_back(-magnitude);
  }
  return x;
}

/// Zeros, infinities, NaN and their signs exactly; anything else within `ulp`.
template <class T>
void expect_like(T got, T wanted, double ulp, const std::string& where) {
  if (std::isnan(wanted)) {
    EXPECT_TRUE(std::isnan(got)) << where << " = " << got;
  } else {
    EXPECT_EQ(std::signbit(got), std::signbit(wanted)) << where << " = " << got;
    EXPECT_LE(ulps<T>(got, wanted), ulp) << where << " = " << got << ", not " << wanted;
  }
}

template <class T>
void check_edges() {
  for (const UnaryRow& row : unary_rows) {
    Recording f(row.function, dtype<T>);
    Documented bound = documented(row.name, dtype<T>);
    for (T x : edges<T>()) {
      if (std::isfinite(x) && !(std::abs(x) < bound.largest)) continue;
      expect_like<T>(f(x), T(row.exact(x)), bound.ulp + 0.5, fmt::format("{}({})", row.name, x));
    }
  }
  for (const BinaryRow& row : binary_rows) {
    Recording f(row.function, dtype<T>);
    double ulp = documented(row.name, dtype<T>).ulp + 0.5;
    for (T a : edges<T>())
      for (T b : edges<T>())
        expect_like<T>(f(a, b), T(row.exact(a, b)), ulp, fmt::format("{}({}, {})", row.name, a, b));
  }
}

TEST(MathExpansion, EdgeValuesAreThoseOfC) {
  check_edges<float>();
  check_edges<double>();
}

}  // namespace
}  // namespace encore
