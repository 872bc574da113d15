// Does a training step hold anything twice? Its peak, next to what a careful program written by
// hand, in place, allocates for the same step. All of it is f32; in bytes:
//
//   parameters and optimizer states   4 (1 + states) P     P = sum of in * out + out over the
//   layers gradients                         4 P when they can be read after the step (`step`);
//                                     4 max(in * out + out) when each layer is updated as soon as
//                                     its gradient exists, in one buffer for all (`minimize`)
//   activations                       4 batch * sum of out: each layer's output once. Its gradient
//                                     overwrites it when the next layer's weight gradient has read
//                                     it; relu's mask is read off it. Of one part of the batch
//                                     where a step goes through it in parts, which adds up
//                                     gradients
//   the batch                         4 batch * in of the first layer, and 8 batch of labels
//
// That program calls a matrix product and loops over elements: it has each of these arrays, made
// once, and no others. It is the reference because everything in it is read after it was written by
// something else, so a program without kernels of its own can leave nothing out. (A program that
// also overlaid gradients with activations, as they live at different times, could save up to the
// smaller of both; the runtime does so where sizes allow, hence ratios below 1.)
#include <encore/core/events.h>
#include <encore/encore.h>
#include <encore/trace/statistics.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <numeric>

#include "each_backend.h"

namespace encore {
namespace {

using testing::on_each_backend;

struct Model {
  std::vector<int64_t> widths;  // of the input and of every layer's output
  int64_t batch;
  int states;         // of the optimizer, per parameter
  int64_t parts = 1;  // that a step cuts the batch into; their gradients add up
};

int64_t layer_size(const Model& m, size_t layer) {
  return (m.widths[layer] + 1) * m.widths[layer + 1];
}

int64_t parameter_bytes(const Model& m) {
  int64_t total = 0;
  for (size_t layer = 0; layer + 1 < m.widths.size(); ++layer) total += layer_size(m, layer);
  return 4 * total;
}

int64_t batch_bytes(const Model& m) { return m.batch * (4 * m.widths[0] + 8); }

int64_t by_hand(const Model& m, bool keeps_gradients) {
  int64_t gradients = 0;
  for (size_t layer = 0; layer + 1 < m.widths.size(); ++layer)
    gradients = std::max(gradients, 4 * layer_size(m, layer));
  if (keeps_gradients) gradients = parameter_bytes(m);
  int64_t outputs = std::accumulate(m.widths.begin() + 1, m.widths.end(), int64_t(0));
  return (1 + m.states) * parameter_bytes(m) + gradients + 4 * m.batch / m.parts * outputs +
         batch_bytes(m);
}

class Perceptron {
 public:
  explicit Perceptron(const Model& shape) : shape_(shape) {
    trace::runtime().clear_caches();  // a GPU keeps the scratch memory of earlier programs
    before_ = stats().live_bytes;
    manual_seed(1);
    for (size_t i = 0; i + 1 < shape.widths.size(); ++i)
      layers_.emplace_back(shape.widths[i], shape.widths[i + 1]);
    images_ = randn({shape.batch, shape.widths[0]});
    labels_ = randint(0, shape.widths.back(), {shape.batch});
    eval(images_, labels_);
    if (shape.states == 2)
      optimizer_ = std::make_unique<AdamW>(parameters(), AdamWOptions{.lr = 1e-3});
    else
      optimizer_ = std::make_unique<Sgd>(parameters(), SgdOptions{.lr = 1e-2, .momentum = 0.9});
  }

  std::vector<ParameterRef> parameters() {
    std::vector<ParameterRef> all;
    for (Linear& layer : layers_)
      for (const ParameterRef& parameter : layer.parameters()) all.push_back(parameter);
    return all;
  }

  Tensor loss(int64_t part = 0) {
    int64_t rows = shape_.batch / shape_.parts;
    Slice mine{part * rows, (part + 1) * rows};
    Tensor x = images_[{mine}], labels = labels_[{mine}];
    for (size_t i = 0; i < layers_.size(); ++i)
      x = i + 1 < layers_.size() ? relu(layers_[i](x)) : layers_[i](x);
    return cross_entropy(x, labels);
  }

