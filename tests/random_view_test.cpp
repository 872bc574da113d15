// Random programs of views, slice assignments and arithmetic, against arrays in plain loops.
//
// Values are small whole numbers in f64, so every order of summation gives the same bits. The
// reference shares no code with the library: it copies where the library records index maps.
// ENCORE_VIEW_PROGRAMS sets how many programs run, ENCORE_VIEW_SEED the first one's number.
#include <encore/lazy/contraction.h>
#include <encore/lazy/indexing.h>
#include <encore/lazy/movement.h>

#include <cstdlib>
#include <random>

#include "graph_oracle.h"

namespace encore {
namespace {

using namespace testing;

/// A value of the program, twice: as the library has it, and as a plain array.
struct Twin {
  Tensor tensor;
  Shape shape;
  Doubles array;
};

/// One entry of an index: a position, or a lattice of `count` positions.
struct Entry {
  bool position;
  int64_t start, step, count;
};

class Program {
 public:
  explicit Program(uint64_t number) : random_(number) {
    for (int i = 0; i < 3; ++i) {
      Shape shape;
      for (int axes = pick(0, 3); axes >= 0 && shape.rank() < 3; --axes)
        shape.push_back(pick(1, 4));
      if (pick(0, 19) == 0) shape[0] = 0;
      Doubles array(shape.numel());
      for (double& value : array) value = pick(-9, 9);
      twins_.push_back({leaf(array, shape), shape, array});
    }
  }

  /// Runs it; returns the values that stay alive.
  std::vector<Twin>& run(int steps) {
    for (int i = 0; i < steps; ++i) step();
    return twins_;
  }

 private:
  int pick(int low, int high) { return std::uniform_int_distribution<int>(low, high)(random_); }
  Twin& any() { return twins_[pick(0, int(twins_.size()) - 1)]; }

  /// So that sums and products stay exact.
  static void bound(Twin& twin) {
    for (double& value : twin.array) value = std::max(-999.0, std::min(999.0, value));
    twin.tensor = minimum(maximum(twin.tensor, -999), 999);
  }

  void keep(Twin twin) {
    bound(twin);
    if (twins_.size() < 6)
      twins_.push_back(std::move(twin));
    else
      any() = std::move(twin);
  }

  void step() {
    switch (pick(0, 11)) {
      case 0:
        return permute_one();
      case 1:
        return reshape_one();
      case 2:
        return expand_one();
      case 3:
        return read_part();
      case 4:
      case 5:
        return write_part();
      case 6:
        return pad_one();
      case 7:
        return join();
      case 8:
        return combine();
      case 9:
        return reduce();
      case 10:
        return take_rows();
      default:
        return any() = Twin(any()), void();  // two handles on one value
    }
  }

  void permute_one() {
    const Twin& x = any();
    Tensor::Axes order(x.shape.rank());
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), random_);
    Twin y{permute(x.tensor, order), x.shape, {}};
    for (size_t axis = 0; axis < order.size(); ++axis)
      y.shape[int(axis)] = x.shape[int(order[axis])];
    for_each(y.shape, [&](const Position& at) {
      Position from(at);
      for (size_t axis = 0; axis < order.size(); ++axis) from[order[axis]] = at[axis];
      y.array.push_back(x.array[offset(x.shape, from)]);
    });
    keep(std::move(y));
  }

  void reshape_one() {
    const Twin& x = any();
    int64_t rest = x.shape.numel();
    Shape shape;
    for (int64_t extent : {pick(1, 4), pick(1, 3)})
      if (rest % extent == 0) {
        shape.push_back(extent);
        rest /= extent;
      }
    shape.push_back(rest);
    keep({reshape(x.tensor, shape), shape, x.array});
  }

  void expand_one() {
    const Twin& x = any();
    if (x.shape.numel() > 64) return;
    Shape shape;
    if (pick(0, 1)) shape.push_back(pick(1, 3));
    for (int64_t extent : x.shape) shape.push_back(extent == 1 ? pick(0, 8) % 4 : extent);
    Twin y{expand(x.tensor, shape), shape, {}};
    for_each(shape, [&](const Position& at) {
      y.array.push_back(x.array[broadcast_offset(x.shape, at)]);
    });
    keep(std::move(y));
  }

