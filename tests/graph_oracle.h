// Evaluates recorded nodes in plain loops over doubles, as op.h describes each op: what the
// runtime's values are compared with. Every result is rounded to its dtype; 64-bit integers are
// exact to 2^53.
#pragma once
#include <encore/autograd/backward.h>
#include <encore/lazy/create.h>
#include <encore/lazy/elementwise.h>
#include <encore/lazy/evaluator.h>
#include <encore/lazy/reduction.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstring>
#include <functional>
#include <map>
#include <memory>

namespace encore::testing {

using Doubles = std::vector<double>;
using Position = std::vector<int64_t>;

/// A leaf over its own copy of `values`, on the default device.
template <class T>
Tensor leaf(const std::vector<T>& values, Shape shape) {
  auto* copy = new T[values.size() + 1];
  std::copy(values.begin(), values.end(), copy);
  return from_blob(copy, dtype_of<T>, shape, [](void* memory) { delete[] static_cast<T*>(memory); })
      .to(default_device());
}

/// A leaf of f64 values that are all different and not in order.
inline Tensor leaf_like(Shape shape, int salt = 0) {
  Doubles values(shape.numel());
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = std::sin(double(i * 7 + 3 + salt * 131)) * 2.0;
  return leaf(values, shape);
}

template <class T>
double widen(T value) {
  return double(value);
}
inline double widen(Half value) { return float(value); }
inline double widen(BFloat16 value) { return float(value); }

/// An element as `dtype` stores it.
inline double from_bits(DType dtype, const void* from) {
  switch (dtype) {
#define DTYPE(name, bytes, kind, type)                           \
  case DType::name: {                                            \
    type value;                                                  \
    std::memcpy(static_cast<void*>(&value), from, sizeof value); \
    return widen(value);                                         \
  }
    ENCORE_DTYPES(DTYPE)
#undef DTYPE
  }
  return 0;
}

inline double round_to(DType dtype, double value) {
  uint64_t bits = Scalar(value).bits_as(dtype);
  return from_bits(dtype, &bits);
}

inline double wrap_to(DType dtype, int64_t value) {
  uint64_t bits = Scalar(value).bits_as(dtype);
  return from_bits(dtype, &bits);
}

/// All positions of a shape in row-major order.
inline void for_each(const Shape& shape, const std::function<void(const Position&)>& visit) {
  Position at(shape.rank());
  for (int64_t i = 0, count = shape.numel(); i < count; ++i) {
    int64_t rest = i;
    for (int axis = shape.rank() - 1; axis >= 0; --axis) {
      at[axis] = rest % shape[axis];
      rest /= shape[axis];
    }
    visit(at);
  }
}

inline int64_t offset(const Shape& shape, const Position& at) {
  int64_t result = 0;
  for (int axis = 0; axis < shape.rank(); ++axis) result = result * shape[axis] + at[axis];
  return result;
}

/// Where a broadcast operand of shape `from` is read for position `at` of the result.
inline int64_t broadcast_offset(const Shape& from, const Position& at) {
  int64_t result = 0;
  size_t shift = at.size() - from.rank();
  for (int axis = 0; axis < from.rank(); ++axis)
    result = result * from[axis] + (from[axis] == 1 ? 0 : at[axis + shift]);
  return result;
}

/// Philox 4x32-10 (Salmon et al., 2011) on plain integers.
inline std::array<uint32_t, 4> philox(std::array<uint32_t, 4> counter,
                                      std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    uint64_t first = uint64_t(0xD2511F53) * counter[0], second = uint64_t(0xCD9E8D57) * counter[2];
    counter = {uint32_t(second >> 32) ^ counter[1] ^ key[0], uint32_t(second),
               uint32_t(first >> 32) ^ counter[3] ^ key[1], uint32_t(first)};
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
  return counter;
}

class Oracle {
 public:
  const Doubles& operator()(const Node* node) {
    auto [entry, fresh] = known_.try_emplace(node);
    if (!fresh) return entry->second;
    Doubles result = compute(node);
    EXPECT_EQ(int64_t(result.size()), node->shape.numel()) << name_of(node->op);
    // Only a cast of a floating number saturates; integers wrap. What is computed has no inputs.
    const bool saturates =
        node->op == OpId::cast && !node->materialized() && is_floating(node->inputs[0]->dtype);
    const bool whole = is_integer(node->dtype) && !saturates;
    for (double& value : result)
      value = whole ? wrap_to(node->dtype, int64_t(value)) : round_to(node->dtype, value);
    return known_[node] = std::move(result);
  }