  Optimizer& optimizer() { return *optimizer_; }

  /// The peak of a warm step over what was alive before this object; afterwards nothing but its
  /// parameters, states, batch and, with `gradients`, gradients may be alive.
  int64_t peak_of(const std::function<void()>& step, bool gradients) {
    for (int i = 0; i < 3; ++i) step();
    trace::reset_peak_bytes();
    step();
    int64_t copies = 1 + shape_.states + gradients;
    int64_t kept = copies * parameter_bytes(shape_) + batch_bytes(shape_);
    if (default_device() == cpu)
      EXPECT_EQ(stats().live_bytes - before_, kept);
    else  // buffers of a GPU are multiples of its allocator's unit
      EXPECT_GE(stats().live_bytes - before_, kept);
    return stats().peak_bytes - before_;
  }

 private:
  Model shape_;
  int64_t before_ = 0;
  std::vector<Linear> layers_;
  Tensor images_, labels_;
  std::unique_ptr<Optimizer> optimizer_;
};

void expect_in_place(const char* what, const Model& shape, int64_t peak, bool keeps_gradients) {
  int64_t reference = by_hand(shape, keeps_gradients);
  std::printf("%-28s peak %9lld bytes, by hand %9lld, ratio %.3f\n", what, (long long)peak,
              (long long)reference, double(peak) / double(reference));
  EXPECT_LE(double(peak), 1.05 * double(reference)) << what;
}

void expect_step_in_place(const char* what, const Model& shape) {
  Perceptron model(shape);
  auto step = [&] {
    model.optimizer().zero_grad();
    backward(model.loss());
    model.optimizer().step();
  };
  expect_in_place(what, shape, model.peak_of(step, true), true);
}

void expect_minimize_in_place(const char* what, const Model& shape) {
  Perceptron model(shape);
  auto step = [&] { model.optimizer().minimize(model.loss()); };
  expect_in_place(what, shape, model.peak_of(step, false), false);
}

const std::vector<int64_t> small = {784, 512, 256, 10};
const std::vector<int64_t> deep = {256, 512, 512, 384, 256, 256, 10};

TEST(MemoryPeak, AStepOnEachBackend) {
  on_each_backend([] {
    expect_step_in_place("small", {{96, 64, 32, 10}, 32, 2});
    expect_minimize_in_place("small, minimize", {{96, 64, 32, 10}, 32, 2});
  });
}

TEST(MemoryPeak, AStepWithAdamW) {
  expect_step_in_place("AdamW", {small, 128, 2});
  expect_minimize_in_place("AdamW, minimize", {small, 128, 2});
}

TEST(MemoryPeak, AStepWithMomentum) {
  expect_step_in_place("momentum", {small, 128, 1});
  expect_minimize_in_place("momentum, minimize", {small, 128, 1});
}

TEST(MemoryPeak, AStepOfADeeperModel) {
  expect_step_in_place("six layers", {deep, 128, 2});
  expect_minimize_in_place("six layers, minimize", {deep, 128, 2});
}

TEST(MemoryPeak, AStepWhoseActivationsAreLargerThanItsParameters) {
  expect_step_in_place("batch 512", {{256, 512, 512, 16}, 512, 2});
  expect_minimize_in_place("batch 512, minimize", {{256, 512, 512, 16}, 512, 2});
  expect_step_in_place("six layers, batch 2048", {deep, 2048, 2});
  expect_minimize_in_place("six layers, 2048, minimize", {deep, 2048, 2});
}

TEST(MemoryPeak, AStepThatAccumulatesGradients) {
  Model shape{small, 512, 2, 4};
  for (bool syncs : {false, true}) {
    Perceptron model(shape);
    auto step = [&] {
      model.optimizer().zero_grad();
      for (int part = 0; part < shape.parts; ++part) {
        backward(model.loss(part) / double(shape.parts));
        if (syncs) encore::sync();
      }
      model.optimizer().step();
    };
    int64_t peak = model.peak_of(step, true);
    expect_in_place(syncs ? "accumulating, in five syncs" : "accumulating, in one sync", shape,
                    peak, true);
  }
}

TEST(MemoryPeak, AnUpdateInALoopNeedsNoSecondBuffer) {
  constexpr int64_t bytes = 16 << 20;
  Tensor x = ones({bytes / 4}) + rand({1}) * 0.0;
  encore::sync();
  int64_t before = stats().live_bytes;
  trace::reset_peak_bytes();
  for (int i = 0; i < 5; ++i) {
    x = x * 1.5 + 0.5;
    encore::sync();
  }
  EXPECT_LE(stats().peak_bytes - before, bytes / 20);
  EXPECT_EQ(x[{0}].item<float>(), 14.1875f);  // 1 -> 2 -> 3.5 -> 5.75 -> 9.125 -> 14.1875
}

TEST(MemoryPeak, WhatSomebodyHoldsIsNeverOverwritten) {
  Tensor x = from_vector<float>({1, 2, 3});
  encore::sync();
  Tensor held = x;
  for (int i = 0; i < 3; ++i) {
    x = x * 2.0;
    encore::sync();
  }
  EXPECT_EQ(held.to_vector<float>(), (std::vector<float>{1, 2, 3}));
  EXPECT_EQ(x.to_vector<float>(), (std::vector<float>{8, 16, 24}));
}

/// What the plans of all programs compiled meanwhile say.
class PlanListener {
 public:
  PlanListener() {
    trace::runtime().clear_caches();
    number_ = events::listen(
        [this](const Event& event) {
          if (event.name == "memory-plan") text_ += event.text;
        },
        events::bit(EventKind::pass));
  }
  ~PlanListener() { events::ignore(number_); }
  int count(const std::string& what) const {
    int found = 0;
    for (size_t at = text_.find(what); at != std::string::npos; at = text_.find(what, at + 1))
      ++found;
    return found;
  }