  std::vector<Entry> random_index(const Shape& shape) {
    std::vector<Entry> index;
    for (int axis = 0, count = pick(0, shape.rank()); axis < count; ++axis) {
      int extent = int(shape[axis]);
      if (extent > 0 && pick(0, 2) == 0) {
        index.push_back({true, pick(0, extent - 1), 1, 1});
        continue;
      }
      int step = pick(0, 1) ? 1 : pick(1, 3), start = pick(0, extent),
          length = pick(0, extent - start);
      int64_t size = (length + step - 1) / step;
      if (pick(0, 2) == 0 && size > 0)
        index.push_back({false, start + (size - 1) * step, -step, size});
      else
        index.push_back({false, start, step, size});
    }
    return index;
  }

  std::vector<IndexEntry> spelled(const std::vector<Entry>& index, const Shape& shape) {
    std::vector<IndexEntry> result;
    for (size_t axis = 0; axis < index.size(); ++axis) {
      const Entry& entry = index[axis];
      int64_t extent = shape[int(axis)], stop = entry.start + entry.count * entry.step;
      if (entry.position) {
        result.emplace_back(pick(0, 1) ? entry.start : entry.start - extent);
      } else if (entry.count == 0) {
        result.emplace_back(Slice{entry.start, entry.start});
      } else {
        Slice slice{entry.start, stop, entry.step};
        if (stop < 0) slice.stop.reset();
        result.emplace_back(slice);
      }
    }
    return result;
  }

  /// The part's shape, and where each of its elements lies in an array of `shape`.
  static Shape locate(const std::vector<Entry>& index, const Shape& shape,
                      std::vector<int64_t>& places) {
    Shape lattice, part;
    for (int axis = 0; axis < shape.rank(); ++axis) {
      bool given = axis < int(index.size());
      lattice.push_back(given ? index[axis].count : shape[axis]);
      if (!given || !index[axis].position) part.push_back(lattice[axis]);
    }
    for_each(lattice, [&](Position at) {
      for (size_t axis = 0; axis < index.size(); ++axis)
        at[axis] = index[axis].start + at[axis] * index[axis].step;
      places.push_back(offset(shape, at));
    });
    return part;
  }

  void read_part() {
    const Twin& x = any();
    std::vector<Entry> index = random_index(x.shape);
    std::vector<int64_t> places;
    Twin y{{}, locate(index, x.shape, places), {}};
    for (int64_t place : places) y.array.push_back(x.array[place]);
    y.tensor = x.tensor[spelled(index, x.shape)];
    keep(std::move(y));
  }

  void write_part() {
    Twin& x = any();
    std::vector<Entry> index = random_index(x.shape);
    std::vector<int64_t> places;
    Shape part = locate(index, x.shape, places);
    const Twin& y = any();
    bool fits = broadcasts_to(y.shape, part);
    double number = pick(-9, 9);
    Doubles source = y.array;  // `y` may be `x`
    Shape from = y.shape;
    int how = pick(0, 3), element = 0;
    for_each(part, [&](const Position& at) {
      double value = fits ? source[broadcast_offset(from, at)] : number;
      double& to = x.array[places[element++]];
      to = how == 0 ? value : how == 1 ? to + value : how == 2 ? to - value : to * value;
    });
    std::vector<IndexEntry> entries = spelled(index, x.shape);
    Tensor held = y.tensor;
    Arg value = fits ? Arg(held) : Arg(number);
    if (how == 0) x.tensor[entries] = value;
    if (how == 1) x.tensor[entries] += value;
    if (how == 2) x.tensor[entries] -= value;
    if (how == 3) x.tensor[entries] *= value;
    bound(x);
  }

  void pad_one() {
    const Twin& x = any();
    if (x.shape.numel() > 64) return;
    std::vector<int64_t> low, high;
    Shape shape = x.shape;
    for (int axis = 0; axis < shape.rank(); ++axis) {
      low.push_back(pick(0, 2));
      high.push_back(pick(0, 2));
      shape[axis] += low[axis] + high[axis];
    }
    double fill = pick(-9, 9);
    Twin y{pad(x.tensor, low, high, fill), shape, Doubles(shape.numel(), fill)};
    for_each(x.shape, [&](Position at) {
      double value = x.array[offset(x.shape, at)];
      for (size_t axis = 0; axis < at.size(); ++axis) at[axis] += low[axis];
      y.array[offset(shape, at)] = value;
    });
    keep(std::move(y));
  }