 private:
  double read(const Node* node, int input, const Position& at) {
    const Node* from = node->inputs[input];
    return (*this)(from)[offset(from->shape, at)];
  }

  /// One value for each position of the node.
  template <class Value>
  Doubles fill(const Node* node, Value value) {
    Doubles result;
    for_each(node->shape, [&](const Position& at) { result.push_back(value(at)); });
    return result;
  }

  Doubles compute(const Node* node) {
    if (node->materialized()) return stored(node);
    for (Node* input : node->input_span()) (*this)(input);
    switch (family_of(node->op)) {
      case OpFamily::source:
        return source(node);
      case OpFamily::identity:
        return (*this)(node->inputs[0]);
      case OpFamily::movement:
        return movement(node);
      case OpFamily::indexing:
        return indexing(node);
      case OpFamily::contraction:
        return product(node);
      case OpFamily::elementwise:
        return elementwise(node);
      case OpFamily::reduction:
        return reduction(node);
      case OpFamily::random:
        return random(node);
    }
    return {};
  }

  Doubles random(const Node* node) {
    uint64_t seed = uint64_t(int64_t((*this)(node->inputs[0])[0])),
             draw = uint64_t((*this)(node->inputs[1])[0]);
    return fill(node, [&](const Position& at) {
      uint64_t place = uint64_t(offset(node->shape, at));
      std::array<uint32_t, 4> counter = {uint32_t(place), uint32_t(place >> 32), uint32_t(draw),
                                         uint32_t(draw >> 32)};
      return double(philox(counter, {uint32_t(seed), uint32_t(seed >> 32)})[node->attributes[0]]);
    });
  }

  Doubles source(const Node* node) {
    if (node->op == OpId::iota)
      return fill(node, [&](const Position& at) { return double(at[node->attributes[0]]); });
    return {from_bits(node->dtype, &node->bits)};
  }

  static Doubles stored(const Node* node) {
    Doubles result;
    std::vector<char> bytes(size_t(node->shape.numel()) * size_of(node->dtype));
    evaluator().copy_to_host(bytes.data(), *node->buffer, 0, bytes.size(), node->location);
    for (int64_t i = 0; i < node->shape.numel(); ++i)
      result.push_back(from_bits(node->dtype, bytes.data() + i * size_of(node->dtype)));
    return result;
  }

  Doubles movement(const Node* node) {
    const Shape& from = node->inputs[0]->shape;
    const auto& attributes = node->attributes;
    const Doubles& x = (*this)(node->inputs[0]);
    size_t rank = from.rank();
    switch (node->op) {
      case OpId::reshape:
        return x;
      case OpId::expand:
        return fill(node, [&](const Position& at) { return x[broadcast_offset(from, at)]; });
      case OpId::permute:
        return fill(node, [&](const Position& at) {
          Position place(rank);
          for (size_t axis = 0; axis < rank; ++axis) place[attributes[axis]] = at[axis];
          return x[offset(from, place)];
        });
      case OpId::slice:
        return fill(node, [&](Position at) {
          for (size_t axis = 0; axis < rank; ++axis)
            at[axis] = attributes[axis] + at[axis] * attributes[rank + axis];
          return x.at(offset(from, at));
        });
      case OpId::pad:
        return fill(node, [&](Position at) {
          for (size_t axis = 0; axis < rank; ++axis) {
            at[axis] -= attributes[axis];
            if (at[axis] < 0 || at[axis] >= from[int(axis)]) return read(node, 1, {});
          }
          return x[offset(from, at)];
        });
      default:
        return fill(node, [&](Position at) {
          int64_t& along = at[attributes[0]];
          uint32_t part = 0;
          while (along >= node->inputs[part]->shape[int(attributes[0])])
            along -= node->inputs[part++]->shape[int(attributes[0])];
          return read(node, int(part), at);
        });
    }
  }

