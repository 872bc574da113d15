// Random programs of views, slice assignment, compound assignment, arithmetic, reductions, products
// and indexing, through the whole pipeline, against eager.h. All values are small integers, so
// every result is exact and one bit of difference is a bug. Each program runs with several data
// sets, so that replays are compared as well.
//
// They come in eight parts, so that processes can share them out. ENCORE_FUZZ_PROGRAMS and
// ENCORE_FUZZ_SEED change how many and which; ENCORE_FUZZ_FIRST starts at a later program of the
// seed's.
#include <encore/core/settings.h>
#include <encore/encore.h>
#include <encore/tests/eager.h>
#include <encore/trace/statistics.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace encore {
namespace {

using testing::build;
using testing::Eager;
using testing::Position;

struct Pair {
  Tensor tensor;
  Eager eager;
};

constexpr double bound = 50;

class RandomProgram {
 public:
  RandomProgram(uint64_t structure, uint64_t data) : structure_(structure), data_(data) {}

  /// Runs the program both ways; an empty string when all results agree.
  std::string run() {
    int sources = 2 + pick(2);
    for (int i = 0; i < sources; ++i) add_source();
    int steps = 4 + pick(14);
    for (int i = 0; i < steps; ++i) {
      step();
      if (pick(12) == 0) {
        if (auto difference = compare(live_[size_t(pick(int(live_.size())))]); !difference.empty())
          return difference;
      }
      if (pick(15) == 0) encore::sync();
      if (live_.size() > 3 && pick(3) == 0) live_.erase(live_.begin() + pick(int(live_.size())));
    }
    for (const Pair& pair : live_)
      if (auto difference = compare(pair); !difference.empty()) return difference;
    return {};
  }

 private:
  int pick(int count) { return int(structure_() % uint64_t(count)); }
  double number() { return double(int64_t(data_() % 19)) - 9; }
  const Pair any() { return live_[size_t(pick(int(live_.size())))]; }

  void note(std::string line) { log_ += line + '\n'; }

  void add_source() {
    Shape shape;
    int rank = pick(4);
    for (int axis = 0; axis < rank; ++axis) shape.push_back(pick(8) == 0 ? 1 : 1 + pick(6));
    Eager eager = build({shape.begin(), shape.end()}, [&](const Position&) { return number(); });
    std::vector<float> values(eager.values.begin(), eager.values.end());
    Tensor tensor = pick(2) ? from_vector(values, shape) : from_vector(values, shape).to(f64);
    keep({tensor, std::move(eager)}, "source");
  }

  void keep(Pair pair, std::string line) {
    note(fmt::format("{} -> {} [{}] {}", line, live_.size(), fmt::join(pair.eager.shape, ", "),
                     pair.eager.values));
    live_.push_back(std::move(pair));
  }

  /// Bounds values that may have grown, so that everything stays an exactly represented integer.
  Pair clamped(Pair pair) {
    pair.tensor = maximum(minimum(pair.tensor, bound), -bound);
    pair.eager = map(pair.eager, [](double a) { return std::max(std::min(a, bound), -bound); });
    return pair;
  }

  void step() {
    switch (pick(13)) {
      case 0:
      case 1:
      case 2:
        return binary();
      case 3:
        return unary();
      case 4:
        return permuted();
      case 5:
        return reshaped();
      case 6:
        return sliced();
      case 7:
        return assigned();
      case 8:
        return reduced();
      case 9:
        return padded();
      case 10:
        return concatenated();
      case 11:
        return multiplied();
      default:
        return indexed();
    }
  }

  static bool broadcast_together(const Eager& a, const Eager& b) {
    for (size_t i = 0; i < std::min(a.shape.size(), b.shape.size()); ++i) {
      int64_t x = a.shape[a.shape.size() - 1 - i], y = b.shape[b.shape.size() - 1 - i];
      if (x != y && x != 1 && y != 1) return false;
    }
    return true;
  }

