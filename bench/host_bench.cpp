// What the host pays besides kernels: recording a node, capturing and fingerprinting it, releasing
// it, replaying a known program. Elementwise nodes of small tensors; medians; nanoseconds a node.
#include <encore/encore.h>
#include <encore/trace/runtime.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <vector>

using namespace encore;

namespace {

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

constexpr int nodes = 1000, rounds = 200;

struct Costs {
  std::vector<double> record, capture, release, replay;
};

/// A chain of `nodes` additions of a tensor; each phase timed apart.
void measure(Costs& costs, const Tensor& x, const Tensor& step) {
  double start = seconds();
  Tensor y = x;
  for (int i = 0; i < nodes; ++i) y = y + step;
  double recorded = seconds();
  costs.record.push_back((recorded - start) / nodes);
  trace::Statistics before = trace::statistics();
  eval(y);
  trace::Statistics after = trace::statistics();
  costs.capture.push_back(double(after.capture_nanoseconds - before.capture_nanoseconds) * 1e-9 /
                          nodes);
  costs.replay.push_back(double(after.replay_nanoseconds - before.replay_nanoseconds) * 1e-9 /
                         double(after.launches - before.launches));
  // What nobody computes is released when its handle goes.
  Tensor z = x;
  for (int i = 0; i < nodes; ++i) z = z + step;
  start = seconds();
  z = Tensor();
  costs.release.push_back((seconds() - start) / nodes);
}

}  // namespace

int main() {
  Tensor x = randn({64}), step = randn({64});
  eval(x, step);
  Costs costs;
  for (int i = 0; i < rounds; ++i) measure(costs, x, step);
  fmt::print(
      "record {:.1f} ns a node\n"
      "capture, fingerprint and compare {:.1f} ns a node\n"
      "release {:.1f} ns a node\n"
      "replay {:.0f} ns a launch of 64 elements, its kernel included\n",
      median(costs.record) * 1e9, median(costs.capture) * 1e9, median(costs.release) * 1e9,
      median(costs.replay) * 1e9);
}