  /// The position that an index names on an axis, or -1.
  static int64_t named(double index, int64_t extent) {
    int64_t place = index < 0 ? int64_t(index) + extent : int64_t(index);
    return place < 0 || place >= extent ? -1 : place;
  }

  Doubles indexing(const Node* node) {
    int axis = int(node->attributes[0]);
    const Node *x = node->inputs[0], *index = node->inputs[1];
    if (node->op == OpId::take || node->op == OpId::take_along)
      return fill(node, [&](const Position& at) {
        Position from(at), which(at);
        if (node->op == OpId::take) {
          which.assign(at.begin() + axis, at.begin() + axis + index->shape.rank());
          from.erase(from.begin() + axis, from.begin() + axis + index->shape.rank());
          from.insert(from.begin() + axis, 0);
        }
        from[axis] = named(read(node, 1, which), x->shape[axis]);
        return from[axis] < 0 ? 0 : read(node, 0, from);
      });
    Doubles result = (*this)(x);
    const Node* source = node->inputs[2];
    for_each(source->shape, [&](const Position& at) {
      Position to(at), which = node->op == OpId::index_add ? Position{at[axis]} : at;
      to[axis] = named(read(node, 1, which), x->shape[axis]);
      if (to[axis] >= 0) result[offset(x->shape, to)] += read(node, 2, at);
    });
    return result;
  }

  Doubles product(const Node* node) {
    const Shape &left = node->inputs[0]->shape, &right = node->inputs[1]->shape;
    int rank = node->shape.rank();
    EXPECT_EQ(left.rank(), rank);
    EXPECT_EQ(right.rank(), rank);
    EXPECT_EQ(left[rank - 1], right[rank - 2]);
    return fill(node, [&](const Position& at) {
      double sum = 0;
      Position a(at), b(at);
      for (int64_t k = 0; k < left[rank - 1]; ++k) {
        a[rank - 1] = b[rank - 2] = k;
        sum += read(node, 0, a) * read(node, 1, b);
      }
      return sum;
    });
  }

  Doubles elementwise(const Node* node) {
    const OpInfo& row = info(node->op);
    DType dtype = node->number() == Number::none ? node->inputs[node->input_count - 1]->dtype
                                                 : node->number_dtype;
    bool integers = row.integer_reference && !is_floating(dtype);
    return fill(node, [&](const Position& at) {
      double v[3] = {};
      for (uint32_t i = 0; i < node->operand_count(); ++i) {
        const Node* operand = node->operand(i);
        v[i] = operand ? (*this)(operand)[broadcast_offset(operand->shape, at)]
                       : from_bits(node->number_dtype, &node->bits);
      }
      if (!integers) return row.reference(v[0], v[1], v[2]);
      return double(row.integer_reference(int64_t(v[0]), int64_t(v[1]), int64_t(v[2])));
    });
  }

  static double combine(OpId op, double before, double value) {
    switch (op) {
      case OpId::reduce_sum:
        return before + value;
      case OpId::reduce_prod:
        return before * value;
      case OpId::reduce_max:
        return std::isnan(before) || before > value ? before : value;
      case OpId::reduce_min:
        return std::isnan(before) || before < value ? before : value;
      case OpId::reduce_any:
        return before != 0 || value != 0;
      default:
        return before != 0 && value != 0;
    }
  }