  void binary() {
    Pair a = any(), b = any();
    if (!broadcast_together(a.eager, b.eager))
      b = {a.tensor * 2.0, map(a.eager, [](double x) { return 2 * x; })};
    switch (pick(7)) {
      case 0:
        return keep(clamped({a.tensor + b.tensor, map(a.eager, b.eager, std::plus<>())}), "add");
      case 1:
        return keep(clamped({a.tensor - b.tensor, map(a.eager, b.eager, std::minus<>())}), "sub");
      case 2:
        return keep(clamped({a.tensor * b.tensor, map(a.eager, b.eager, std::multiplies<>())}),
                    "mul");
      case 3:
        return keep({maximum(a.tensor, b.tensor),
                     map(a.eager, b.eager, [](double x, double y) { return std::max(x, y); })},
                    "max");
      case 4:
        return keep({where(a.tensor < b.tensor, a.tensor, b.tensor),
                     map(a.eager, b.eager, [](double x, double y) { return x < y ? x : y; })},
                    "where");
      case 5: {
        double scale = number();
        return keep(
            clamped({a.tensor * scale + b.tensor,
                     map(a.eager, b.eager, [&](double x, double y) { return x * scale + y; })}),
            "axpy");
      }
      default: {
        // A compound assignment must not be seen through the other handle.
        Tensor before = a.tensor;
        Tensor x = a.tensor;
        Eager sum = map(a.eager, b.eager, std::plus<>());
        if (sum.shape != a.eager.shape) return;
        x += b.tensor;
        keep(clamped({x, sum}), "+=");
        keep({before, a.eager}, "before +=");
      }
    }
  }

  void unary() {
    Pair a = any();
    switch (pick(4)) {
      case 0:
        return keep({-a.tensor, map(a.eager, [](double x) { return -x; })}, "neg");
      case 1:
        return keep({abs(a.tensor), map(a.eager, [](double x) { return std::abs(x); })}, "abs");
      case 2:
        return keep(
            {floor(a.tensor * 0.5), map(a.eager, [](double x) { return std::floor(x * 0.5); })},
            "half");
      default:
        return keep({a.tensor.to(i32).to(f32), a.eager}, "through i32");
    }
  }