  /// A tensor joined with parts of itself along one axis.
  void join() {
    const Twin& x = any();
    if (x.shape.rank() == 0 || x.shape.numel() > 64) return;
    int axis = pick(0, x.shape.rank() - 1);
    int64_t extent = x.shape[axis], cut = pick(0, int(extent)), shift = extent - cut;
    std::vector<int64_t> sizes = {cut, shift};
    std::vector<Tensor> parts = split(x.tensor, sizes, axis);
    Twin y{concat({parts[1], x.tensor, parts[0]}, axis), x.shape, {}};
    y.shape[axis] = 2 * extent;
    for_each(y.shape, [&](Position at) {
      at[axis] = at[axis] < shift            ? cut + at[axis]
                 : at[axis] < shift + extent ? at[axis] - shift
                                             : at[axis] - shift - extent;
      y.array.push_back(x.array[offset(x.shape, at)]);
    });
    keep(std::move(y));
  }

  void combine() {
    const Twin &x = any(), &y = any();
    bool fits = broadcasts_to(y.shape, x.shape);
    double number = pick(-9, 9);
    int how = pick(0, 2);
    Twin z{{}, x.shape, {}};
    for_each(x.shape, [&](const Position& at) {
      double a = x.array[offset(x.shape, at)],
             b = fits ? y.array[broadcast_offset(y.shape, at)] : number;
      z.array.push_back(how == 0 ? a + b : how == 1 ? a * b : a > b ? a : b);
    });
    Arg right = fits ? Arg(y.tensor) : Arg(number);
    z.tensor = how == 0 ? x.tensor + right : how == 1 ? x.tensor * right : maximum(x.tensor, right);
    keep(std::move(z));
  }

  void reduce() {
    const Twin& x = any();
    if (x.shape.numel() == 0) return;
    Tensor::Axes axes;
    Shape shape = x.shape;
    for (int axis = 0; axis < shape.rank(); ++axis)
      if (pick(0, 1)) {
        axes.push_back(pick(0, 1) ? axis : axis - shape.rank());
        shape[axis] = 1;
      }
    if (axes.empty()) return;
    bool add = pick(0, 1);
    Doubles result(shape.numel(), add ? 0 : -1e9);
    for_each(x.shape, [&](const Position& at) {
      double value = x.array[offset(x.shape, at)];
      double& to = result[broadcast_offset(shape, at)];
      to = add ? to + value : std::max(to, value);
    });
    keep({add ? x.tensor.sum(axes, true) : x.tensor.max(axes, true), shape, result});
  }

  void take_rows() {
    const Twin& x = any();
    if (x.shape.rank() == 0 || x.shape.numel() > 64) return;
    int axis = pick(0, x.shape.rank() - 1), count = pick(0, 4), extent = int(x.shape[axis]);
    std::vector<int32_t> index(count);
    for (int32_t& place : index) place = pick(-extent - 1, extent);
    Twin y{take(x.tensor, leaf(index, {count}), axis), x.shape, {}};
    y.shape[axis] = count;
    for_each(y.shape, [&](Position at) {
      int64_t place = index[at[axis]] + (index[at[axis]] < 0 ? extent : 0);
      at[axis] = place;
      y.array.push_back(place < 0 || place >= extent ? 0 : x.array[offset(x.shape, at)]);
    });
    keep(std::move(y));
  }

  std::mt19937_64 random_;
  std::vector<Twin> twins_;
};

int64_t from_environment(const char* name, int64_t otherwise) {
  const char* text = std::getenv(name);
  return text ? std::atoll(text) : otherwise;
}

template <class Read>
void compare_programs(int64_t count, Read read) {
  int64_t first = from_environment("ENCORE_VIEW_SEED", 0);
  for (int64_t number = first; number < first + count && !::testing::Test::HasFailure(); ++number) {
    SCOPED_TRACE("ENCORE_VIEW_SEED=" + std::to_string(number));
    Program program(number);
    for (const Twin& twin : program.run(12)) {
      ASSERT_EQ(twin.tensor.shape(), twin.shape);
      ASSERT_EQ(read(twin.tensor), twin.array);
    }
  }
}

TEST(RandomViews, RecordedNodesMeanWhatTheArraysHold) {
  compare_programs(from_environment("ENCORE_VIEW_PROGRAMS", 3000),
                   [](const Tensor& x) { return values(x); });
}

TEST(RandomViews, TheRuntimeComputesWhatTheArraysHold) {
  compare_programs(from_environment("ENCORE_VIEW_PROGRAMS", 200),
                   [](const Tensor& x) { return x.to_vector<double>(); });
}

}  // namespace
}  // namespace encore
