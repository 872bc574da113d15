// A training loop that is slower than it should be: docs/inspect.md finds out why.
#include <encore/encore.h>

#include <algorithm>
#include <iostream>

using namespace encore;

int main() {
  Linear first(8, 32), second(32, 1);
  Sgd optimizer({first.weight, first.bias, second.weight, second.bias}, {.lr = 1e-2});
  std::vector<float> rows(100 * 8, 0.5f);

  for (int epoch = 0; epoch < 3; ++epoch) {
    for (int64_t start = 0; start < 100; start += 32) {
      int64_t count = std::min<int64_t>(32, 100 - start);
      std::vector<float> part(rows.begin() + start * 8, rows.begin() + (start + count) * 8);
      Tensor batch = from_vector(part, {count, 8});
      Tensor loss = mean(square(second(tanh(first(batch))) - 1.0));
      optimizer.zero_grad();
      loss.backward();
      if (start == 32) std::cout << "loss " << loss.item<float>() << "\n";
      optimizer.step();
    }
  }
  std::cout << stats().trace_misses << " of " << stats().syncs << " syncs compiled\n";
}
