// Learns in which quadrant a point lies; a step is compiled once, then replayed.
#include <encore/encore.h>

#include <iostream>

using namespace encore;

struct Mlp : Module {
  Linear fc1{2, 32}, fc2{32, 1};
  Tensor forward(const Tensor& x) { return fc2(tanh(fc1(x))); }
  ENCORE_MEMBERS(fc1, fc2)
};

int main() {
  Mlp model;
  AdamW optimizer(model.parameters(), {.lr = 1e-2});
  Tensor points = randn({512, 2});
  Tensor labels =
      where(points[{Slice{}, Slice{0, 1}}] * points[{Slice{}, Slice{1, 2}}] > 0, 1.0, 0.0);

  for (int step = 0; step < 300; ++step) {
    Tensor loss = binary_cross_entropy_with_logits(model(points), labels);
    optimizer.zero_grad();
    loss.backward();
    optimizer.step();  // forward, backward and update run here, as one program
    if (step % 100 == 99)
      std::cout << "step " << step + 1 << " loss " << loss.item<float>() << "\n";
  }

  Tensor right = (model(points) > 0) == (labels > 0.5);
  std::cout << "accuracy " << mean(right.to(f32)).item<float>() << "\n";
  std::cout << stats().kernels_compiled << " kernels compiled, " << stats().launches
            << " launched\n";
}
