// Trains a multilayer perceptron on Fashion-MNIST: 784-512-256-10, AdamW, cross entropy.
//
// The data are Debian's package dataset-fashion-mnist. Each step (forward, backward, update and the
// running totals of loss and accuracy) is one trace; values are read once an epoch.
#include <encore/encore.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <exception>
#include <string>

using namespace encore;

namespace {

struct Mlp : Module {
  Linear fc1{784, 512}, fc2{512, 256}, fc3{256, 10};

  /// `images`: u8 [batch, 28, 28]; normalized by the training set's mean and deviation.
  Tensor forward(const Tensor& images) {
    Tensor x = (images.flatten(1).to(f32) / 255.0 - 0.2860) / 0.3530;
    return fc3(relu(fc2(relu(fc1(x)))));
  }
  ENCORE_MEMBERS(fc1, fc2, fc3)
};

struct Arguments {
  std::string data = "/usr/share/datasets/fashion-mnist";
  int epochs = 10;
  int64_t batch = 128;
  double lr = 1e-3;
  int64_t seed = 1;
  int workers = 1;
  std::string device = "cpu";
};

struct Totals {
  Tensor loss = zeros({});
  Tensor correct = zeros({}, {.dtype = i64});

  void add(const Tensor& batch_loss, const Tensor& logits, const Tensor& labels) {
    NoGrad off;
    loss += batch_loss * double(labels.size(0));
    correct += (logits.argmax(1) == labels).sum();
  }
};

ArrayDataset load(const Arguments& options, const std::string& part) {
  std::string stem = options.data + "/" + part;
  LabelledImages read =
      read_labelled_images(stem + "-images-idx3-ubyte.gz", stem + "-labels-idx1-ubyte.gz");
  return ArrayDataset({{read.images.dtype, read.images.shape, std::move(read.images.bytes)},
                       {read.labels.dtype, read.labels.shape, std::move(read.labels.bytes)}});
}

double accuracy(Mlp& model, const ArrayDataset& data) {
  NoGrad off;
  Totals totals;
  for (const Batch& batch : DataLoader(data, {.batch_size = 1000})) {
    Tensor labels = batch[1].to(i64), logits = model(batch[0]);
    totals.add(cross_entropy(logits, labels), logits, labels);
    eval(totals.loss, totals.correct);
  }
  return totals.correct.item<double>() / double(data.size());
}

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// How long the first step takes, which compiles its kernels or finds them on disk.
struct FirstStep {
  double seconds = 0;      // from asking for its batch to its results
  double after_start = 0;  // of the program
  Clock::time_point started = Clock::now();
};

void train_epoch(Mlp& model, Optimizer& optimizer, DataLoader& loader, Progress& progress,
                 Totals& totals, FirstStep& first) {
  auto start = Clock::now();
  for (const Batch& batch : loader) {
    Tensor labels = batch[1].to(i64), logits = model(batch[0]);
    Tensor loss = cross_entropy(logits, labels);
    totals.add(loss, logits, labels);
    optimizer.minimize(loss);
    if (first.seconds == 0) {
      encore::sync();
      first.seconds = seconds_since(start);
      first.after_start = seconds_since(first.started);
    }
    progress.advance();
  }
}

void run(const Arguments& options) {
  FirstStep first;
  set_default_device(parse_device(options.device));
  manual_seed(options.seed);
  ArrayDataset train = load(options, "train"), test = load(options, "t10k");
  Mlp model;
  AdamW optimizer(model.parameters(), {.lr = options.lr});
  DataLoader loader(train, {.batch_size = options.batch,
                            .shuffle = true,
                            .seed = uint64_t(options.seed),
                            .workers = options.workers});
  Table table({"epoch", "loss", "train accuracy", "test accuracy", "images/s"});
  for (int epoch = 1; epoch <= options.epochs; ++epoch) {
    auto start = Clock::now();
    Progress progress("epoch " + std::to_string(epoch), loader.size(), {.plain_lines = 0});
    Totals totals;
    train_epoch(model, optimizer, loader, progress, totals, first);
    double loss = totals.loss.item<double>() / double(train.size());
    double correct = totals.correct.item<double>() / double(train.size());
    double seconds = seconds_since(start);
    progress.finish();
    double tested = accuracy(model, test);
    char line[5][32];
    std::snprintf(line[0], sizeof line[0], "%d", epoch);
    std::snprintf(line[1], sizeof line[1], "%.4f", loss);
    std::snprintf(line[2], sizeof line[2], "%.2f %%", 100 * correct);
    std::snprintf(line[3], sizeof line[3], "%.2f %%", 100 * tested);
    std::snprintf(line[4], sizeof line[4], "%.0f", double(train.size()) / seconds);
    std::printf("epoch %s: loss %s, accuracy %s, test accuracy %s, %s images/s\n", line[0], line[1],
                line[2], line[3], line[4]);
    std::fflush(stdout);
    table.add_row({line[0], line[1], line[2], line[3], line[4]});
  }
  std::printf("\n%s\n%s", table.text().c_str(), stats_table(stats()).c_str());
  std::printf("first step: %.3f s, finished %.3f s after the start\n", first.seconds,
              first.after_start);
}

}  // namespace

int main(int argc, char** argv) {
  Arguments options;
  CLI::App app("Trains a 784-512-256-10 perceptron on Fashion-MNIST.");
  app.add_option("--data", options.data, "folder of the four IDX files")->capture_default_str();
  app.add_option("--epochs", options.epochs, "passes over the training set")->capture_default_str();
  app.add_option("--batch", options.batch, "images a step")->capture_default_str();
  app.add_option("--lr", options.lr, "learning rate")->capture_default_str();
  app.add_option("--seed", options.seed, "of initial values and shuffling")->capture_default_str();
  app.add_option("--workers", options.workers, "threads that prepare batches")
      ->capture_default_str();
  app.add_option("--device", options.device, "cpu, cuda or cuda:N")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  try {
    run(options);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
