// Times training steps on a GPU that upload a fresh batch each: how much of the upload is hidden?
// One JSON line a size, in milliseconds a step, medians of interleaved rounds:
//   compute     steps on a batch that stays on the device
//   copy        uploads alone, waited for at the end of a round
//   in_stream   upload and step, the upload in stream order behind the step before it
//   apart       upload and step, the upload beside the step before it
// and of the last two the share of the shorter of compute and copy that is hidden: 1 is all of it.
// It fails where their losses differ.
//
// usage: cuda_upload_bench [--mib 0.25,1,64] [--hidden N] [--precision f32|tf32] [--rounds N]
#include <encore/core/settings.h>
#include <encore/encore.h>
#include <encore/jit/cuda/cuda_backend.h>
#include <encore/jit/cuda/staging.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <exception>
#include <limits>
#include <memory>
#include <random>

namespace {

using namespace encore;
using Clock = std::chrono::steady_clock;

constexpr int64_t features = 784, classes = 10;
// Least bytes of a copy that goes apart; labels never do.
constexpr size_t in_stream = std::numeric_limits<size_t>::max(), apart = 64 << 10;

struct Arguments {
  std::vector<double> mib = {0.1, 0.25, 0.5, 1, 2, 4, 16, 64, 128};
  int64_t hidden = 2048;
  std::string precision = "tf32";
  int rounds = 9;
};

struct Mlp : Module {
  explicit Mlp(int64_t hidden) : fc1(features, hidden), fc2(hidden, hidden), fc3(hidden, classes) {}
  Linear fc1, fc2, fc3;
  Tensor forward(const Tensor& x) { return fc3(relu(fc2(relu(fc1(x))))); }
  ENCORE_MEMBERS(fc1, fc2, fc3)
};

struct HostBatch {
  std::vector<float> images;
  std::vector<uint8_t> labels;
};

HostBatch make_batch(int64_t rows, unsigned seed) {
  std::mt19937 random(seed);
  HostBatch batch{std::vector<float>(size_t(rows * features)), std::vector<uint8_t>(size_t(rows))};
  for (float& value : batch.images) value = float(random() >> 8) * 0x1p-24f;
  for (uint8_t& label : batch.labels) label = uint8_t(random() % classes);
  return batch;
}

class Training {
 public:
  Training(int64_t rows, int64_t hidden) : rows_(rows), model_(seeded(hidden)) {}

  Tensor images(int i) const {
    return from_vector(host_[size_t(i) % host_.size()].images, {rows_, features});
  }
  Tensor labels(int i) const {
    return from_vector(host_[size_t(i) % host_.size()].labels, {rows_});
  }
  Tensor step(const Tensor& images, const Tensor& labels) {
    Tensor loss = cross_entropy(model_(images), labels.to(i64));
    optimizer_.minimize(loss);
    return loss;
  }
  Tensor step(int i) { return step(images(i), labels(i)); }

 private:
  static Mlp seeded(int64_t hidden) {
    manual_seed(1);
    return Mlp(hidden);
  }

  int64_t rows_;
  std::array<HostBatch, 3> host_ = {make_batch(rows_, 1), make_batch(rows_, 2),
                                    make_batch(rows_, 3)};
  Mlp model_;
  AdamW optimizer_{model_.parameters()};
};

void upload_from(size_t least) { jit::cuda::staging_of(0).set_least_apart(least); }

std::vector<float> losses(int64_t rows, int64_t hidden, size_t least) {
  upload_from(least);
  Training training(rows, hidden);
  std::vector<Tensor> held;
  for (int i = 0; i < 12; ++i) held.push_back(training.step(i));
  std::vector<float> values;
  for (const Tensor& loss : held) values.push_back(loss.item<float>());
  return values;
}

/// Milliseconds a call, when `calls` of them are waited for together.
template <class Step>
double time_calls(int calls, Step step) {
  encore::sync();
  const auto start = Clock::now();
  for (int i = 0; i < calls; ++i) step(i);
  encore::sync();
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count() / calls;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

bool run(double mib, const Arguments& options) {
  const auto rows = int64_t(mib * (1 << 20) / 4 / features);
  Training training(rows, options.hidden);
  const Tensor images = training.images(0), labels = training.labels(0);
  auto compute = [&](int) { training.step(images, labels); };
  auto copy = [&](int i) { training.images(i), training.labels(i); };
  auto both = [&](int i) { training.step(i); };
  upload_from(apart);
  time_calls(4, both), time_calls(4, compute);
  const int calls = std::clamp(int(30 / time_calls(4, both)), 8, 400);
  std::array<std::vector<double>, 4> times;
  const int64_t before = stats().overlapped_copies;
  for (int round = 0; round < options.rounds; ++round) {
    upload_from(apart);
    times[0].push_back(time_calls(calls, compute));
    times[1].push_back(time_calls(calls, copy));
    times[3].push_back(time_calls(calls, both));
    upload_from(in_stream);
    times[2].push_back(time_calls(calls, both));
  }
  std::array<double, 4> all;
  std::transform(times.begin(), times.end(), all.begin(), median);
  auto hidden = [&](double both_ms) {
    return (all[0] + all[1] - both_ms) / std::min(all[0], all[1]);
  };
  const bool same = losses(rows, options.hidden, in_stream) == losses(rows, options.hidden, apart);
  fmt::print(
      "{{\"bench\":\"upload\",\"mib\":{},\"hidden_width\":{},\"precision\":\"{}\","
      "\"compute_ms\":{:.4f},\"copy_ms\":{:.4f},\"in_stream_ms\":{:.4f},\"apart_ms\":{:.4f},"
      "\"hidden_in_stream\":{:.3f},\"hidden_apart\":{:.3f},\"copy_GBps\":{:.2f},\"copies_apart\":{}"
      ",\"same_losses\":{}}}\n",
      mib, options.hidden, options.precision, all[0], all[1], all[2], all[3], hidden(all[2]),
      hidden(all[3]), mib * (1 << 20) / all[1] * 1e-6, stats().overlapped_copies - before, same);
  std::fflush(stdout);
  return same;
}

}  // namespace

int main(int argc, char** argv) {
  Arguments options;
  CLI::App app("Times training steps on a GPU that upload a fresh batch each.");
  app.add_option("--mib", options.mib, "sizes of batches")->delimiter(',')->capture_default_str();
  app.add_option("--hidden", options.hidden, "width of the two hidden layers")
      ->capture_default_str();
  app.add_option("--precision", options.precision, "of products")
      ->check(CLI::IsMember({"f32", "tf32"}))
      ->capture_default_str();
  app.add_option("--rounds", options.rounds, "rounds that each median is of")
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  try {
    set_default_device(cuda(0));
    if (options.precision == "tf32") set_matmul_precision(MatmulPrecision::high);
    bool all_same = true;
    for (double mib : options.mib) all_same = run(mib, options) && all_same;
    return all_same ? 0 : 1;
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
}