  Doubles reduction(const Node* node) {
    const Shape& from = node->inputs[0]->shape;
    const Doubles& x = (*this)(node->inputs[0]);
    bool position = node->op == OpId::reduce_argmax || node->op == OpId::reduce_argmin;
    bool extreme = position || node->op == OpId::reduce_max || node->op == OpId::reduce_min;
    bool one = node->op == OpId::reduce_prod || node->op == OpId::reduce_all;
    Doubles result(node->shape.numel(), one ? 1 : 0), best(result);
    std::vector<bool> seen(result.size());
    for_each(from, [&](Position at) {
      double value = x[offset(from, at)];
      int64_t along = 0;
      for (int axis = 0; axis < from.rank(); ++axis)
        if (node->attributes[0] >> axis & 1) {
          along = along * from[axis] + at[axis];
          at[axis] = 0;
        }
      int64_t to = offset(node->shape, at);
      if (position) {
        bool better = node->op == OpId::reduce_argmax ? value > best[to] : value < best[to];
        if (!seen[to] || (!std::isnan(best[to]) && (better || std::isnan(value)))) {
          best[to] = value;
          result[to] = double(along);
        }
      } else {
        result[to] = extreme && !seen[to] ? value : combine(node->op, result[to], value);
      }
      seen[to] = true;
    });
    return result;
  }

  std::map<const Node*, Doubles> known_;
};

inline Doubles values(const Tensor& x) { return Oracle()(x.node()); }

inline void expect_close(const Doubles& found, const Doubles& expected, double tolerance) {
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i) {
    if (std::isfinite(expected[i]))
      EXPECT_NEAR(found[i], expected[i], tolerance) << "element " << i;
    else
      EXPECT_THAT(found[i], ::testing::NanSensitiveDoubleEq(expected[i])) << "element " << i;
  }
}

/// The values that were asked for, NaN equal to NaN: as nodes mean them, then as the runtime
/// computes them.
inline void expect_values(const Tensor& x, const Doubles& expected, double tolerance = 0) {
  {
    SCOPED_TRACE("as recorded");
    expect_close(values(x), expected, tolerance);
  }
  SCOPED_TRACE("as computed");
  expect_close(x.to_vector<double>(), expected, tolerance);
}

using Function = std::function<Tensor(const std::vector<Tensor>&)>;

/// The gradient of a weighted sum of f's result, against central differences in f64.
inline void expect_gradients(const Function& f, const std::vector<Tensor>& inputs) {
  auto loss_of = [&](const std::vector<Tensor>& at) {
    Tensor y = f(at);
    return sum(y * leaf_like(y.shape(), 9));
  };
  std::vector<Tensor> variables;
  std::vector<Target> targets;
  for (const Tensor& input : inputs) variables.push_back(variable(input));
  for (const Tensor& input : variables) targets.emplace_back(input);
  std::vector<Tensor> gradients =
      grad(loss_of(variables), targets, {.retain_graph = true, .allow_unused = true});
  for (size_t i = 0; i < inputs.size(); ++i) {
    ASSERT_EQ(gradients[i].shape(), inputs[i].shape());
    Doubles found = values(gradients[i]), start = values(inputs[i]);
    for (size_t element = 0; element < start.size(); ++element) {
      const double step = 1e-5;
      double difference = 0;
      for (double sign : {1.0, -1.0}) {
        std::vector<Tensor> moved = inputs;
        Doubles changed = start;
        changed[element] += sign * step;
        moved[i] = leaf(changed, inputs[i].shape());
        difference += sign * values(loss_of(moved))[0];
      }
      double expected = difference / (2 * step);
      EXPECT_NEAR(found[element], expected, 1e-6 * (1 + std::abs(expected)))
          << "input " << i << ", element " << element;
    }
    expect_close(gradients[i].to_vector<double>(), found, 1e-12);
  }
}

/// Runs `act`, which must throw an Error at the caller's line whose message holds all of `parts`.
inline void expect_error(const std::function<void()>& act, std::initializer_list<const char*> parts,
                         uint32_t line) {
  try {
    act();
    ADD_FAILURE() << "nothing was thrown";
  } catch (const Error& error) {
    for (const char* part : parts)
      EXPECT_NE(error.message().find(part), std::string::npos) << error.message();
    EXPECT_EQ(error.where().line, line) << error.message();
    EXPECT_NE(std::string(error.where().file).find("_test.cpp"), std::string::npos)
        << error.message();
    EXPECT_FALSE(error.advice().empty());
  }
}
// On one line, so that the expected line is the statement's own.
#define EXPECT_REFUSED(statement, ...) \
  ::encore::testing::expect_error([&] { (void)(statement); }, {__VA_ARGS__}, __LINE__)

}  // namespace encore::testing
