// A small transformer learns to predict the token before the latest; a step is compiled once, then
// replayed: embedding, attention, MLP, loss, backward and AdamW in one program.
#include <encore/encore.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdio>
#include <limits>

using namespace encore;

namespace {

constexpr int64_t vocabulary = 32, width = 64, heads = 4, length = 32, batch = 16;

struct Attention : Module {
  Linear qkv{width, 3 * width}, out{width, width};

  Tensor forward(const Tensor& x) {  // [batch, length, width]
    const int64_t count = x.shape()[0], time = x.shape()[1], each = width / heads;
    Tensor all = qkv(x).reshape({count, time, 3, heads, each}).permute({2, 0, 3, 1, 4});
    Tensor q = all[{0}], k = all[{1}], v = all[{2}];  // [batch, heads, length, each]
    Tensor scores = matmul(q, k.transpose(-1, -2)) * (1 / std::sqrt(double(each)));
    Tensor row = arange(0, time).reshape({time, 1}), column = arange(0, time).reshape({1, time});
    Tensor seen = where(column <= row, scores, -std::numeric_limits<double>::infinity());
    Tensor mixed = matmul(softmax(seen), v);
    return out(mixed.permute({0, 2, 1, 3}).reshape({count, time, width}));
  }
  ENCORE_MEMBERS(qkv, out)
};

struct Block : Module {
  LayerNorm norm1{width}, norm2{width};
  Attention attention;
  Linear up{width, 4 * width}, down{4 * width, width};

  Tensor forward(const Tensor& x) {
    Tensor y = x + attention(norm1(x));
    return y + down(gelu(up(norm2(y))));
  }
  ENCORE_MEMBERS(norm1, norm2, attention, up, down)
};

struct Transformer : Module {
  Embedding tokens{vocabulary, width}, places{length, width};
  Block block;
  LayerNorm norm{width};
  Linear head{width, vocabulary};

  Tensor forward(const Tensor& index) {  // [batch, length]
    return head(norm(block(tokens(index) + places(arange(0, length)))));
  }
  ENCORE_MEMBERS(tokens, places, block, norm, head)
};

Tensor loss_of(Transformer& model, const Tensor& index, const Tensor& target) {
  return cross_entropy(model(index).reshape({-1, vocabulary}), target.reshape({-1}));
}

// The slope of the loss along its gradient: by backward, and by finite differences in f64.
void check_gradient(const Tensor& index, const Tensor& target) {
  Transformer model;
  model.to(f64);
  loss_of(model, index, target).backward();
  const auto parameters = model.parameters();
  std::vector<Tensor> values, gradients;
  Tensor squares = zeros({}, {.dtype = f64});
  for (const ParameterRef& parameter : parameters) {
    values.push_back(parameter.value());
    gradients.push_back(parameter.grad());
    squares += sum(gradients.back() * gradients.back());
  }
  const double slope = std::sqrt(squares.item<double>());
  double difference = 0;
  NoGrad no_grad;
  for (double sign : {1.0, -1.0}) {
    for (size_t i = 0; i < parameters.size(); ++i)
      parameters[i].set_value(values[i] + gradients[i] * (sign * 1e-5 / slope));
    difference += sign * loss_of(model, index, target).item<double>();
  }
  std::printf("slope %.6f by backward, %.6f by finite differences\n", slope, difference / 2e-5);
}

}  // namespace

int main(int argc, char** argv) {
  int steps = 100;
  CLI::App app("Trains a small transformer to predict the token before the latest.");
  app.add_option("--steps", steps, "training steps")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  manual_seed(1);
  Tensor index = randint(0, vocabulary, {batch, length});
  Tensor target =
      concat({index[{Slice{}, Slice{0, 1}}], index[{Slice{}, Slice{0, length - 1}}]}, 1);
  eval(index, target);
  check_gradient(index, target);

  Transformer model;
  AdamW optimizer(model.parameters(), {.lr = 3e-3});
  for (int step = 1; step <= steps; ++step) {
    const Stats before = stats();
    Tensor loss = loss_of(model, index, target);
    optimizer.zero_grad();
    loss.backward();
    optimizer.step();  // all of it runs here
    const Stats after = stats();
    if (step == 1 || step % 25 == 0)
      std::printf("step %3d loss %.4f, %lld kernels compiled, %lld launches\n", step,
                  loss.item<double>(),
                  (long long)(after.kernels_compiled - before.kernels_compiled),
                  (long long)(after.launches - before.launches));
  }
}
