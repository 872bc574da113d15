// In strict mode, is a fused program bitwise the unfused one? Random programs of elementwise ops,
// reductions, softmax and layer norm in f32, bf16 and f64.
#include <encore/encore.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <bit>
#include <random>

namespace encore {
namespace {

class StrictProgram {
 public:
  explicit StrictProgram(uint64_t seed) : random_(seed) {
    constexpr int64_t widths[] = {1, 3, 16, 17, 33, 64, 100, 257};
    width_ = widths[random_() % 8];
    rows_ = 1 + int64_t(random_() % 9);
    dtype_ = std::array{f32, bf16, f32, f16, f64}[random_() % 5];
  }

  std::vector<std::vector<double>> run() {
    for (int i = 0; i < 2; ++i) live_.push_back(source({rows_, width_}));
    live_.push_back(source({width_}));
    int steps = 4 + int(random_() % 10);
    for (int i = 0; i < steps; ++i) live_.push_back(step(any(), any()));
    std::vector<std::vector<double>> results;
    for (size_t i = live_.size() - 3; i < live_.size(); ++i)
      results.push_back(live_[i].to_vector<double>());
    return results;
  }
  std::string name() const {
    return fmt::format("{} [{}, {}] {}", name_of(dtype_), rows_, width_, log_);
  }

 private:
  Tensor source(Shape shape) {
    std::vector<float> values;
    for (int64_t i = 0; i < shape.numel(); ++i)
      values.push_back(float(int64_t(random_() % 20001) - 10000) / 3000.f);
    return from_vector(values, shape).to(dtype_);
  }
  Tensor any() { return live_[random_() % live_.size()]; }

  Tensor step(Tensor a, Tensor b) {
    int64_t choice = int64_t(random_() % 18);
    log_ += fmt::format("{} ", choice);
    double number = double(random_() % 1000) / 250 - 2;
    switch (choice) {
      case 0:
        return a + b;
      case 1:
        return a * b;
      case 2:
        return a * number + b;  // would contract to an fma
      case 3:
        return a - b * number;
      case 4:
        return a / (abs(b) + 0.5);
      case 5:
        return tanh(a);
      case 6:
        return exp(minimum(a, 3.0));
      case 7:
        return sqrt(abs(a));
      case 8:
        return where(a < b, a, b * 0.5);
      case 9:
        return a - a.max({-1}, true);
      case 10:
        return a - a.mean({-1}, true);
      case 11:
        return a + a.sum({0}, true) * 0.1;
      case 12:
        return softmax(a);
      case 13:
        return layer_norm(a, {a.shape()[a.rank() - 1]});
      case 14:
        return sigmoid(a) * b;
      case 15:
        return a * 0.01 + a.sum() * 0.001;
      case 16:
        return gelu(a);
      default:
        return log(abs(a) + 1.0).to(f32).to(dtype_);
    }
  }

  std::mt19937_64 random_;
  int64_t rows_, width_;
  DType dtype_;
  std::vector<Tensor> live_;
  std::string log_;
};

bool same_bits(const std::vector<double>& a, const std::vector<double>& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    bool both_nan = a[i] != a[i] && b[i] != b[i];
    if (!both_nan && std::bit_cast<uint64_t>(a[i]) != std::bit_cast<uint64_t>(b[i])) return false;
  }
  return true;
}

TEST(Strict, FusedIsBitwiseUnfused) {
  Settings before = settings();
  settings().strict = true;
  const char *count = std::getenv("ENCORE_FUZZ_PROGRAMS"), *seed = std::getenv("ENCORE_FUZZ_SEED");
  int programs = count ? std::atoi(count) : 100, first = seed ? std::atoi(seed) : 0, failures = 0;
  int64_t fused_launches = 0, unfused_launches = 0;
  for (int i = 0; i < programs && failures < 5; ++i) {
    StrictProgram fused{uint64_t(first + i)}, unfused{uint64_t(first + i)};
    int64_t start = stats().launches;
    settings().fuse = true;
    auto a = fused.run();
    fused_launches += stats().launches - start;
    start = stats().launches;
    settings().fuse = false;
    auto b = unfused.run();
    unfused_launches += stats().launches - start;
    for (size_t k = 0; k < a.size(); ++k) {
      if (same_bits(a[k], b[k])) continue;
      ADD_FAILURE() << "program " << first + i << " result " << k << ": " << fused.name();
      ++failures;
      break;
    }
  }
  settings() = before;
  EXPECT_LT(3 * fused_launches, unfused_launches);  // they were different programs indeed
  std::printf("%d programs, %lld fused and %lld unfused launches\n", programs,
              (long long)fused_launches, (long long)unfused_launches);
}

TEST(Strict, GradientsOfATrainingStepAreBitwiseUnfused) {
  Settings before = settings();
  settings().strict = true;
  auto train = [] {
    manual_seed(11);
    Sequential model{Linear(12, 20), LayerNorm(20), GELU(), Linear(20, 5)};
    AdamW optimizer(model.parameters(), {.lr = 0.01});
    Tensor x = randn({9, 12}), labels = randint(0, 5, {9});
    eval(x, labels);
    for (int step = 0; step < 3; ++step) {
      optimizer.zero_grad();
      backward(cross_entropy(model(x), labels));
      optimizer.step();
    }
    std::vector<std::vector<float>> values;
    for (const ParameterRef& p : model.parameters()) values.push_back(p.value().to_vector<float>());
    return values;
  };
  auto fused = train();
  settings().fuse = false;
  EXPECT_EQ(train(), fused);
  settings() = before;
}

}  // namespace
}  // namespace encore