  void permuted() {
    Pair a = any();
    std::vector<int64_t> order(a.eager.shape.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = int64_t(i);
    std::shuffle(order.begin(), order.end(), structure_);
    std::vector<int64_t> shape;
    for (int64_t axis : order) shape.push_back(a.eager.shape[axis]);
    Eager eager = build(shape, [&](const Position& index) {
      Position from(index.size());
      for (size_t i = 0; i < order.size(); ++i) from[order[i]] = index[i];
      return a.eager.at(from);
    });
    keep({a.tensor.permute(order), std::move(eager)}, fmt::format("permute {}", order));
  }

  void reshaped() {
    Pair a = any();
    int64_t count = a.eager.numel();
    std::vector<int64_t> shape;
    int64_t rest = count;
    while (shape.size() < 3 && pick(4)) {
      std::vector<int64_t> divisors;
      for (int64_t d = 1; d <= rest; ++d)
        if (rest % d == 0) divisors.push_back(d);
      shape.push_back(divisors[size_t(pick(int(divisors.size())))]);
      rest /= shape.back();
    }
    if (rest != 1 || shape.empty()) shape.push_back(rest);
    keep({a.tensor.reshape(Shape(std::span<const int64_t>(shape))), Eager{shape, a.eager.values}},
         "reshape");
  }

  struct Part {
    std::vector<IndexEntry> entries;
    std::vector<int64_t> starts, steps, shape;  // by axis of the whole; shape without dropped axes
    std::vector<bool> dropped;
  };

  Part random_part(const Eager& whole) {
    Part part;
    for (int64_t extent : whole.shape) {
      int64_t start = pick(int(extent)), step = 1 + pick(2),
              count = 1 + pick(int((extent - 1 - start) / step) + 1);
      bool drop = pick(4) == 0;
      if (!drop && pick(4) == 0) {  // backwards
        int64_t last = start + (count - 1) * step;
        std::swap(start, last);
        step = -step;
        std::optional<int64_t> stop = last + step >= 0 ? std::optional(last + step) : std::nullopt;
        part.entries.push_back(Slice{start, stop, step});
      } else if (drop) {
        part.entries.push_back(IndexEntry(start));
      } else {
        part.entries.push_back(Slice{start, start + (count - 1) * step + 1, step});
      }
      part.starts.push_back(start);
      part.steps.push_back(step);
      part.dropped.push_back(drop);
      if (!drop) part.shape.push_back(count);
    }
    return part;
  }

  static Position whole_index(const Part& part, const Position& index) {
    Position result;
    size_t next = 0;
    for (size_t axis = 0; axis < part.starts.size(); ++axis)
      result.push_back(part.dropped[axis] ? part.starts[axis]
                                          : part.starts[axis] + part.steps[axis] * index[next++]);
    return result;
  }

  void sliced() {
    Pair a = any();
    Part part = random_part(a.eager);
    Eager eager = build(
        part.shape, [&](const Position& index) { return a.eager.at(whole_index(part, index)); });
    const Tensor& whole = a.tensor;
    keep({whole[part.entries], std::move(eager)}, "slice");
  }

  void assigned() {
    Pair a = any();
    Part part = random_part(a.eager);
    double value = number();
    Tensor changed = a.tensor;
    Eager eager = a.eager;
    bool add = pick(2);
    if (add)
      changed[part.entries] += value;
    else
      changed[part.entries] = value;
    testing::for_each(part.shape, [&](const Position& index) {
      double& element = eager.at(whole_index(part, index));
      element = add ? element + value : value;
    });
    keep(clamped({changed, std::move(eager)}), "assign");
    keep(a, "untouched");
  }

  void reduced() {
    Pair a = any();
    uint32_t mask = 0;
    std::vector<int64_t> axes;
    for (int axis = 0; axis < a.eager.rank(); ++axis)
      if (pick(2)) mask |= 1u << axis, axes.push_back(axis);
    if (axes.empty()) return;
    switch (pick(3)) {
      case 0:
        return keep(clamped({a.tensor.sum(axes, true), reduce(a.eager, mask, 0, std::plus<>())}),
                    "sum");
      case 1:
        return keep(
            {a.tensor.max(axes, true),
             reduce(a.eager, mask, -1e9, [](double x, double y) { return std::max(x, y); })},
            "reduce max");
      default: {
        Eager most = reduce(a.eager, mask, -1e9, [](double x, double y) { return std::max(x, y); });
        return keep(
            clamped({a.tensor - a.tensor.max(axes, true), map(a.eager, most, std::minus<>())}),
            "minus max");
      }
    }
  }

  void padded() {
    Pair a = any();
    std::vector<int64_t> low, high, shape;
    for (int64_t extent : a.eager.shape) {
      low.push_back(pick(3));
      high.push_back(pick(3));
      shape.push_back(extent + low.back() + high.back());
    }
    if (a.eager.numel() > 2000) return;
    double fill = number();
    Eager eager = build(shape, [&](const Position& index) {
      Position from = index;
      for (size_t axis = 0; axis < from.size(); ++axis) {
        from[axis] -= low[axis];
        if (from[axis] < 0 || from[axis] >= a.eager.shape[axis]) return fill;
      }
      return a.eager.at(from);
    });
    keep({pad(a.tensor, low, high, fill), std::move(eager)}, "pad");
  }

  void concatenated() {
    Pair a = any();
    if (a.eager.rank() == 0 || a.eager.numel() > 2000) return;
    int axis = pick(a.eager.rank());
    std::vector<int64_t> shape = a.eager.shape;
    int64_t extent = shape[axis];
    shape[axis] *= 2;
    Eager eager = build(shape, [&](const Position& index) {
      Position from = index;
      bool second = from[axis] >= extent;
      if (second) from[axis] = 2 * extent - 1 - from[axis];
      return second ? -a.eager.at(from) : a.eager.at(from);
    });
    keep({concat({a.tensor, -a.tensor.flip({axis})}, axis), std::move(eager)}, "concat");
  }

  void multiplied() {
    Pair a = any();
    if (a.eager.rank() < 2) return;
    // x @ x^T over the last two axes.
    int64_t m = a.eager.shape[a.eager.rank() - 2], k = a.eager.shape[a.eager.rank() - 1];
    std::vector<int64_t> shape = a.eager.shape;
    shape.back() = m;
    Eager eager = build(shape, [&](const Position& index) {
      Position left = index, right = index;
      right[right.size() - 2] = index.back();
      double total = 0;
      for (int64_t i = 0; i < k; ++i) {
        left.back() = right.back() = i;
        total += a.eager.at(left) * a.eager.at(right);
      }
      return total;
    });
    keep(clamped({matmul(a.tensor, a.tensor.transpose()), std::move(eager)}), "matmul");
  }

  void indexed() {
    Pair a = any();
    if (a.eager.rank() == 0) return;
    int axis = pick(a.eager.rank());
    int64_t extent = a.eager.shape[axis];
    int count = 1 + pick(5);
    std::vector<int64_t> rows;
    for (int i = 0; i < count; ++i)
      rows.push_back(int64_t(data_() % uint64_t(2 * extent)) - extent);
    auto wrapped = [&](int64_t i) { return rows[i] < 0 ? rows[i] + extent : rows[i]; };
    Tensor index = from_vector(rows);
    std::vector<int64_t> shape = a.eager.shape;
    shape[axis] = count;
    Eager taken = build(shape, [&](const Position& at) {
      Position from = at;
      from[axis] = wrapped(at[axis]);
      return a.eager.at(from);
    });
    Tensor part = take(a.tensor, index, axis);
    if (pick(2)) return keep({part, std::move(taken)}, "take");
    Eager added = a.eager;
    testing::for_each(shape, [&](const Position& at) {
      Position to = at;
      to[axis] = wrapped(at[axis]);
      added.at(to) += taken.at(at);
    });
    keep(clamped({index_add(a.tensor, index, part, axis), std::move(added)}), "index_add");
  }

  std::string compare(const Pair& pair) {
    std::vector<double> got = pair.tensor.to_vector<double>();
    std::vector<int64_t> shape(pair.tensor.shape().begin(), pair.tensor.shape().end());
    if (shape != pair.eager.shape)
      return fmt::format("shape [{}]\n{}", fmt::join(shape, ", "), log_);
    for (size_t i = 0; i < got.size(); ++i)
      if (got[i] != pair.eager.values[i])
        return fmt::format("element {} is {} and should be {}\ngot  {}\nwant {}\n{}", i, got[i],
                           pair.eager.values[i], got, pair.eager.values, log_);
    return {};
  }

  std::mt19937_64 structure_, data_;
  std::vector<Pair> live_;
  std::string log_;
};

int64_t from_environment(const char* name, int64_t fallback) {
  const char* text = std::getenv(name);
  return text ? std::atoll(text) : fallback;
}

constexpr int parts = 8;

/// A GPU's compiler takes a hundred times as long for a kernel.
int64_t usual_programs() {
  if (default_device() != cpu) return 640;
  return settings().backend == "reference" ? 100000 : 5000;
}

class PipelineFuzz : public ::testing::TestWithParam<int> {};

TEST_P(PipelineFuzz, RandomProgramsEqualTheEagerOracle) {
  const int64_t all = from_environment("ENCORE_FUZZ_PROGRAMS", usual_programs());
  const int64_t begin = all * GetParam() / parts, programs = all * (GetParam() + 1) / parts - begin;
  uint64_t seed = uint64_t(from_environment("ENCORE_FUZZ_SEED", 1));
  int64_t first = from_environment("ENCORE_FUZZ_FIRST", 0) + begin;
  int64_t failures = 0;
  for (int64_t program = first; program < first + programs && failures < 3; ++program)
    for (uint64_t data = 0; data < 3; ++data) {
      uint64_t structure = seed * 1000003 + uint64_t(program);
      std::string difference;
      try {
        difference = RandomProgram(structure, data + 7).run();
      } catch (const std::exception& error) {
        difference = error.what();
      }
      if (difference.empty()) continue;
      ADD_FAILURE() << "program " << program << " data " << data << ": " << difference;
      ++failures;
      break;
    }
  trace::Statistics counts = trace::statistics();
  std::printf(
      "%lld programs from seed %llu: %lld mismatches; trace hits %lld, misses %lld, kernels %lld\n",
      (long long)programs, (unsigned long long)seed, (long long)failures,
      (long long)counts.trace_hits, (long long)counts.trace_misses,
      (long long)counts.kernels_compiled);
}

INSTANTIATE_TEST_SUITE_P(Parts, PipelineFuzz, ::testing::Range(0, parts));

}  // namespace
}  // namespace encore