 private:
  uint32_t number_;
  std::string text_;
};

Tensor stored(const std::vector<float>& values, Shape shape) {
  Tensor x = from_vector(values, shape);
  eval(x);
  return x;
}

TEST(MissedAlias, IsListedWhenAnInputDiesWithoutAnHeir) {
  PlanListener plans;
  Tensor x = stored({1, 2, 3}, {3});
  x = x.sum();
  encore::sync();
  EXPECT_EQ(plans.count("missed alias"), 1);
  EXPECT_EQ(x.item<float>(), 6);
}

TEST(MissedAlias, IsNotWhereTheOtherReaderCanRunBefore) {
  on_each_backend([] {
    PlanListener plans;
    Tensor x = stored({1, 2, 3, 4}, {2, 2}), w = stored({1, 0, 1, 1}, {2, 2});
    Tensor old = x;
    x = x * 2.0;  // recorded first, runs last
    Tensor y = matmul(old, w);
    old = Tensor();
    encore::sync();
    EXPECT_EQ(plans.count("missed alias"), 0);
    EXPECT_EQ(plans.count("takes over leaf"), 1);
    EXPECT_EQ(x.to_vector<float>(), (std::vector<float>{2, 4, 6, 8}));
    EXPECT_EQ(y.to_vector<float>(), (std::vector<float>{3, 2, 7, 4}));
  });
}

TEST(MissedAlias, IsListedWhereTheOtherReaderNeedsTheResult) {
  on_each_backend([] {
    PlanListener plans;
    Tensor x = stored({1, 2, 3, 4}, {2, 2});
    Tensor old = x;
    x = x * 2.0;
    Tensor total = matmul(x, old).sum();  // reads the old value after the new one is there
    old = Tensor();
    encore::sync();
    EXPECT_EQ(plans.count("missed alias"), 1);
    EXPECT_EQ(x.to_vector<float>(), (std::vector<float>{2, 4, 6, 8}));
    EXPECT_EQ(total.item<float>(), 2 * (7 + 10 + 15 + 22));
  });
}

}  // namespace
}  // namespace encore
